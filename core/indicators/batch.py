"""The batch driver: indicator columns for a frame of bars, equal to stepping through it bit for bit."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from numpy.typing import NDArray

from core.errors import InputError
from core.indicators.base import BAR_FIELDS, Array, Bars, Indicator
from core.indicators.spec import column, columns_of, parse, parse_all
from core.intervals import MINUTE_US
from core.sessions import session_places

Ints = NDArray[np.int64]

REQUIRED = ("start", "open", "high", "low", "close", "volume")
CELLS = 2_000_000  # of one block: 16 MB per column


def compute(bars: pd.DataFrame, specs: str | Sequence[str | Indicator], calendar: str = "24/7") -> pd.DataFrame:
    """One column per output, NaN until ready, for the bars of any number of keys in any order of rows.

    `bars` has start (datetime64, UTC unless it says otherwise, or microseconds), open, high, low, close and volume;
    symbol and interval where there are several; notional for an exact VWAP, else (high + low + close) / 3 * volume
    takes its place. A key's bars are taken by their order in time; where none was made, none is assumed. The result
    has the index and the order of `bars`. Raises InputError for a wrong column, a repeated bar or a wrong spec.
    """
    indicators = _parsed(specs)
    _check_columns(bars)
    start = start_us(bars)
    values = _fields(bars, *session_places(start, calendar))
    found = {name: np.full(len(bars), np.nan) for indicator in indicators for name in columns_of(indicator)}
    for rows in _blocks(_keys(bars), start):
        history = Bars(*(_matrix(values[name], rows) for name in BAR_FIELDS))
        for indicator in indicators:
            for output, matrix in indicator.scan(history).items():
                found[column(indicator, output)][rows[rows >= 0]] = matrix[rows >= 0]
    return pd.DataFrame(found, index=bars.index)


def _parsed(specs: str | Sequence[str | Indicator]) -> list[Indicator]:
    if isinstance(specs, str):
        return list(parse_all(specs))
    return list(dict.fromkeys(parse(spec) if isinstance(spec, str) else spec for spec in specs))


def _check_columns(bars: pd.DataFrame) -> None:
    missing = [name for name in REQUIRED if name not in bars.columns]
    if missing:
        raise InputError(f"the bars lack {', '.join(missing)}")


def start_us(bars: pd.DataFrame) -> Ints:
    """The starts of bars in epoch microseconds. Raises InputError for what is no instant."""
    start = bars["start"]
    if start.isna().any():
        raise InputError("the bars have rows without a start")
    if pd.api.types.is_datetime64_any_dtype(start.dtype):
        naive = start.dt.tz_convert("UTC").dt.tz_localize(None) if start.dt.tz is not None else start
        return np.asarray(naive.to_numpy("datetime64[us]").astype(np.int64))
    if pd.api.types.is_integer_dtype(start.dtype):
        return np.asarray(start.to_numpy(np.int64))
    raise InputError(f"start must be datetime64 or integer microseconds, not {start.dtype}")


def _fields(bars: pd.DataFrame, session: Ints, since_open_us: Ints) -> dict[str, Array]:
    values = {name: _floats(bars[name]) for name in REQUIRED[1:]}
    if "notional" in bars.columns:
        values["notional"] = _floats(bars["notional"])
    else:
        values["notional"] = (values["high"] + values["low"] + values["close"]) / 3 * values["volume"]
    return values | {"session": session.astype(np.float64), "minute": since_open_us / MINUTE_US}


def _floats(series: pd.Series) -> Array:
    try:
        return np.asarray(series.to_numpy(np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        raise InputError(f"the column {series.name} holds what is not a number") from None


def _keys(bars: pd.DataFrame) -> Ints:
    """One number per row, the same for rows of one symbol and interval."""
    names = [name for name in ("symbol", "interval") if name in bars.columns]
    if not names:
        return np.zeros(len(bars), np.int64)
    if bars[names].isna().any(axis=None):
        raise InputError("the bars have rows without a symbol or an interval")
    grouped: Any = bars.groupby(names, sort=True, observed=True).ngroup()
    return np.asarray(grouped.to_numpy(np.int64))


def _blocks(keys: Ints, start: Ints) -> Iterator[Ints]:
    """Matrices (bars, keys) of row numbers, every key's bars from the top in order of time, -1 below its last.

    Keys of like length share a block, so that little of it is filler.
    """
    order = np.lexsort((start, keys))
    repeated = (np.diff(keys[order]) == 0) & (np.diff(start[order]) == 0)
    if repeated.any():
        raise InputError("the bars have two rows with one symbol, interval and start")
    lengths = np.bincount(keys) if len(keys) else np.zeros(0, np.int64)
    firsts = np.cumsum(lengths) - lengths
    by_length = np.argsort(-lengths, kind="stable")
    while len(by_length):
        longest = lengths[by_length[0]]
        alike = int(np.count_nonzero(2 * lengths[by_length] >= longest))
        members, by_length = np.split(by_length, [min(alike, max(1, CELLS // int(longest)))])
        position = np.arange(longest)[:, None]
        inside = position < lengths[members]
        yield np.where(inside, order[np.where(inside, firsts[members] + position, 0)], -1)


def _matrix(values: Array, rows: Ints) -> Array:
    return np.where(rows >= 0, values[rows], np.nan)
