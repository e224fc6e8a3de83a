"""All symbols at a glance: the session so far against the close before, from both stores."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from api.rollup import Rollup, change, rollup_of
from api.trading_days import TradingDay, trading_day
from core.errors import StoreUnavailable
from core.intervals import INTERVALS, SECOND_US
from stores.market_reads import MarketReader
from stores.redis_board import RedisBoard, TailBar

Sort = Literal["symbol", "change", "volume"]
MINUTE = "1m"


@dataclass(frozen=True, slots=True)
class Standing:
    """A symbol's newest session. `source` is `live` where Redis knew something of it."""

    symbol: str
    source: Literal["live", "database"]
    day: TradingDay | None
    bar: Rollup
    prior_close: Decimal | None
    closes: list[Decimal] = field(default_factory=list)
    until_us: int | None = None  # bars that start from here on are not in it; None: all are

    @property
    def change(self) -> tuple[Decimal | None, Decimal | None]:
        return change(self.bar.close, self.prior_close)

    def age_seconds(self, now_us: int) -> float | None:
        """Since the last trade that set a price."""
        return None if self.bar.close_us is None else max(0, now_us - self.bar.close_us) / SECOND_US


@dataclass(frozen=True, slots=True)
class Overview:
    """By symbol; `live` is False when Redis did not answer."""

    standings: list[Standing]
    live: bool


async def read_overview(
    asked: Sequence[str] | None,
    interval: str,
    points: int,
    calendar: str,
    market: MarketReader,
    board: RedisBoard,
    apart: int = 0,
) -> Overview:
    """The standing of each known symbol, or of those asked for that are known; `points` closes of `interval` each.

    The newest `apart` bars that Redis has of a symbol are left out of its standing, which says so by `until_us`.
    Raises StoreUnavailable when the database does not answer.
    """
    seen = {row["symbol"]: row["last_bar_end"] for row in await market.seen()}
    tails, live = await _tails(board, seen, asked)
    names = sorted(seen.keys() | tails.keys())
    if asked is not None:
        wanted = frozenset(asked)
        names = [name for name in names if name in wanted]
    newest = {name: _newest(seen.get(name), tails.get(name, ())) for name in names}
    days = await asyncio.to_thread(_days, newest, calendar)
    until = {name: _until(day, seen.get(name), tails.get(name, ()), apart) for name, day in days.items()}
    ends = [(name, day.start, _first(day.end, until[name])) for name, day in days.items()]
    stored = await market.sessions(ends, interval, points)
    length = INTERVALS[interval].us
    found = [
        _standing(name, days.get(name), stored.get(name), tails.get(name, []), length, points, until.get(name))
        for name in names
    ]
    return Overview(found, live)


def ordered(standings: Sequence[Standing], sort: Sort) -> list[Standing]:
    """By name, or the largest change or volume first; those without one come last."""
    if sort == "symbol":
        return list(standings)

    def rank(standing: Standing) -> tuple[bool, Decimal]:
        value = standing.change[1] if sort == "change" else standing.bar.volume
        return value is None, -(value or Decimal(0))

    return sorted(standings, key=rank)


async def _tails(
    board: RedisBoard, seen: Mapping[str, Any], asked: Sequence[str] | None
) -> tuple[dict[str, list[TailBar]], bool]:
    try:
        known = await board.symbols()
        return await board.tails(known if asked is None else sorted(set(asked) & {*known, *seen}), MINUTE), True
    except StoreUnavailable:
        return {}, False


def _until(day: TradingDay, last_bar_end: int | None, tail: Sequence[TailBar], apart: int) -> int | None:
    """The first start that is left out: that of the newest `apart` bars, or after the last bar; None for none."""
    if not apart:
        return None
    left = [bar.start for bar in tail[-apart:]]
    return max(day.start, left[0] if left else last_bar_end or 0)


def _first(end: int, until: int | None) -> int:
    return end if until is None else min(end, until)


def _newest(last_bar_end: int | None, tail: Sequence[TailBar]) -> int | None:
    """A moment of the newest bar."""
    known = [bar.start for bar in tail[-1:]] + ([last_bar_end - 1] if last_bar_end else [])
    return max(known, default=None)


def _days(newest: Mapping[str, int | None], calendar: str) -> dict[str, TradingDay]:
    """The session of each symbol. Symbols share few sessions, and each is looked up once."""
    days: list[TradingDay] = []
    found: dict[str, TradingDay] = {}
    for symbol, moment in newest.items():
        if moment is None:
            continue
        day = next((day for day in days if day.start <= moment < day.end), None)
        if day is None:
            day = trading_day(moment, calendar)
            days.append(day)
        found[symbol] = day
    return found


def _standing(
    symbol: str,
    day: TradingDay | None,
    stored: Mapping[str, Any] | None,
    tail: Sequence[TailBar],
    interval_us: int,
    points: int,
    until: int | None,
) -> Standing:
    source: Literal["live", "database"] = "live" if tail else "database"
    if day is None or stored is None:
        return Standing(symbol, source, day, Rollup(), None)
    tail = [bar for bar in tail if until is None or bar.start < until]
    newest = stored["newest"] if stored["newest"] is not None else day.start - 1
    fresh = [bar for bar in tail if bar.start > newest]
    bar = rollup_of(stored)
    for each in fresh:
        if day.start <= each.start < day.end:
            bar = bar.then(each)
    closes = dict(zip(stored["starts"] or (), stored["closes"] or (), strict=True))
    # A bar of the sparkline's interval that is not final yet closes, so far, where its last minute does.
    last_stored = max(closes, default=-1)
    for each in tail:
        slot = each.start - each.start % interval_us
        if slot > last_stored and each.close is not None:
            closes[slot] = each.close
    shown = [closes[start] for start in sorted(closes)][-points:] if points else []
    return Standing(symbol, source, day, bar, stored["prior_close"], shown, until)
