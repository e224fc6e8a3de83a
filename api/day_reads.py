"""Sessions of one symbol: which there are in a range, and their bars from both stores."""

import asyncio
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import msgspec

from api.errors import UnknownSymbol
from api.merge import Row, join
from api.params_market import DailyQuery
from api.rollup import vwap
from api.times import MAX_TIME_US
from api.trading_days import EPOCH, TradingDay, day_of_date, trading_day, trading_days
from core.errors import InputError, StoreUnavailable
from core.intervals import DAY_US
from stores.market_reads import MarketReader
from stores.redis_board import RedisBoard, TailBar

MAX_BARS = 20_000
MAX_DAYS = 4_000


class NoSession(InputError):
    """The date asked for is not a trading day; the message says so."""


@dataclass(frozen=True, slots=True)
class SessionBars:
    """One session's bars, ascending."""

    day: TradingDay
    bars: list[Row]
    prior_close: Decimal | None
    tail: Literal["ok", "unavailable"]


async def read_session(
    symbol: str,
    asked: date | None,
    interval: str,
    calendar: str,
    market: MarketReader,
    board: RedisBoard,
    now_us: int,
) -> SessionBars:
    """The bars of the session of a date, or of the newest one that has any; those not final yet are from Redis.

    Of a symbol without bars it is the session of now.

    Raises UnknownSymbol, NoSession for a date without a session, StoreUnavailable when the database does not answer.
    """
    extent, tail = await asyncio.gather(market.extent(symbol, interval), read_tail(board, symbol, interval))
    if extent is None and not tail:
        await ensure_seen(symbol, market)
    newest = max([*(bar["start"] for bar in tail or ()), *(extent[1:] if extent else ())], default=now_us)
    day = await asyncio.to_thread(_day, asked, newest, calendar)
    bars, prior = await asyncio.gather(
        market.session_bars(symbol, interval, day.start, day.end, MAX_BARS),
        market.prior_close(symbol, interval, day.start),
    )
    joined = join(bars, tail or (), day.start, day.end)
    return SessionBars(day, joined, prior, "unavailable" if tail is None else "ok")


async def read_days(
    symbol: str, query: DailyQuery, calendar: str, market: MarketReader
) -> tuple[list[tuple[TradingDay, dict[str, Any]]], bool]:
    """Ascending sessions of the range that have final bars, rolled up, within the limit; and whether there are more.

    Raises UnknownSymbol; InputError when the range holds more sessions than are looked through.
    """
    extent = await market.extent(symbol, query.interval)
    if extent is None:
        await ensure_seen(symbol, market)
        return [], False
    days = await asyncio.to_thread(_days_between, query, extent, calendar)
    if len(days) > MAX_DAYS and query.start is not None:
        raise InputError(f"the range holds {len(days)} sessions, and at most {MAX_DAYS} are looked through: narrow it")
    days = days[-MAX_DAYS:]
    by_id = {day.day: day for day in days}
    asked = [(day.day, day.start, day.end) for day in days]
    rows = await market.days(symbol, query.interval, asked, query.limit + 1, newest_first=query.newest)
    kept = rows[: query.limit]
    return sorted(((by_id[row["day"]], row) for row in kept), key=lambda pair: pair[0].day), len(rows) > len(kept)


async def ensure_seen(symbol: str, market: MarketReader) -> None:
    """Raise UnknownSymbol when the database has not seen the symbol."""
    if symbol not in {row["symbol"] for row in await market.seen()}:
        raise UnknownSymbol(symbol)


async def read_tail(board: RedisBoard, symbol: str, interval: str) -> list[Row] | None:
    """The newest bars, ascending, as `MarketReader.session_bars` gives them; None when Redis does not answer."""
    try:
        return [_as_row(bar) for bar in (await board.tails([symbol], interval)).get(symbol, [])]
    except StoreUnavailable:
        return None


def _as_row(bar: TailBar) -> Row:
    return msgspec.structs.asdict(bar) | {"vwap": vwap(bar.notional, bar.volume)}


def _day(asked: date | None, newest_us: int, calendar: str) -> TradingDay:
    if asked is None:
        return trading_day(newest_us, calendar)
    found = day_of_date(asked, calendar)
    if found is None:
        raise NoSession(f"day: {asked} is not a trading day of {calendar}")
    return found


def _days_between(query: DailyQuery, extent: tuple[int, int], calendar: str) -> list[TradingDay]:
    """The sessions of the range, as far as there are bars."""
    low = max(extent[0], _early(query.start))
    high = min(extent[1] + 1, _late(query.end))
    return [day for day in trading_days(low, high, calendar) if _from(day, query.start) and _until(day, query.end)]


def _early(start: int | date | None) -> int:
    """A moment that no session of the range ends before. A session may begin on the evening before its day."""
    if start is None:
        return 0
    return max(0, ((start - EPOCH).days - 7) * DAY_US) if isinstance(start, date) else start


def _late(end: int | date | None) -> int:
    if end is None:
        return MAX_TIME_US
    return ((end - EPOCH).days + 2) * DAY_US if isinstance(end, date) else end


def _from(day: TradingDay, start: int | date | None) -> bool:
    return day.date >= start if isinstance(start, date) else start is None or day.end > start


def _until(day: TradingDay, end: int | date | None) -> bool:
    return day.date < end if isinstance(end, date) else end is None or day.start < end
