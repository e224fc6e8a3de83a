"""When a symbol trades, as ranges of time: what a backfill may ask for at all."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.errors import InputError
from core.intervals import DAY_US, MINUTE_US
from core.sessions import ALWAYS_OPEN
from producers.feeds.base import Feed
from producers.history.ranges import Ranges, both, union
from producers.symbols import SymbolMaster

AROUND_US = 30 * MINUTE_US
"""Asked for before each open and after each close: auctions are reported some minutes after the bell."""
_FRAME_DAYS = 7  # of the calendar's sessions on both sides, so that a range inside a holiday finds its neighbours


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
    found = _schedule(calendar, start_us, end_us)
    if whole_days:
        return both(_days(found), wanted)
    opened = union(zip(_us(found.opens), _us(found.closes), strict=True))
    for begin, end in zip(_us(found.break_starts), _us(found.break_ends), strict=True):
        opened = [part for one in opened for part in _without_break(one, begin, end)]
    return both([(begin - around_us, end + around_us) for begin, end in opened], wanted)


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


def _schedule(calendar: str, start_us: int, end_us: int) -> Any:
    """The calendar of exchange_calendars, with a margin. Raises InputError where there is none."""
    import exchange_calendars  # type: ignore[import-untyped]  # half a second, and only some need it

    if calendar not in exchange_calendars.get_calendar_names():
        raise InputError(f"unknown calendar {calendar!r}; take 24/7, or one of exchange_calendars such as XNYS or XLON")
    first, last = start_us - _FRAME_DAYS * DAY_US, end_us + _FRAME_DAYS * DAY_US
    try:
        return exchange_calendars.get_calendar(calendar, start=_date(first), end=_date(last))
    except (ValueError, exchange_calendars.errors.CalendarError) as error:
        raise InputError(f"calendar {calendar} does not cover {_date(first)} to {_date(last)}: {error}") from None


def _date(us: int) -> str:
    return datetime.fromtimestamp(us // 1_000_000, UTC).date().isoformat()


def _us(instants: Any) -> list[int]:
    """A column of times as epoch microseconds; days without one (no break) left out."""
    return [int(value) for value in instants.dropna().dt.tz_localize(None).to_numpy("datetime64[us]").astype("int64")]
