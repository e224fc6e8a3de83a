"""TradingView's Universal Datafeed in our terms: what a chart is told of a symbol, and bars by column."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from api.day_reads import read_tail
from api.errors import UnknownSymbol
from api.merge import Row, join
from core import hours
from core.intervals import DAY_US, INTERVALS, MINUTE_US, SECOND_US, Interval
from core.sessions import ALWAYS_OPEN, exchange_calendar
from stores.market_reads import MarketReader
from stores.redis_board import RedisBoard

MAX_BARS = 10_000
MIN_DECIMALS = 2
MAX_DECIMALS = 8
SAMPLE_BARS = 50
HOURS_DAYS = 28
RESOLUTIONS: dict[str, Interval] = {str(each.us // MINUTE_US): each for each in INTERVALS.values()}
"""By the name that charts use: minutes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Bars of `[start_us, end_us)`; with `count`, as many before the end, whatever the start is."""

    symbol: str
    interval: Interval
    start_us: int
    end_us: int
    count: int | None


async def resolve(name: str, market: MarketReader) -> dict[str, Any]:
    """The symbol of a name, which may have an exchange before it: `NASDAQ:AAPL`. Raises UnknownSymbol."""
    seen = {row["symbol"]: row for row in await market.seen()}
    for each in (name, name.partition(":")[2]):
        if each in seen:
            return seen[each]
    raise UnknownSymbol(name)


async def symbol_json(row: Row, calendar: str, intervals: Sequence[Interval], market: MarketReader, now_us: int) -> Any:
    """What a chart has to know of a symbol."""
    decimals = await _decimals(row["symbol"], market, now_us)
    session, timezone = await asyncio.to_thread(trading_hours, calendar, now_us // DAY_US)
    known = [name for name, interval in RESOLUTIONS.items() if interval in intervals]
    return found_json(row, calendar) | {
        "name": row["symbol"],
        "listed_exchange": calendar,
        "session": session,
        "timezone": timezone,
        "format": "price",
        "minmov": 1,
        "pricescale": 10**decimals,
        "has_intraday": True,
        "intraday_multipliers": known,
        "supported_resolutions": known,
        "has_daily": False,
        "has_weekly_and_monthly": False,
        "volume_precision": MAX_DECIMALS,
        "data_status": "streaming",
    }


def found_json(row: Row, calendar: str) -> dict[str, Any]:
    """A symbol as a search shows it."""
    name = row["symbol"]
    kind = row["asset_class"] or ("crypto" if calendar == ALWAYS_OPEN else "stock")
    return {"symbol": name, "full_name": name, "ticker": name, "description": name, "exchange": calendar, "type": kind}


async def read_history(asked: Asked, calendar: str, market: MarketReader, board: RedisBoard) -> dict[str, Any]:
    """Bars by column, ascending, those still forming too; or `no_data`, with the time of the newest bar before."""
    start_us = 0 if asked.count is not None else asked.start_us
    stored, tail = await asyncio.gather(
        market.session_bars(asked.symbol, asked.interval.name, start_us, asked.end_us, MAX_BARS),
        read_tail(board, asked.symbol, asked.interval.name),
    )
    bars = join(stored, tail or (), start_us, asked.end_us)
    shown = await asyncio.to_thread(_in_hours, [bar for bar in bars if bar["close"] is not None], calendar)
    if asked.count is not None:
        shown = shown[max(0, len(shown) - asked.count) :]
    if shown:
        return columns(shown[-MAX_BARS:])
    before = await market.session_bars(asked.symbol, asked.interval.name, 0, asked.start_us, 1)
    return {"s": "no_data"} | ({"nextTime": before[-1]["start"] // SECOND_US} if before else {})


def columns(bars: Sequence[Row]) -> dict[str, Any]:
    """Ascending bars as the arrays that a chart reads; times in seconds."""
    fields: dict[str, Callable[[Row], float | int]] = {
        "t": lambda bar: int(bar["start"]) // SECOND_US,
        "o": lambda bar: float(bar["open"] if bar["open"] is not None else bar["close"]),
        "h": lambda bar: float(bar["high"] if bar["high"] is not None else bar["close"]),
        "l": lambda bar: float(bar["low"] if bar["low"] is not None else bar["close"]),
        "c": lambda bar: float(bar["close"]),
        "v": lambda bar: float(bar["volume"]),
    }
    return {"s": "ok"} | {name: [value(bar) for bar in bars] for name, value in fields.items()}


@functools.lru_cache(maxsize=16)
def trading_hours(calendar: str, day: int) -> tuple[str, str]:
    """Session and time zone as charts write them: `0930-1600` local time, the usual hours of the weeks before a day."""
    if calendar == ALWAYS_OPEN:
        return "24x7", "Etc/UTC"
    date = np.datetime64(day, "D")
    zone = str(exchange_calendar(calendar, date - np.timedelta64(HOURS_DAYS, "D"), date).tz)
    spans = hours.spans(calendar, "rth", (day - HOURS_DAYS) * DAY_US, day * DAY_US)
    usual = Counter((_clock(low, zone), _clock(high, zone)) for low, high in spans).most_common(1)
    return "-".join(usual[0][0]) if usual else "24x7", zone


def _clock(us: int, zone: str) -> str:
    return datetime.fromtimestamp(us // SECOND_US, UTC).astimezone(ZoneInfo(zone)).strftime("%H%M")


def _in_hours(bars: list[Row], calendar: str) -> list[Row]:
    """Charts draw the hours of the session that they were told of."""
    if calendar == ALWAYS_OPEN or not bars:
        return bars
    open_spans = hours.spans(calendar, "rth", bars[0]["start"], bars[-1]["end"])
    return [bar for bar in bars if hours.within(bar["start"], open_spans)]


async def _decimals(symbol: str, market: MarketReader, now_us: int) -> int:
    """Of the newest closes, the most that any has."""
    bars = await market.session_bars(symbol, "1m", 0, now_us, SAMPLE_BARS)
    closes = [bar["close"].normalize() for bar in bars if bar["close"] is not None]
    used = max((-int(close.as_tuple().exponent) for close in closes), default=MIN_DECIMALS)
    return min(MAX_DECIMALS, max(MIN_DECIMALS, used))
