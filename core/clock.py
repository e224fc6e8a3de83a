"""The clock, passed in wherever time is read, so that tests own it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time as integer microseconds since the epoch, UTC."""

    def now_us(self) -> int: ...


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, now_us: int = 0) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def advance(self, us: int) -> None:
        self._now_us += us
