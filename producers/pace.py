"""When to send: rows handed out as the wall clock reaches them, in batches of about a millisecond."""

import time
from collections.abc import Iterator

import numpy as np

GRAIN_SECONDS = 0.001  # waking for every tick would cost more than sending it
IDLE_SECONDS = 0.05  # the longest sleep: heartbeats and the connection want service
MAX_SLICE = 1000


class Pace:
    """A schedule against the monotonic clock, started by the first use; `speed` None hands everything out at once."""

    def __init__(self, speed: float | None = 1.0) -> None:
        self.speed = speed
        self._started_ns: int | None = None

    def elapsed_us(self) -> int:
        """Scheduled time that has passed: wall time since the start, times the speed."""
        now_ns = time.monotonic_ns()
        if self._started_ns is None:
            self._started_ns = now_ns
        return int((now_ns - self._started_ns) // 1_000 * (self.speed or 1.0))

    def slices(self, due_us: np.ndarray) -> Iterator[tuple[int, int]]:
        """Half-open ranges of the rows that have become due; an empty one at least every 50 ms while waiting.

        `due_us` is sorted, microseconds of scheduled time since the start.
        """
        position, rows = 0, len(due_us)
        while position < rows:
            ready = rows if self.speed is None else int(np.searchsorted(due_us, self.elapsed_us(), "right"))
            if ready <= position:
                self._wait(int(due_us[position]))
                yield position, position
                continue
            until = min(ready, position + MAX_SLICE)
            yield position, until
            position = until
            if until == ready < rows:
                self._wait(int(due_us[position]))

    def _wait(self, due_us: int) -> None:
        seconds = (due_us - self.elapsed_us()) / 1_000_000 / (self.speed or 1.0)
        time.sleep(min(max(seconds, GRAIN_SECONDS), IDLE_SECONDS))
