"""When silence is not normal: deadlines on frames and on trades, which run only while the market is in session."""

import functools
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from core.clock import Clock
from core.errors import InputError
from core.intervals import DAY_US, SECOND_US
from core.sessions import ALWAYS_OPEN, check_calendar
from producers.history.ranges import Ranges
from producers.history.sessions import sessions

_DAYS_BEFORE = 10  # more than a session of any calendar is long
_SHORTEST_CHECK_SECONDS = 0.01
_LONGEST_CHECK_SECONDS = 1.0
_log = structlog.get_logger("producers.live")


class Hours:
    """The hours of markets: 24/7, or calendars of exchange_calendars. Raises InputError for an unknown one."""

    def __init__(self, *calendars: str) -> None:
        self._calendars = sorted(set(calendars)) or [ALWAYS_OPEN]
        for calendar in self._calendars:
            if calendar != ALWAYS_OPEN:
                check_calendar(calendar)

    def open_for(self, now_us: int) -> float | None:
        """Seconds since the first of those open now opened, lunch breaks ended; None while all are closed.

        Infinity where one never closes.
        """
        found = [_open_for(calendar, now_us) for calendar in self._calendars]
        return max((seconds for seconds in found if seconds is not None), default=None)


def _open_for(calendar: str, now_us: int) -> float | None:
    if calendar == ALWAYS_OPEN:
        return float("inf")
    hours = _hours(calendar, now_us // DAY_US)
    place = bisect_right(hours, now_us, key=lambda one: one[0]) - 1
    return None if place < 0 or now_us >= hours[place][1] else (now_us - hours[place][0]) / SECOND_US


@functools.lru_cache(maxsize=16)
def _hours(calendar: str, day: int) -> Ranges:
    """When there is trading on a day since 1970 and for a while before, breaks left out; epoch microseconds.

    A day that the calendar does not know counts as open: better connected in vain than silent unnoticed.
    """
    first, last = (day - _DAYS_BEFORE) * DAY_US, (day + 1) * DAY_US
    try:
        return sessions(calendar, first, last)
    except InputError as error:
        _log.warning("hours not known, counted as open", calendar=calendar, reason=str(error))
        return [(first, last)]


@dataclass(frozen=True, slots=True)
class Overdue:
    """What has not come for too long, in words."""

    text: str
    of_trades: bool
    """Frames come, but no trades."""


class Liveness:
    """Whether one connection still brings data.

    Times that it did not run itself, because this process was held up, are forgiven: the provider was not silent.
    """

    def __init__(
        self,
        hours: Hours,
        clock: Clock,
        silence_seconds: float,
        trade_silence_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hours = hours
        self._clock = clock
        self._silence = silence_seconds
        self._trade_silence = trade_silence_seconds
        self._monotonic = monotonic
        self.forgive()

    def forgive(self) -> None:
        """Start both deadlines anew."""
        self.frame_at = self.trade_at = self._monotonic()

    def frame(self) -> None:
        self.frame_at = self._monotonic()

    def trade(self) -> None:
        self.trade_at = self._monotonic()

    @property
    def in_session(self) -> bool:
        """Whether data are due now."""
        return self._hours.open_for(self._clock.now_us()) is not None

    def overdue(self) -> Overdue | None:
        """What has not come for too long; None while all is well."""
        open_for = self._hours.open_for(self._clock.now_us())
        if open_for is None:
            return None
        now = self._monotonic()
        if min(now - self.frame_at, open_for) >= self._silence:
            return Overdue(f"no data for {self._silence:g} s", of_trades=False)
        if min(now - self.trade_at, open_for) >= self._trade_silence:
            return Overdue(f"no trade of any symbol for {self._trade_silence:g} s", of_trades=True)
        return None

    def next_check(self) -> float:
        """Seconds until it is worth asking again."""
        shortest = min(self._silence, self._trade_silence) / 4
        return min(max(shortest, _SHORTEST_CHECK_SECONDS), _LONGEST_CHECK_SECONDS)
