"""Many ticks to JSON at once: columns joined by Arrow, about 1 us a record where a Struct each takes several.

A body is a record's JSON without its last fields and closing brace, so that `stamp` can add the time of
sending at the last moment.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from core.clock import Clock
from core.errors import InvalidTick
from core.records import (
    MAX_NOTIONAL_UNITS,
    MAX_TEXT_LENGTH,
    MAX_UNITS,
    MIN_EVENT_US,
    SEQ_LIMIT,
    TICK_VERSION,
    Tick,
)
from core.validate import DECIMAL_PATTERN, SYMBOL_PATTERN, TEXT_PATTERN, check

# Order of the fields in a body; v stands before them and received_us comes with the stamp.
BODY_COLUMNS = ("symbol", "event_us", "price", "size", "trade_id", "seq", "source", "venue", "conditions",
                "kind", "reported_us")  # fmt: skip
_NEEDS_ESCAPE = r'["\\\x00-\x1f]'
_json = msgspec.json.Encoder()


def bodies(frame: pd.DataFrame) -> list[bytes]:
    """Each row as a body; a null field is left out. `frame` has the columns of `producers.normalise`."""
    columns = {name: pa.array(frame[name], from_pandas=True) for name in BODY_COLUMNS if name in frame}
    return join_columns(columns, len(frame))


def join_columns(columns: Mapping[str, pa.Array], rows: int) -> list[bytes]:
    """Rows of columns, strings or integers, as bodies."""
    pieces = [_piece(name, values) for name, values in columns.items() if values.null_count < rows]
    head = pa.scalar(f'{{"v":{TICK_VERSION}')
    joined = pc.binary_join_element_wise(head, *pieces, "", null_handling="replace", null_replacement="")
    return pc.cast(joined, pa.binary()).to_pylist() if pieces else []


def stamp(received_us: int) -> bytes:
    """What completes a body that has its event time."""
    return b',"received_us":%d}' % received_us


def stamp_both(event_us: int, received_us: int) -> bytes:
    """What completes a body that has no event time yet."""
    return b',"event_us":%d,"received_us":%d}' % (event_us, received_us)


def _piece(name: str, values: pa.Array) -> pa.Array:
    """`,"name":value` per row, null where the value is."""
    if pa.types.is_integer(values.type):
        return pc.binary_join_element_wise(f',"{name}":', pc.cast(values, pa.string()), "")
    values = pc.cast(values, pa.string())
    if pc.any(pc.match_substring_regex(values, _NEEDS_ESCAPE)).as_py():
        quoted = [None if text is None else _json.encode(text).decode() for text in values.to_pylist()]
        return pc.binary_join_element_wise(f',"{name}":', pa.array(quoted, pa.string()), "")
    return pc.binary_join_element_wise(f',"{name}":"', values, '"', "")


def decimal_text(values: pd.Series) -> pd.Series:
    """Doubles as their shortest decimal text, without exponents: 167.41, 0.00001413, 100.

    Formats each distinct value once. NaN becomes "nan" and an infinity "inf", which no validation lets pass.
    """
    codes, unique = pd.factorize(values.to_numpy(np.float64), use_na_sentinel=False)
    texts = np.array([_plain(value) for value in unique], dtype=object)
    return pd.Series(texts[codes], index=values.index)


def _plain(value: float) -> str:
    text = repr(float(value))
    if "e" in text:
        text = np.format_float_positional(value, trim="-")
    return text.removesuffix(".0")


def refused(
    frame: pd.DataFrame, known: frozenset[str] | None, clock: Clock, tolerance_us: int
) -> dict[int, InvalidTick]:
    """Rows, by position, that are no ticks, with the reason of `core.validate`.

    A vectorised test picks suspects generously; only `core.validate.check` itself condemns.
    """
    now_us = clock.now_us()
    problems = {}
    for position in np.flatnonzero(_suspects(frame, known, now_us + tolerance_us)):
        try:
            check(_as_tick(frame.iloc[position]), now_us=now_us, future_tolerance_us=tolerance_us, known_symbols=known)
        except InvalidTick as problem:
            problems[int(position)] = problem
    return problems


def _suspects(frame: pd.DataFrame, known: frozenset[str] | None, latest_us: int) -> np.ndarray:
    price, size = frame["price"].to_numpy(np.float64), frame["size"].to_numpy(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        fine = (price > 0) & (price < MAX_UNITS) & (size >= 0) & (size < MAX_UNITS)
        fine &= price * size < MAX_NOTIONAL_UNITS
    event_us, seq = frame["event_us"].to_numpy(), frame["seq"].to_numpy()
    fine &= (event_us >= MIN_EVENT_US) & (event_us <= latest_us) & (np.abs(seq) < SEQ_LIMIT)
    for name, pattern in (("price", DECIMAL_PATTERN), ("size", DECIMAL_PATTERN), ("symbol", SYMBOL_PATTERN)):
        fine &= _per_distinct(frame[name], lambda texts, pattern=pattern: texts.str.fullmatch(pattern))
    length = np.zeros(len(frame), np.int64)
    for name in ("source", "venue", "trade_id", "conditions"):
        fine &= _per_distinct(frame[name], lambda texts: texts.str.fullmatch(TEXT_PATTERN))
        length += _per_distinct(frame[name], lambda texts: texts.str.len(), absent=0)
    fine &= length <= MAX_TEXT_LENGTH
    if known is not None:
        fine &= frame["symbol"].isin(known).to_numpy()
    return ~fine


def _per_distinct(column: pd.Series, rule: Callable[[pd.Series], pd.Series], absent: int = True) -> np.ndarray:
    """A rule on text applied once to each distinct value; null gives `absent`."""
    codes, unique = pd.factorize(column)
    texts = pd.Series(unique, dtype=object)
    return np.array([*(rule(texts) if len(texts) else ()), absent], dtype=type(absent))[codes]


def _as_tick(row: pd.Series) -> Tick:
    fields = {name: (None if pd.isna(row[name]) else row[name]) for name in BODY_COLUMNS if name in row}
    fields |= {name: int(fields[name]) for name in ("event_us", "seq", "reported_us") if fields.get(name) is not None}
    return Tick(**fields, received_us=0)


def with_suffix(rows: Iterable[bytes], suffix: bytes) -> list[bytes]:
    """Bodies completed with one stamp."""
    return [body + suffix for body in rows]
