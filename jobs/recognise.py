"""Ticks told from their bytes without Spark: the short way of the archive query.

One regular expression says whether a record is written as producers write ticks: one flat JSON object of a tick's
fields, each of its type, without escapes. Such a record reads the same to everybody, and Arrow reads it for a third of
what Spark takes. All others, and those that may be no tick, are left to Spark: `jobs.ticks` says what they are, and a
property test holds the two ways together.
"""

import functools
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from core.records import KINDS, MAX_NOTIONAL_UNITS, MAX_TEXT_LENGTH, MIN_EVENT_US, SEQ_LIMIT, TICK_VERSION
from core.validate import AMENDING, DECIMAL_PATTERN, PRICED, SYMBOL_PATTERN
from jobs.ticks import SEPARATOR
from stores.schema import TICK_SCHEMA

ARCHIVE_SCHEMA = pa.schema(
    [
        ("reason", pa.string()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("key_bytes", pa.int32()),
        ("value_bytes", pa.int32()),
        ("from_partition", pa.int32()),
        ("from_offset", pa.int64()),
        *((field.name, field.type) for field in TICK_SCHEMA),
    ]
)
_TEXTS = ("source", "venue", "trade_id", "conditions")

_TEXT, _NUMBER, _DECIMAL = r'"[ !#-\[\]-~]*"', "-?(?:0|[1-9][0-9]{0,17})", f'"{DECIMAL_PATTERN}"'
# Field -> how it is written, and as what it is read.
_FIELDS = {
    "v": (str(TICK_VERSION), pa.int64()),
    "symbol": (_TEXT, pa.string()),
    "event_us": (_NUMBER, pa.int64()),
    "price": (f"{_DECIMAL}|null", pa.string()),
    "size": (f"{_DECIMAL}|null", pa.string()),
    "trade_id": (f"{_TEXT}|null", pa.string()),
    "seq": (_NUMBER, pa.int64()),
    "source": (_TEXT, pa.string()),
    "venue": (f"{_TEXT}|null", pa.string()),
    "conditions": (f"{_TEXT}|null", pa.string()),
    "kind": (f'"(?:{"|".join(KINDS)})"', pa.string()),
    "reported_us": (f"{_NUMBER}|null", pa.int64()),
    "received_us": (_NUMBER, pa.int64()),
}
_FIELD = "|".join(f'"{name}": ?(?:{written})' for name, (written, _) in _FIELDS.items())
_WRITTEN = rf"\A\{{(?:{_FIELD})(?:, ?(?:{_FIELD}))*\}}\z"
_SYMBOL = rf"\A(?:{SYMBOL_PATTERN})\z"
_SCHEMA = pa.schema([(name, kind) for name, (_, kind) in _FIELDS.items()])
_READING = pa.json.ReadOptions(use_threads=False)
_PARSING = pa.json.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="error")


def recognise(records: pa.Table, known_symbols: frozenset[str] | None, tolerance_us: int) -> tuple[pa.Table, pa.Table]:
    """The archive rows of the records that are ticks beyond doubt, and the records on which Spark has to decide.

    `records` are Kafka's: key, value, partition, offset, timestamp. A heartbeat is a tick that leaves no row.
    """
    rows, left = [ARCHIVE_SCHEMA.empty_table()], [records.schema.empty_table()]
    for batch in records.to_batches():
        told = pa.Table.from_batches([batch])
        usual = _all(pc.match_substring_regex(told["value"], _WRITTEN))
        written = told.filter(usual)
        fields = _fields(written["value"])
        if fields is None:
            left.append(told)
            continue
        sure = _are_ticks(fields, written["timestamp"].cast(pa.int64()), known_symbols, tolerance_us)
        rows.append(_archive_rows(written.filter(sure), fields.filter(sure)))
        left += [told.filter(pc.invert(usual)), written.filter(pc.invert(sure))]
    return pa.concat_tables(rows), pa.concat_tables(left)


def _fields(values: pa.ChunkedArray) -> pa.Table | None:
    """The fields of records of usual writing; None where one of them names a field twice."""
    if not len(values):
        return _SCHEMA.empty_table()
    lines = pc.binary_join(pa.ListArray.from_arrays([0, len(values)], values.combine_chunks()), b"\n")[0]
    try:
        return pa.json.read_json(pa.BufferReader(lines.as_buffer()), read_options=_READING, parse_options=_PARSING)
    except pa.ArrowInvalid:
        return None


