"""How the relay takes a busy feed: in steps, because each bar that a write carries costs Redis time."""

STEP_SECONDS = 0.005
WINDOW_SECONDS = 0.05
BUSY_ROWS_PER_SECOND = 10_000


class Pace:
    """Tells how long to rest after a batch. What a short stall has piled up is no busy feed: it is not held up more."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._rows = 0
        self._busy = False

    def rest(self, rows: int, began: float, now: float) -> float:
        """Seconds until the next batch should be read, after one of so many rows; times of a monotonic clock."""
        self._rows += rows
        passed = now - self._since
        if passed >= WINDOW_SECONDS:
            self._busy = self._rows >= BUSY_ROWS_PER_SECOND * passed
            self._since, self._rows = now, 0
        return max(0.0, began + STEP_SECONDS - now) if self._busy else 0.0
