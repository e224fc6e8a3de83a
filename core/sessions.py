"""Trading sessions: which one a bar belongs to, by a calendar of exchange_calendars or by the UTC day.

A session's id is its day as days since 1970-01-01, so that ids sort and mean the same under every calendar.
"""

import contextlib
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.intervals import DAY_US

Ints = NDArray[np.int64]

ALWAYS_OPEN = "24/7"
_MARGIN_DAYS = 30  # no exchange stayed closed for longer, but for wars


def session_ids(start_us: Ints, calendar: str = ALWAYS_OPEN) -> Ints:
    """The session id of bars that start at these epoch microseconds.

    "24/7" takes the UTC day. Under an exchange's calendar (`XNYS`) a bar belongs to the session in whose hours it
    starts; after the close, to the session of the same local day; at any other time to the next session. So a
    pre-market bar counts to its day and a weekend bar to Monday. Raises InputError for an unknown calendar and for
    times that the calendar does not cover.
    """
    return session_places(start_us, calendar)[0]


def session_places(start_us: Ints, calendar: str = ALWAYS_OPEN) -> tuple[Ints, Ints]:
    """The session id of bars, as `session_ids` has it, and the microseconds from that session's open to their start.

    The latter are negative before the open; under "24/7" a session opens at midnight UTC.
    """
    start_us = np.asarray(start_us, np.int64)
    if calendar == ALWAYS_OPEN:
        return start_us // DAY_US, start_us % DAY_US
    if not len(start_us):
        check_calendar(calendar)
        return start_us, start_us
    days, closes, opens, zone = session_hours(calendar, _year(start_us.min()), _year(start_us.max()))
    following = np.searchsorted(closes, start_us, side="right")
    last = len(days) - 1
    before_open = (following > last) | (start_us < opens[np.minimum(following, last)])
    same_day = _local_day(start_us, zone) == days[following - 1]
    place = np.where(before_open & same_day, following - 1, following)
    if (place > last).any():
        day = np.datetime64(int(days[last]), "D")
        raise InputError(f"calendar {calendar} ends on {day}, and bars start after that")
    return days[place], start_us - opens[place]


def _year(us: np.int64) -> int:
    return int(us.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64)) + 1970


def check_calendar(calendar: str) -> None:
    """Raise InputError where exchange_calendars has no such calendar."""
    import exchange_calendars  # type: ignore[import-untyped]  # half a second, and only some need it

    if calendar not in exchange_calendars.get_calendar_names():
        raise InputError(f"unknown calendar {calendar!r}; take 24/7, or one of exchange_calendars such as XNYS or XLON")


def exchange_calendar(calendar: str, first: np.datetime64, last: np.datetime64, asked: str = "") -> Any:
    """A calendar of exchange_calendars from one day to another, both included.

    Raises InputError for an unknown one, and where it does not cover these days, named as `asked` where that is given.
    """
    check_calendar(calendar)
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(calendar, start=str(first), end=str(last))
    except (ValueError, exchange_calendars.errors.CalendarError) as error:
        days = asked or f"{first} to {last}"
        raise InputError(f"calendar {calendar} has no sessions for {days}, which it does not cover: {error}") from None


def days_around(first_year: int, last_year: int, margin_days: int) -> tuple[np.datetime64, np.datetime64]:
    """The first and the last day of these years with a margin on both sides."""
    margin = np.timedelta64(margin_days, "D")
    return np.datetime64(f"{first_year:04}-01-01") - margin, np.datetime64(f"{last_year:04}-12-31") + margin


def times_us(instants: Any) -> Ints:
    """A column of a calendar as epoch microseconds."""
    return np.asarray(instants.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64))


@functools.lru_cache(maxsize=16)
def session_hours(calendar: str, first_year: int, last_year: int) -> tuple[Ints, Ints, Ints, str]:
    """Days, closes and opens of all sessions of these years with a margin on both sides, and the time zone.

    On a side where the calendar begins or ends with these years, there is no margin.
    """
    found = _with_margins(calendar, first_year, last_year)
    days = found.opens.index.to_numpy("datetime64[D]").astype(np.int64)
    return days, times_us(found.closes), times_us(found.opens), str(found.tz)


def _with_margins(calendar: str, first_year: int, last_year: int) -> Any:
    check_calendar(calendar)
    (first, last), (far_first, far_last) = (days_around(first_year, last_year, days) for days in (0, _MARGIN_DAYS))
    asked = f"{first_year} to {last_year}"
    # Calendars whose holidays are proclaimed year by year end with the year that is known.
    for pair in ((far_first, far_last), (far_first, last), (first, far_last)):
        with contextlib.suppress(InputError):
            return exchange_calendar(calendar, *pair, asked)
    return exchange_calendar(calendar, first, last, asked)


def _local_day(start_us: Ints, zone: str) -> Ints:
    import pandas as pd  # type: ignore[import-untyped]

    local = pd.DatetimeIndex(start_us.astype("datetime64[us]")).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return np.asarray(local.to_numpy("datetime64[D]").astype(np.int64))
