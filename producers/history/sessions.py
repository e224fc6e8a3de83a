"""When a symbol trades, as ranges of time: what a backfill may ask for at all."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from core.errors import InputError
from core.intervals import DAY_US, MINUTE_US
from core.sessions import ALWAYS_OPEN, exchange_calendar, times_us
from producers.feeds.base import Feed
from producers.history.ranges import Ranges, both, union
from producers.symbols import SymbolMaster

AROUND_US = 30 * MINUTE_US
"""Asked for before each open and after each close: auctions are reported some minutes after the bell."""
_FRAME = np.timedelta64(7, "D")  # asked for on both sides: a range inside a holiday finds its neighbours


def calendar_of(feed: type[Feed], symbol: str, master: SymbolMaster) -> str:
    """The calendar of one symbol: a venue that never closes has its own, others trade as the symbol master says."""
    if feed.calendar == ALWAYS_OPEN:
        return ALWAYS_OPEN
    info = master.resolve(symbol, strict=False)
    return feed.calendar if info.asset_class == "unknown" else info.calendar


def sessions(calendar: str, start_us: int, end_us: int, *, around_us: int = 0, whole_days: bool = False) -> Ranges:
    """When the market is open within `[start_us, end_us)`, breaks such as lunch left out.

    `around_us` widens each session on both sides. `whole_days` gives the day of each session instead, in UTC and in
    the market's own time, since providers stamp daily bars with either midnight. Raises InputError for an unknown
    calendar and for times that it does not cover.
    """
    wanted = [(start_us, end_us)]
    if calendar == ALWAYS_OPEN or start_us >= end_us:
        return union(wanted)
    found = _calendar(calendar, _day(start_us) - _FRAME, _day(end_us - 1))
    if whole_days:
        return both(_days(found), wanted)
    opened = union(zip(_us(found.opens), _us(found.closes), strict=True))
    for begin, end in zip(_us(found.break_starts), _us(found.break_ends), strict=True):
        opened = [part for one in opened for part in _without_break(one, begin, end)]
    return both([(begin - around_us, end + around_us) for begin, end in opened], wanted)


def _calendar(calendar: str, first: np.datetime64, last: np.datetime64) -> Any:
    """With a week more where the calendar knows it: some end with the year."""
    try:
        return exchange_calendar(calendar, first, last + _FRAME)
    except InputError:
        return exchange_calendar(calendar, first, last)


def _without_break(one: tuple[int, int], begin: int, end: int) -> Ranges:
    inside = one[0] < begin and end < one[1]
    return [(one[0], begin), (end, one[1])] if inside else [one]


def _days(found: Any) -> Ranges:
    zone, days = ZoneInfo(str(found.tz)), []
    for label in found.opens.index:
        utc_us = int(datetime(label.year, label.month, label.day, tzinfo=UTC).timestamp()) * 1_000_000
        own_us = int(datetime(label.year, label.month, label.day, tzinfo=zone).timestamp()) * 1_000_000
        days += [(utc_us, utc_us + DAY_US), (own_us, own_us + DAY_US)]
    return union(days)


def _day(us: int) -> np.datetime64:
    return np.datetime64(us // DAY_US, "D")


def _us(instants: Any) -> list[int]:
    """A column of times as epoch microseconds; days without one (no break) left out."""
    return [int(value) for value in times_us(instants.dropna())]