def _are_ticks(
    fields: pa.Table, appended_us: pa.ChunkedArray, known_symbols: frozenset[str] | None, tolerance_us: int
) -> pa.ChunkedArray:
    """`core.validate` of fields of usual writing, False where one is missing."""
    kind, symbol, event_us = fields["kind"], fields["symbol"], fields["event_us"]
    price, size = (fields[name].cast(pa.float64()) for name in ("price", "size"))
    good_amounts = pc.and_(pc.greater(price, 0), pc.less(pc.multiply(price, size), MAX_NOTIONAL_UNITS))
    lengths = {name: pc.fill_null(pc.binary_length(fields[name]), 0) for name in _TEXTS}
    checks = [
        pc.is_valid(fields["v"]),
        pc.is_valid(fields["received_us"]),
        pc.match_substring_regex(symbol, _SYMBOL),
        pc.is_valid(kind),
        pc.greater_equal(event_us, MIN_EVENT_US),
        pc.less_equal(event_us, pc.add(appended_us, tolerance_us)),
        pc.greater(lengths["source"], 0),
        pc.less_equal(functools.reduce(pc.add, lengths.values()), MAX_TEXT_LENGTH),
        pc.less(pc.abs(fields["seq"]), SEQ_LIMIT),
        pc.if_else(_among(kind, PRICED), good_amounts, True),
        pc.if_else(_among(kind, AMENDING), pc.greater(lengths["trade_id"], 0), True),
    ]
    if known_symbols is not None:
        checks.append(pc.or_(_among(symbol, known_symbols), pc.equal(kind, "heartbeat")))
    return _all(*checks)


def _archive_rows(records: pa.Table, fields: pa.Table) -> pa.Table:
    """`jobs.archive.archive_rows` of ticks."""
    trade_id = _where(pc.not_equal(fields["trade_id"], ""), fields["trade_id"])
    priced = _among(fields["kind"], PRICED)
    made = {
        **{name: pa.nulls(len(fields)) for name in ("reason", "key", "value", "key_bytes", "value_bytes")},
        "from_partition": records["partition"],
        "from_offset": records["offset"],
        "event_time": fields["event_us"],
        "price": _where(priced, fields["price"]),
        "size": _where(priced, fields["size"]),
        "trade_id": trade_id,
        "kafka_partition": records["partition"],
        "kafka_offset": records["offset"],
        "identity": _identity(fields, trade_id),
    }
    columns = [made.get(field.name, fields[field.name] if field.name in _FIELDS else None) for field in ARCHIVE_SCHEMA]
    rows = pa.table([column.cast(field.type) for column, field in zip(columns, ARCHIVE_SCHEMA, strict=True)],
                    schema=ARCHIVE_SCHEMA)  # fmt: skip
    return rows.filter(pc.not_equal(rows["kind"], "heartbeat"))


def _identity(fields: pa.Table, trade_id: pa.ChunkedArray) -> pa.ChunkedArray:
    """`jobs.ticks.identity`."""
    text = {name: fields[name].cast(pa.string()) for name in ("event_us", "seq")}
    told = {name: pc.fill_null(fields[name], "") for name in ("venue", "price", "size")}
    by_id = _joined(fields["symbol"], "id", told["venue"], trade_id)
    by_seq = _joined(fields["symbol"], "seq", fields["source"], text["event_us"], text["seq"])
    trade = pc.coalesce(by_id, by_seq)
    amending = _joined(trade, fields["kind"], text["event_us"], told["price"], told["size"])
    return pc.if_else(_among(fields["kind"], AMENDING), amending, trade)


def _joined(*parts: pa.ChunkedArray | str) -> pa.ChunkedArray:
    """Null where a part is."""
    return pc.binary_join_element_wise(*parts, SEPARATOR)


def _among(column: pa.ChunkedArray, values: Iterable[str]) -> pa.ChunkedArray:
    return pc.is_in(column, pa.array(sorted(values), pa.string()))


def _where(condition: pa.ChunkedArray, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column, null where the condition does not hold."""
    return pc.if_else(condition, column, pa.scalar(None, column.type))


def _all(*checks: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether all of them hold; null counts as no."""
    return functools.reduce(pc.and_, (pc.fill_null(check, False) for check in checks))
