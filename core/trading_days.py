"""The days of a calendar as stretches of time: which bars count to which session."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

import numpy as np

from core.errors import InputError
from core.intervals import DAY_US, MINUTE_US
from core.sessions import ALWAYS_OPEN, Ints, session_hours, session_ids

EPOCH = date(1970, 1, 1)
# Sessions are further apart than this, so that no step holds two edges.
_STEP_US = 6 * 60 * MINUTE_US
# How far a neighbouring session is looked for: the longest holidays of an exchange.
_MARGIN_US = 12 * DAY_US


@dataclass(frozen=True, slots=True)
class TradingDay:
    """All bars that start in `[start, end)`, epoch microseconds, count to the session of `day`, days since 1970."""

    day: int
    start: int
    end: int

    @property
    def date(self) -> date:
        return EPOCH + timedelta(days=self.day)


def trading_days(start_us: int, end_us: int, calendar: str) -> list[TradingDay]:
    """Every trading day with a moment in `[start_us, end_us)`, ascending and without a hole between two of them.

    The same days as `core.sessions.session_ids` gives to bars. Raises InputError for times the calendar does not cover.
    """
    if start_us >= end_us:
        return []
    if calendar == ALWAYS_OPEN:
        days = range(start_us // DAY_US, (end_us - 1) // DAY_US + 1)
        return [TradingDay(day, day * DAY_US, (day + 1) * DAY_US) for day in days]
    try:
        found = _between(start_us - _MARGIN_US, end_us + _MARGIN_US, calendar)
    except InputError:  # the margin may reach beyond what the calendar knows
        found = _between(start_us, end_us, calendar)
    return [day for day in found if day.start < end_us and day.end > start_us]


def trading_day(moment_us: int, calendar: str) -> TradingDay:
    """The trading day that a moment counts to. Raises InputError where the calendar does not cover it."""
    (found,) = trading_days(moment_us, moment_us + 1, calendar)
    return found


def day_of_date(asked: date, calendar: str) -> TradingDay | None:
    """The trading day of a date; None when there is no session on it."""
    day = (asked - EPOCH).days
    around = trading_days((day - 1) * DAY_US, (day + 2) * DAY_US, calendar)
    return next((found for found in around if found.day == day), None)


def regular_days(start_us: int, end_us: int, calendar: str) -> list[TradingDay]:
    """The regular hours, from open to close, of the same days; under "24/7" the whole day.

    Raises InputError for times the calendar does not cover.
    """
    if calendar == ALWAYS_OPEN or start_us >= end_us:
        return trading_days(start_us, end_us, calendar)
    days, closes, opens, _ = session_hours(calendar, _year(start_us), _year(end_us - 1))
    found = map(TradingDay, days.tolist(), opens.tolist(), closes.tolist())
    return [day for day in found if day.start < end_us and day.end > start_us]


def _year(us: int) -> int:
    return (EPOCH + timedelta(days=us // DAY_US)).year


def _between(start_us: int, end_us: int, calendar: str) -> list[TradingDay]:
    grid = np.arange(start_us // MINUTE_US * MINUTE_US, end_us + _STEP_US, _STEP_US, dtype=np.int64)
    ids = session_ids(grid, calendar)
    changed = np.flatnonzero(ids[1:] != ids[:-1])
    edges = _edges(grid[changed], grid[changed + 1], ids[changed], calendar)
    bounds = [int(grid[0]), *edges.tolist(), int(grid[-1])]
    days = [int(ids[0]), *ids[changed + 1].tolist()]
    return [TradingDay(day, *bound) for day, bound in zip(days, pairwise(bounds), strict=True)]


def _edges(low: Ints, high: Ints, ids: Ints, calendar: str) -> Ints:
    """The first minute in each `(low, high]` that no longer counts to the session of `low`."""
    while len(low) and (high - low).max() > MINUTE_US:
        middle = (low + high) // 2 // MINUTE_US * MINUTE_US
        same = session_ids(middle, calendar) == ids
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return high
