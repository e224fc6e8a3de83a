"""When silence is not normal: deadlines on frames and on trades, which run only while the market is in session."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from core.clock import Clock
from core.intervals import SECOND_US
from core.sessions import ALWAYS_OPEN, Ints, check_calendar, days_around, exchange_calendar, times_us

_MARGIN_DAYS = 10
_SHORTEST_CHECK_SECONDS = 0.01
_LONGEST_CHECK_SECONDS = 1.0


class Hours:
    """The hours of a calendar: 24/7, or one of exchange_calendars. Raises InputError for an unknown one."""

    def __init__(self, calendar: str = ALWAYS_OPEN) -> None:
        self._calendar = calendar
        if calendar != ALWAYS_OPEN:
            check_calendar(calendar)

    def open_for(self, now_us: int) -> float | None:
        """Seconds since the session opened; None between sessions, infinity where there are none."""
        if self._calendar == ALWAYS_OPEN:
            return float("inf")
        opens, closes = _sessions(self._calendar, datetime.fromtimestamp(now_us / SECOND_US, UTC).year)
        place = int(np.searchsorted(opens, now_us, side="right")) - 1
        if place < 0 or now_us >= closes[place]:
            return None
        return float(now_us - opens[place]) / SECOND_US


@functools.lru_cache(maxsize=16)
def _sessions(calendar: str, year: int) -> tuple[Ints, Ints]:
    """Opens and closes of a year, epoch microseconds."""
    found = exchange_calendar(calendar, *days_around(year, year, _MARGIN_DAYS))
    return times_us(found.opens), times_us(found.closes)


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
