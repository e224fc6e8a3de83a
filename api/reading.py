"""Reads that join the two stores: what Redis cannot say is left out and said so, the database is needed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from api.errors import NoPrice, UnknownSymbol
from api.merge import Row, Window, fill, join
from api.paging import Page
from api.params import BarRange, BarsQuery, SessionName, TicksQuery
from api.render import time_text
from api.times import MAX_TIME_US
from core.clock import Clock
from core.errors import StoreUnavailable
from core.hours import Spans, spans, within
from core.sessions import ALWAYS_OPEN
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

Tail = Literal["ok", "unavailable"]
# How far back a close is looked for where trades touched no price; such a bar is a lone odd print.
PRIOR_BARS = 100


@dataclass(frozen=True, slots=True)
class Joined:
    """Ascending bars of a range from both stores; `live` is the tail that Redis held, None when it did not answer."""

    bars: list[Row]
    live: list[dict[str, Any]] | None
    database_has_more: bool

    @property
    def tail(self) -> Tail:
        return "unavailable" if self.live is None else "ok"


def asked_json(symbol: str, query: BarRange) -> dict[str, Any]:
    """What was asked for, as an answer repeats it."""
    return {
        "symbol": symbol,
        "interval": query.interval,
        "start": time_text(query.start),
        "end": time_text(query.end),
        "order": query.order,
    }


async def read_range(
    symbol: str,
    query: BarRange,
    page: Page,
    history: TimescaleReader,
    live: RedisReader,
    *,
    with_indicators: bool = False,
) -> Joined:
    """The bars of the page, more than the limit when there are more.

    `with_indicators` gives the bars of the tail the key `indicators`.
    Raises StoreUnavailable when the database does not answer.
    """
    limit = page.limit + 1
    stored, tail = await asyncio.gather(
        history.bars(symbol, query.interval, page.start, page.end, limit, newest_first=page.newest),
        read_tail(live, symbol, query.interval, with_indicators),
    )
    return Joined(join(stored, tail or (), page.start, page.end), tail, len(stored) >= limit)


async def read_before(
    symbol: str, interval: str, start_us: int, count: int, history: TimescaleReader, joined: Joined
) -> list[Row]:
    """Ascending bars before a moment: the last `count` of the database, and what the tail knows better."""
    stored = await history.bars(symbol, interval, 0, start_us, count, newest_first=True)
    return join(stored, joined.live or (), 0, start_us)


@dataclass(frozen=True, slots=True)
class BarsReader:
    """Reads the bars of one request; amounts of the database are text, those of the tail Decimal."""

    symbol: str
    query: BarsQuery
    page: Page
    calendar: str
    history: TimescaleReader
    live: RedisReader
    clock: Clock

    async def read(self) -> tuple[list[Row], Tail]:
        """Ascending bars of the page, filled, one more than the limit when there are more, and how the tail fared.

        Raises StoreUnavailable when the database does not answer.
        """
        page = self.page
        stored, tail = await asyncio.gather(
            self._stored(page.start, page.end, page.limit + 1, page.newest), self._tail()
        )
        kept = await self._of_session(tail or [])
        joined = Joined(join(stored, kept, page.start, page.end), kept, len(stored) > page.limit)
        rows = joined.bars if self.query.fill == "none" else await self._filled(joined)
        return rows, "ok" if tail is not None else "unavailable"

    async def _tail(self) -> list[dict[str, Any]] | None:
        """What Redis holds; nothing of a moment that has passed, of which Redis knows nothing."""
        return await read_tail(self.live, self.symbol, self.query.interval) if self.query.as_of is None else []

    async def read_closed(self) -> list[Row]:
        """The same of a page that lies in the past as a whole and is not to be filled: the database has it all."""
        rows = await self._stored(self.page.start, self.page.end, self.page.limit + 1, self.page.newest)
        return list(reversed(rows)) if self.page.newest else list(rows)

    async def _filled(self, joined: Joined) -> list[Row]:
        page, prior = self.page, None
        if page.bounded and not (page.newest and joined.database_has_more):
            prior = await self._prior(joined)
        if page.place is not None and page.place.side == "older":
            until = page.place.us  # what comes next was shown, so all before it has begun
        else:
            until = 0 if self.query.end is None else self._known_until()
        window = Window(page.start, page.end, page.limit + 1, page.newest)
        rows = partial(fill, joined.bars, prior, window, self.query.bar_interval, self.query.fill, until)
        return rows() if self.calendar == ALWAYS_OPEN else await asyncio.to_thread(rows, self._open)

    def _known_until(self) -> int:
        """Now, or the moment of which it is asked: that nothing was traded after it nobody knew then."""
        now_us = self.clock.now_us()
        return now_us if self.query.as_of is None else min(now_us, self.query.as_of)

    def _open(self, start_us: int, end_us: int) -> Spans:
        """Where trading is open: nothing is made up where it need not have happened."""
        return spans(self.calendar, "rth", start_us, end_us) if self.query.session in ("all", "rth") else []

    async def _prior(self, joined: Joined) -> Row | None:
        """The newest bar before the page that has a close, or else the newest one."""
        stored = await self._stored(0, self.page.start, PRIOR_BARS, True)
        earlier = join(stored, joined.live or (), 0, self.page.start)[::-1]
        return next((bar for bar in earlier if bar["close"] is not None), earlier[0] if earlier else None)

    async def _stored(self, start_us: int, end_us: int, limit: int, newest_first: bool) -> list[dict[str, Any]]:
        extent = partial(self.history.bars_extent, self.symbol, self.query.interval)
        allowed = await session_spans(self.calendar, self.query.session, start_us, end_us, extent)
        asked = (self.symbol, self.query.interval, start_us, end_us, limit, newest_first)
        return await self.history.bars(*asked, spans=allowed, as_text=True, as_of_us=self.query.as_of)

    async def _of_session(self, bars: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.query.session == "all" or not bars:
            return bars
        starts = [bar["start"] for bar in bars]
        edges = min(starts), max(starts) + 1
        allowed = await asyncio.to_thread(spans, self.calendar, self.query.session, *edges)
        return [bar for bar in bars if within(bar["start"], allowed)]


async def read_ticks(
    symbol: str, query: TicksQuery, page: Page, calendar: str, history: TimescaleReader
) -> list[dict[str, Any]]:
    """Ascending ticks of the page, one more than the limit when there are more; amounts are text.

    Raises StoreUnavailable when the database does not answer.
    """
    extent = partial(history.ticks_extent, symbol)
    allowed = await session_spans(calendar, query.session, page.start, page.end, extent)
    rows = await history.ticks(
        symbol,
        page.start,
        page.end,
        page.limit + 1,
        page.newest,
        beyond=page.beyond,
        spans=allowed,
        as_text=True,
    )
    return rows[::-1] if page.newest else rows


async def session_spans(
    calendar: str,
    session: SessionName,
    start_us: int,
    end_us: int,
    extent: Callable[[int, int], Awaitable[tuple[int, int] | None]],
) -> Spans | None:
    """Where the rows of a session can be, between the first and the last row of the range; None for everywhere.

    Raises InputError for years that the calendar does not cover.
    """
    if session == "all" or (session == "rth" and calendar == ALWAYS_OPEN):
        return None
    found = await extent(start_us, end_us)
    return [] if found is None else await asyncio.to_thread(spans, calendar, session, found[0], found[1] + 1)


async def read_latest(
    symbol: str, history: TimescaleReader, live: RedisReader
) -> tuple[Row, Literal["live", "database"]]:
    """The newest price: `price event_us received_us volume start rev`, and which store said so.

    Raises UnknownSymbol, NoPrice, or StoreUnavailable when the store that would know does not answer.
    """
    try:
        held = await live.latest(symbol)
    except StoreUnavailable:
        held = None
    if held is not None:
        return held, "live"
    stored = await history.bars(symbol, "1m", 0, MAX_TIME_US, PRIOR_BARS, newest_first=True)
    priced = next((bar for bar in stored if bar["close"] is not None), None)
    if priced is None:
        await ensure_known(symbol, history, live)
        raise NoPrice(symbol)
    same = {name: priced[name] for name in ("received_us", "volume", "start", "rev")}
    event_us = priced["start"] if priced["close_us"] is None else priced["close_us"]
    return {"price": priced["close"], "event_us": event_us} | same, "database"


async def ensure_known(symbol: str, history: TimescaleReader, live: RedisReader) -> None:
    """Raise UnknownSymbol when no store that answers has the symbol; StoreUnavailable without the database."""
    if symbol in {row["symbol"] for row in await history.symbols()}:
        return
    if symbol not in (await live_symbols(live) or ()):
        raise UnknownSymbol(symbol)


async def live_symbols(live: RedisReader) -> set[str] | None:
    """The symbols that Redis holds now; None when it does not answer."""
    try:
        return set(await live.symbols())
    except StoreUnavailable:
        return None


async def read_tail(
    live: RedisReader, symbol: str, interval: str, with_indicators: bool = False
) -> list[dict[str, Any]] | None:
    """The newest bars as Redis holds them; None when it does not answer."""
    try:
        return await live.tail(symbol, interval, with_indicators=with_indicators)
    except StoreUnavailable:
        return None


async def is_closed(symbol: str, interval: str, page: Page, history: TimescaleReader, clock: Clock) -> bool:
    """Whether a page ends before the newest final bar does: nothing in it is forming, all of it can be amended."""
    if page.end > clock.now_us():
        return False
    newest_end_us, _ = await history.bars_validator(symbol, interval, page.end, page.end)
    return newest_end_us is not None and page.end <= newest_end_us
