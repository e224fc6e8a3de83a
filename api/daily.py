"""Bars of a day: those published in the historical tier, and after them intraday bars rolled up. `interval=1d`.

A bar is labelled with its session's date: `start` is midnight UTC of it, `end` the next one. What is published counts
as the regular session, which is what daily bars are of unless all of the trading day is asked for.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from api.errors import InvalidParameter, UnknownSymbol
from api.merge import Row
from api.paging import Page
from api.params import BarsQuery
from api.reading import Tail, read_tail
from api.rollup import Rollup, rollup_of
from core.adjustment import Action, Adjustment, Factor, Factors, adjusted, factors
from core.clock import Clock
from core.intervals import DAY_US, INTERVALS, MINUTE_US, SECOND_US, Interval
from core.sessions import ALWAYS_OPEN
from core.trading_days import EPOCH, TradingDay, regular_days, trading_days
from stores.daily_reads import DailyReader
from stores.redis import RedisReader

INTRADAY = "intraday"
"""`source` of a bar that is rolled up."""
_PRICES = ("open", "high", "low", "close", "vwap")
_QUANTUM = Decimal("1e-8")
_UNCHANGED = Factor()
_LAST = date.max
_AROUND_US = 12 * DAY_US  # further than a session is from its date, and than the longest holidays
_SESSIONS_BACK = 5  # how far a close before an ex-date is looked for
_MINUTE = INTERVALS["1m"]
_Days = list[TradingDay]


@dataclass(frozen=True, slots=True)
class DailyBars:
    """Reads the daily bars of one request; `wait_us` is how long after a session its last bar may take."""

    symbol: str
    query: BarsQuery
    page: Page
    calendar: str
    intervals: tuple[Interval, ...]
    wait_us: int
    days: DailyReader
    live: RedisReader
    clock: Clock

    async def read(self) -> tuple[list[Row], Tail]:
        """Ascending bars of the page, one more than the limit when there are more, and how the tail fared.

        Raises UnknownSymbol; StoreUnavailable when the database does not answer.
        """
        first, until = _date(self.page.start), _date(self.page.end)
        published = await self._published(first, until)
        rolled, tail = await self._rolled(first, until, {row["day"] for row in published})
        ordered = sorted((*published, *rolled), key=lambda row: row["start"])
        wanted = self.page.limit + 1
        rows = ordered[-wanted:] if self.page.newest else ordered[:wanted]
        if not rows and not await self.days.knows(self.symbol):
            raise UnknownSymbol(self.symbol)
        return await self._adjusted(rows), tail

    @property
    def closed(self) -> bool:
        """Whether nothing of the page is still forming, in any time zone."""
        return self.page.end <= self.clock.now_us() - DAY_US

    @property
    def _whole(self) -> bool:
        return self.query.session == "all" and self.calendar != ALWAYS_OPEN

    async def _published(self, first: date, until: date) -> list[dict[str, Any]]:
        """What is published says nothing of what trades before and after the session."""
        if self._whole:
            return []
        page = self.page
        rows = await self.days.published(self.symbol, first, until, page.limit + 1, page.newest, self.query.as_of)
        blank = {"notional": None, "vwap": None, "trade_count": None, "open_us": None, "close_us": None}
        return [blank | row | _labelled(row["day"]) | {"state": _state(row["rev"])} for row in rows]

    async def _rolled(self, first: date, until: date, known: set[date]) -> tuple[list[dict[str, Any]], Tail]:
        extent, tail = await asyncio.gather(self.days.extent(self.symbol, "1m"), self._tail())
        newest = max((bar["end"] for bar in tail or ()), default=0)
        if extent is None and not newest:
            return [], _told(tail)
        low = extent[0] if extent else min(bar["start"] for bar in tail or ())
        high = max(newest, extent[1] + MINUTE_US if extent else 0)
        found = await asyncio.to_thread(self._days, low, high, first, until)
        days = [day for day in found if day.date not in known]
        now_us = self.clock.now_us() if self.query.as_of is None else self.query.as_of
        over = [day for day in days if day.end + self.wait_us <= now_us]
        forming = [day for day in days if day.end + self.wait_us > now_us]
        rows, open_rows = await asyncio.gather(self._sums(over), self._sums(forming, "1m"))
        bars = [_bar(row, "final") for row in rows]
        bars += [_bar(row, "forming") for row in _with_tail(open_rows, forming, tail or [])]
        return bars, _told(tail)

    def _days(self, low: int, high: int, first: date, until: date) -> _Days:
        begin = max(low, (first - EPOCH).days * DAY_US - _AROUND_US)
        end = min(high, (until - EPOCH).days * DAY_US + _AROUND_US)
        found = (trading_days if self._whole else regular_days)(begin, end, self.calendar)
        return [day for day in found if first <= day.date < until]

    async def _sums(self, days: _Days, interval: str | None = None, newest: bool | None = None) -> list[dict[str, Any]]:
        if not days:
            return []
        name = interval or await self._longest(days)
        newest = self.page.newest if newest is None else newest
        return await self.days.rolled(self.symbol, name, days, self.page.limit + 1, newest, self.query.as_of)

    async def _longest(self, days: _Days) -> str:
        """The longest bars that no session cuts: 15 and 5 minutes are the roll-up of 1, and there are fewer.

        Where 1-minute bars reach further back, as a provider's do, it is they.
        """
        edges = [edge for day in days for edge in (day.start, day.end)]
        whole = [each for each in self.intervals if all(edge % each.us == 0 for edge in edges)]
        longest = max(whole, key=lambda each: each.us, default=_MINUTE)
        one, other = await asyncio.gather(*(self.days.extent(self.symbol, each.name) for each in (_MINUTE, longest)))
        reaches = one is not None and other is not None and other[0] <= one[0]
        return longest.name if reaches else _MINUTE.name

    async def _tail(self) -> list[dict[str, Any]] | None:
        """The newest bars as Redis has them, where the page reaches as far as that."""
        if self.query.as_of is not None or self.closed:
            return []
        return await read_tail(self.live, self.symbol, "1m")

    async def _adjusted(self, rows: Sequence[dict[str, Any]]) -> list[Row]:
        adjustment = self.query.adjustment
        actions = [] if adjustment == "raw" or not rows else await self._in_force()
        closes = await self._closes_before(actions) if adjustment == "all" else {}
        made = partial(_multiplied, rows, actions, adjustment, closes)
        return await asyncio.to_thread(made) if actions else made()

    async def _in_force(self) -> list[Action]:
        """The actions whose ex-date has opened."""
        now_us = self.clock.now_us() if self.query.as_of is None else self.query.as_of
        actions = await self.days.actions(self.symbol, self.query.as_of)
        opened = await asyncio.to_thread(regular_days, now_us - _AROUND_US, now_us + 1, self.calendar)
        today = max((day.date for day in opened), default=EPOCH)
        return [action for action in actions if action.ex_date <= today]

    async def _closes_before(self, actions: Sequence[Action]) -> dict[date, Decimal]:
        """The close before each ex-date of a dividend that names none, of the tier that has the later one."""
        dates = [each.ex_date for each in actions if each.kind == "dividend" and each.reference is None]
        if not dates:
            return {}
        asked = self.days.closes_before(self.symbol, dates, self.query.as_of)
        found, extent = await asyncio.gather(asked, self.days.extent(self.symbol, "1m"))
        closes = {ex_date: row["close"] for ex_date, row in found.items()}
        for ex_date in dates if extent else ():
            day = found[ex_date]["day"] if ex_date in found else date.min
            closes |= await self._rolled_close(ex_date, day, extent or (0, 0))
        return closes

    async def _rolled_close(self, ex_date: date, published: date, extent: tuple[int, int]) -> dict[date, Decimal]:
        """The last close before an ex-date, where the roll-up has one that is later than what is published."""
        if (ex_date - EPOCH).days * DAY_US <= extent[0]:
            return {}
        low, high = max(extent[0], (ex_date - EPOCH).days * DAY_US - _AROUND_US), extent[1] + MINUTE_US
        first = EPOCH if published == date.min else published + timedelta(days=1)
        days = (await asyncio.to_thread(self._days, low, high, first, ex_date))[-_SESSIONS_BACK:]
        rows = await self._sums(days, newest=True)
        return {ex_date: rows[0]["close"]} if rows and rows[0]["close"] is not None else {}


def check(query: BarsQuery) -> None:
    """Raise InvalidParameter for what daily bars cannot do, and for an adjustment of others."""
    if query.interval in INTERVALS:
        if query.adjustment != "raw":
            raise InvalidParameter("adjustment", "intraday bars are raw; with interval=1d only", query.adjustment)
        return
    if query.session not in ("rth", "all"):
        raise InvalidParameter("session", "a daily bar is of session=rth, the default, or all", query.session)
    if query.fill != "none":
        raise InvalidParameter("fill", "daily bars are not filled: a day without trades has none", query.fill)


def _date(us: int) -> date:
    """The first date whose midnight is at or after a moment."""
    days = -(-us // DAY_US)
    return _LAST if days >= (_LAST - EPOCH).days else EPOCH + timedelta(days=days)


def _labelled(day: date) -> dict[str, int]:
    start = (day - EPOCH).days * DAY_US
    return {"start": start, "end": start + DAY_US}


def _state(rev: int) -> str:
    return "amended" if rev > 1 else "final"


def _bar(row: Row, state: str) -> dict[str, Any]:
    """A roll-up as a bar."""
    day = EPOCH + timedelta(days=row["day"])
    rev = 0 if state == "forming" else row["rev"]
    shown = {"day": day, "source": INTRADAY, "rev": rev, "state": state if state == "forming" else _state(rev)}
    return {**row, **shown, **_labelled(day)}


def _with_tail(rows: Sequence[Row], days: _Days, tail: Sequence[Row]) -> list[Row]:
    """The days that form, each with the bars that Redis has and the database has not yet."""
    stored = {row["day"]: row for row in rows}
    made: list[Row] = []
    for day in days:
        row = stored.get(day.day)
        after = max(day.start, row["until"]) if row else day.start
        newer = sorted((bar for bar in tail if after <= bar["start"] < day.end), key=lambda bar: bar["start"])
        bar = rollup_of(row) if row else Rollup()
        for each in newer:
            bar = bar.then(rollup_of(each))
        if row or bar.trade_count:
            opened = row["open_us"] if row else newer[0]["open_us"]
            made.append({name: getattr(bar, name) for name in _ROLLUP} | {"day": day.day, "open_us": opened})
    return made


_ROLLUP = ("open", "high", "low", "close", "volume", "notional", "vwap", "trade_count", "close_us", "rev")


def _told(tail: list[dict[str, Any]] | None) -> Tail:
    return "unavailable" if tail is None else "ok"


def _multiplied(
    rows: Sequence[dict[str, Any]], actions: Sequence[Action], adjustment: Adjustment, closes: dict[date, Decimal]
) -> list[Row]:
    made: Factors = factors(actions, adjustment, closes.get)
    return [_times(row, made) for row in rows]


def _times(row: dict[str, Any], made: Factors) -> Row:
    """A bar with its factors applied. Notional is cash that changed hands: it stays."""
    factor = made.at(row["day"])
    shown = {"price_factor": float(factor.price), "volume_factor": float(factor.volume)}
    if factor == _UNCHANGED:
        return row | shown
    changed = {name: adjusted(row[name], factor.price, _QUANTUM) for name in _PRICES if row[name] is not None}
    if row["volume"] is not None:
        changed["volume"] = adjusted(row["volume"], factor.volume, _QUANTUM)
    return row | shown | changed


def wait_us(lateness_seconds: float) -> int:
    """How long after a session its last bar may take to be final: the watermark's delay and a minute for the work."""
    return round(lateness_seconds * SECOND_US) + MINUTE_US
