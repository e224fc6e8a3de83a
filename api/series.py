"""Indicators computed when asked for: the bars of a range, the bars that they need before it, and `compute`."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from api.merge import Row, join
from api.params import BarsQuery, IndicatorsQuery
from api.reading import Tail, ensure_known, read_bars, read_tail
from api.times import MAX_TIME_US
from core.clock import Clock
from core.indicators import Indicator, compute
from core.intervals import INTERVALS
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

DAY_US = 86_400_000_000
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
    clock: Clock,
) -> Series:
    """The range with as many bars before it as the indicators need to be stable, where there are so many.

    Raises UnknownSymbol, and StoreUnavailable when the database does not answer.
    """
    shared = query.model_dump(include={"interval", "start", "end", "limit", "order"})
    asked = BarsQuery.model_validate(shared)
    rows, tail = await read_bars(symbol, asked, history, live, clock)
    if not rows:
        await ensure_known(symbol, history, live)
    truncated = len(rows) > query.limit
    rows = rows[-query.limit :] if query.newest else rows[: query.limit]
    before = await _before(symbol, query, rows, _warm_up(indicators, query.interval), history, live)
    values, ready, stable = await asyncio.to_thread(_computed, [*before, *rows], len(before), indicators, calendar)
    return Series(rows, values, ready, stable, tail, truncated)


def _warm_up(indicators: Sequence[Indicator], interval: str) -> int:
    """Bars before a range: until the slowest is stable, and a day of them for what begins with the session."""
    bars = max((each.stable_after for each in indicators), default=0)
    by_session = any("session" in each.inputs for each in indicators)
    return max(bars, DAY_US // INTERVALS[interval].us) if by_session else bars


async def _before(
    symbol: str, query: IndicatorsQuery, rows: Sequence[Row], count: int, history: TimescaleReader, live: RedisReader
) -> list[Row]:
    """The last `count` bars before the first row, those not yet final included."""
    first = rows[0]["start"] if rows else MAX_TIME_US
    stored, tail = await asyncio.gather(
        history.bars(symbol, query.interval, 0, first, count, newest_first=True),
        read_tail(live, symbol, query.interval),
    )
    return join(stored, tail or (), 0, first)[-count:]


def _computed(
    bars: Sequence[Row], skipped: int, indicators: Sequence[Indicator], calendar: str
) -> tuple[list[dict[str, float | None]], list[bool], list[bool]]:
    if not bars:
        return [], [], []
    frame = pd.DataFrame({name: [_float(bar[name]) for bar in bars] for name in _INPUTS})
    frame["start"] = np.array([bar["start"] for bar in bars], np.int64)
    found = compute(frame, list(indicators), calendar).iloc[skipped:]
    values = [{name: _number(value) for name, value in row.items()} for row in found.to_dict("records")]
    priced = np.cumsum(frame["close"].notna().to_numpy())[skipped:]
    ready = max((each.ready_after for each in indicators), default=0)
    stable = max((each.stable_after for each in indicators), default=0)
    return values, (priced >= ready).tolist(), (priced >= stable).tolist()


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
