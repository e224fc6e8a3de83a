"""Reads that join the two stores: what Redis cannot say is left out and said so, the database is needed."""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from api.errors import NoPrice, UnknownSymbol
from api.merge import Row, Window, fill, join
from api.params import BarRange, BarsQuery
from api.render import time_text
from api.times import MAX_TIME_US
from core.clock import Clock
from core.errors import StoreUnavailable
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
    symbol: str, query: BarRange, history: TimescaleReader, live: RedisReader, *, with_indicators: bool = False
) -> Joined:
    """The bars of the range, more than the limit when there are more.

    `with_indicators` gives the bars of the tail the key `indicators`.
    Raises StoreUnavailable when the database does not answer.
    """
    limit = query.limit + 1
    stored, tail = await asyncio.gather(
        history.bars(symbol, query.interval, query.start_us, query.end_us, limit, newest_first=query.newest),
        _tail(live, symbol, query.interval, with_indicators),
    )
    return Joined(join(stored, tail or (), query.start_us, query.end_us), tail, len(stored) >= limit)


async def read_before(
    symbol: str, interval: str, start_us: int, count: int, history: TimescaleReader, joined: Joined
) -> list[Row]:
    """Ascending bars before a moment: the last `count` of the database, and what the tail knows better."""
    stored = await history.bars(symbol, interval, 0, start_us, count, newest_first=True)
    return join(stored, joined.live or (), 0, start_us)


async def read_bars(
    symbol: str, query: BarsQuery, history: TimescaleReader, live: RedisReader, clock: Clock
) -> tuple[list[Row], Tail]:
    """Ascending bars of the range, filled, one more than the limit when there are more, and how the tail fared.

    Raises StoreUnavailable when the database does not answer.
    """
    joined = await read_range(symbol, query, history, live)
    prior = None
    reaches_start = not (query.newest and joined.database_has_more)
    if query.fill != "none" and query.start is not None and reaches_start:
        prior = await _prior(symbol, query, history, joined)
    until = 0 if query.end is None else clock.now_us()
    window = Window(query.start_us, query.end_us, query.limit + 1, query.newest)
    return fill(joined.bars, prior, window, query.bar_interval, query.fill, until), joined.tail


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


async def _tail(live: RedisReader, symbol: str, interval: str, with_indicators: bool) -> list[dict[str, Any]] | None:
    try:
        return await live.tail(symbol, interval, with_indicators=with_indicators)
    except StoreUnavailable:
        return None


async def _prior(symbol: str, query: BarsQuery, history: TimescaleReader, joined: Joined) -> Row | None:
    """The newest bar before the range that has a close, or else the newest one."""
    earlier = (await read_before(symbol, query.interval, query.start_us, PRIOR_BARS, history, joined))[::-1]
    return next((bar for bar in earlier if bar["close"] is not None), earlier[0] if earlier else None)
