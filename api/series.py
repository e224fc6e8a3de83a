"""Indicators computed when asked for: the bars of a range, the bars that they need before it, and `compute`."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from api.merge import Row
from api.params import IndicatorsQuery
from api.reading import Tail, ensure_known, read_before, read_range
from core.indicators import Indicator, compute
from core.intervals import DAY_US, Interval
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

_INPUTS = ("open", "high", "low", "close", "volume", "notional")


@dataclass(frozen=True, slots=True)
class Series:
    """Ascending bars of a range, and by bar its values by column and whether they are ready and stable."""

    bars: list[Row]
    values: list[dict[str, float | None]]
    ready: list[bool]
    stable: list[bool]
    tail: Tail
    truncated: bool


async def read_series(
    symbol: str,
    query: IndicatorsQuery,
    indicators: Sequence[Indicator],
    calendar: str,
    history: TimescaleReader,
    live: RedisReader,
) -> Series:
    """The range with as many bars before it as the indicators need to be stable, where there are so many.

    Raises UnknownSymbol, and StoreUnavailable when the database does not answer.
    """
    joined = await read_range(symbol, query, history, live)
    rows, truncated = query.cut(joined.bars)
    if not rows:
        await ensure_known(symbol, history, live)
        return Series([], [], [], [], joined.tail, truncated)
    count = _warm_up(indicators, query.bar_interval)
    before = (await read_before(symbol, query.interval, rows[0]["start"], count, history, joined))[-count:]
    values, ready, stable = await asyncio.to_thread(_computed, [*before, *rows], len(before), indicators, calendar)
    return Series(rows, values, ready, stable, joined.tail, truncated)


def _warm_up(indicators: Sequence[Indicator], interval: Interval) -> int:
    """Bars before a range: until the slowest is stable, and a day of them for what begins with the session."""
    bars = max(each.stable_after for each in indicators)
    by_session = any("session" in each.inputs for each in indicators)
    return max(bars, DAY_US // interval.us) if by_session else bars


def _computed(
    bars: Sequence[Row], skipped: int, indicators: Sequence[Indicator], calendar: str
) -> tuple[list[dict[str, float | None]], list[bool], list[bool]]:
    frame = pd.DataFrame({name: [_float(bar[name]) for bar in bars] for name in _INPUTS})
    frame["start"] = np.array([bar["start"] for bar in bars], np.int64)
    found = compute(frame, list(indicators), calendar).iloc[skipped:]
    values = [{name: _number(value) for name, value in row.items()} for row in found.to_dict("records")]
    priced = np.cumsum(frame["close"].notna().to_numpy())[skipped:]
    ready = max(each.ready_after for each in indicators)
    stable = max(each.stable_after for each in indicators)
    return values, (priced >= ready).tolist(), (priced >= stable).tolist()


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
