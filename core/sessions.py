"""Trading sessions: which one a bar belongs to, by a calendar of exchange_calendars or by the UTC day.

A session's id is its day as days since 1970-01-01, so that ids sort and mean the same under every calendar.
"""

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
    start_us = np.asarray(start_us, np.int64)
    if calendar == ALWAYS_OPEN:
        return start_us // DAY_US
    if not len(start_us):
        _known(calendar)
        return start_us
    days, closes, opens, zone = _sessions(calendar, _year(start_us.min()), _year(start_us.max()))
    following = np.searchsorted(closes, start_us, side="right")
    before_open = start_us < opens[following]
    same_day = _local_day(start_us, zone) == days[following - 1]
    return days[np.where(before_open & same_day, following - 1, following)]


def _year(us: np.int64) -> int:
    return int(us.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64)) + 1970


def _known(calendar: str) -> Any:
    import exchange_calendars  # type: ignore[import-untyped]  # half a second, and only some need it

    names = exchange_calendars.get_calendar_names()
    if calendar not in names:
        raise InputError(f"unknown calendar {calendar!r}; take 24/7, or one of exchange_calendars such as XNYS or XLON")
    return exchange_calendars


@functools.lru_cache(maxsize=16)
def _sessions(calendar: str, first_year: int, last_year: int) -> tuple[Ints, Ints, Ints, str]:
    """Days, closes and opens of all sessions of these years with a margin on both sides, and the time zone."""
    library = _known(calendar)
    margin = np.timedelta64(_MARGIN_DAYS, "D")
    start = np.datetime64(f"{first_year:04}-01-01") - margin
    end = np.datetime64(f"{last_year:04}-12-31") + margin
    try:
        found = library.get_calendar(calendar, start=str(start), end=str(end))
    except (ValueError, library.errors.CalendarError) as error:
        raise InputError(f"calendar {calendar} has no sessions for {first_year} to {last_year}: {error}") from None
    days = found.opens.index.to_numpy("datetime64[D]").astype(np.int64)
    return days, _us(found.closes), _us(found.opens), str(found.tz)


def _us(instants: Any) -> Ints:
    return np.asarray(instants.dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64))


def _local_day(start_us: Ints, zone: str) -> Ints:
    import pandas as pd  # type: ignore[import-untyped]

    local = pd.DatetimeIndex(start_us.astype("datetime64[us]")).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return np.asarray(local.to_numpy("datetime64[D]").astype(np.int64))
