"""Reads that join the two stores: what Redis cannot say is left out and said so, the database is needed."""

import asyncio
from typing import Any, Literal

from api.errors import NoPrice, UnknownSymbol
from api.merge import Row, Window, fill, join
from api.params import BarsQuery
from api.times import MAX_TIME_US
from core.clock import Clock
from core.errors import StoreUnavailable
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

Tail = Literal["ok", "unavailable"]
# How far back a close is looked for where trades touched no price; such a bar is a lone odd print.
PRIOR_BARS = 100


async def read_bars(
    symbol: str, query: BarsQuery, history: TimescaleReader, live: RedisReader, clock: Clock
) -> tuple[list[Row], Tail]:
    """Ascending bars of the range, one more than the limit when there are more, and how the tail fared.

    Raises StoreUnavailable when the database does not answer.
    """
    limit = query.limit + 1
    stored, tail = await asyncio.gather(
        history.bars(symbol, query.interval, query.start_us, query.end_us, limit, newest_first=query.newest),
        read_tail(live, symbol, query.interval),
    )
    window = Window(query.start_us, query.end_us, limit, query.newest)
    bars = join(stored, tail or (), window.start, window.end)
    prior = None
    reaches_start = not (query.newest and len(stored) >= limit)
    if query.fill != "none" and query.start is not None and reaches_start:
        prior = await _prior(symbol, query, history, tail or [])
    until = 0 if query.end is None else clock.now_us()
    rows = fill(bars, prior, window, query.bar_interval, query.fill, until)
    return rows, "unavailable" if tail is None else "ok"


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


async def read_tail(live: RedisReader, symbol: str, interval: str) -> list[dict[str, Any]] | None:
    """The newest bars that Redis holds; None when it does not answer."""
    try:
        return await live.tail(symbol, interval)
    except StoreUnavailable:
        return None


async def _prior(symbol: str, query: BarsQuery, history: TimescaleReader, tail: list[dict[str, Any]]) -> Row | None:
    """The newest bar before the range that has a close, or else the newest one."""
    stored = await history.bars(symbol, query.interval, 0, query.start_us, PRIOR_BARS, newest_first=True)
    earlier = join(stored, tail, 0, query.start_us)[::-1]
    return next((bar for bar in earlier if bar["close"] is not None), earlier[0] if earlier else None)
