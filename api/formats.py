"""What an answer is written as: JSON, CSV or an Arrow stream, by `Accept` or by `format=`.

CSV has a header row, an empty field for null, and the rows alone; Arrow has exact decimals, times as
timestamp[us, UTC], and what was asked for in the metadata of its schema.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.ipc
from fastapi import Request

from api.caching import weighted
from api.errors import NotAcceptable
from api.merge import Row
from api.params import FormatName
from api.render import DAILY_NAMES, FINAL_STATES, SAID_ONCE, TIMES, Numeric, amount_text, times_text
from stores.schema import BAR_SCHEMA, TICK_SCHEMA, TIME

MEDIA_TYPES: dict[FormatName, str] = {
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}


def preferred(accept: str | None) -> FormatName:
    """The format that an `Accept` header likes best, JSON where it does not care. Raises NotAcceptable.

    The most specific member that covers a media type decides its weight.
    """
    if not accept:
        return "json"
    members = weighted(accept)
    scored = [(_weight(members, media_type), name) for name, media_type in MEDIA_TYPES.items()]
    weight, name = max(scored, key=lambda pair: pair[0])  # the first of equals: JSON
    if weight <= 0:
        raise NotAcceptable(accept, list(MEDIA_TYPES.values()))
    return name


def _weight(members: Sequence[tuple[str, float]], media_type: str) -> float:
    weights = dict(reversed(members))
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((weights[each] for each in ranges if each in weights), 0.0)


def wanted(request: Request, override: FormatName | None) -> FormatName:
    """`format=` if it is given, else what `Accept` prefers. Raises NotAcceptable."""
    return override or preferred(request.headers.get("accept"))


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of an answer: name, key in a row of the stores, and Arrow type."""

    names: tuple[str, ...]
    keys: tuple[str, ...]
    types: tuple[pa.DataType, ...]


def _columns(schema: pa.Schema, renamed: Mapping[str, str], flags: Sequence[str]) -> Columns:
    """The columns of a store as the API names them."""
    kept = [field for field in schema if field.name not in SAID_ONCE]
    keys = [renamed.get(field.name, field.name) for field in kept]
    types = [TIME if key in TIMES else field.type for key, field in zip(keys, kept, strict=True)]
    return Columns(
        (*(TIMES.get(key, key) for key in keys), *flags), (*keys, *flags), (*types, *(pa.bool_() for _ in flags))
    )


BAR_FORM = _columns(BAR_SCHEMA, {}, ("is_final", "synthetic"))
_DAILY_TYPES = {
    "day": pa.date32(),
    "trade_count": pa.int64(),
    "rev": pa.int32(),
    "state": pa.string(),
    "source": pa.string(),
    "price_factor": pa.float64(),
    "volume_factor": pa.float64(),
    "is_final": pa.bool_(),
}
_DAILY_KEYS = (*DAILY_NAMES, "is_final")
# Amounts wider than those of a trade: a hundred reverse splits make a large price of a small one.
DAILY_FORM = Columns(
    tuple(TIMES.get(key, key) for key in _DAILY_KEYS),
    _DAILY_KEYS,
    tuple(_DAILY_TYPES.get(key, TIME if key in TIMES else pa.decimal128(38, 8)) for key in _DAILY_KEYS),
)
TICK_FORM = _columns(TICK_SCHEMA, {"event_time": "event_us"}, ())


def indicator_form(value_names: Sequence[str]) -> Columns:
    """The columns of indicator rows, each value one of its own."""
    fixed = {"start": TIME, "end": TIME, "is_final": pa.bool_(), "rev": pa.int32(), "source": pa.string()}
    fixed |= {"ready": pa.bool_(), "stable": pa.bool_()}
    names = (*fixed, *value_names)
    return Columns(names, names, (*fixed.values(), *(pa.float64() for _ in value_names)))


def with_flags(rows: Sequence[Row]) -> list[Row]:
    """Bars with the flags that their state says."""
    return [{**row, "is_final": row["state"] in FINAL_STATES, "synthetic": row["state"] == "synthetic"} for row in rows]


def csv_bytes(form: Columns, rows: Sequence[Row], numeric: Numeric = "text") -> bytes:
    """UTF-8 with a header row; lines end in a line feed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(form.names)
    columns = [_csv_column(kind, [row[key] for row in rows], numeric) for key, kind in _keyed(form)]
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def arrow_bytes(form: Columns, rows: Sequence[Row], metadata: Mapping[str, str]) -> bytes:
    """An Arrow IPC stream of one batch; the metadata is the schema's."""
    arrays = [_arrow_column(kind, [row[key] for row in rows]) for key, kind in _keyed(form)]
    schema = pa.schema(list(zip(form.names, form.types, strict=True)), metadata=dict(metadata))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(pa.record_batch(arrays, schema=schema))
    return sink.getvalue()


def _keyed(form: Columns) -> list[tuple[str, pa.DataType]]:
    return list(zip(form.keys, form.types, strict=True))


def _csv_column(kind: pa.DataType, values: list[Any], numeric: Numeric) -> list[Any]:
    if kind == TIME:
        return times_text(values)
    if pa.types.is_decimal(kind):
        number = amount_text if numeric == "text" else float
        return [None if value is None else number(value) for value in values]
    if pa.types.is_boolean(kind):
        return [_BOOLEANS[value] for value in values]
    return values


def _arrow_column(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if kind == TIME:
        return pa.array(values, pa.int64()).cast(TIME)
    if pa.types.is_decimal(kind):
        return pa.array([None if value is None else amount_text(value) for value in values], pa.string()).cast(kind)
    return pa.array(values, kind)


_BOOLEANS = {True: "true", False: "false", None: None}
