"""Keeping the scorecard's sums, in a thread of its own: no prediction waits for it, and it may fail alone."""

import threading
import time

import structlog

from conf.settings import Settings
from core.clock import Clock, SystemClock
from core.errors import TickstreamError
from core.intervals import DAY_US, INTERVALS
from core.skill import block_lengths
from core.trading_days import trading_days
from stores.prediction_scores import KEPT_DAYS, PredictionScores

PAUSE_SECONDS = 30.0
STOP_SECONDS = 10.0
_log = structlog.get_logger("ml.scoring")


class Scoring:
    """Sums up what predictions of the given intervals came to, until it is stopped."""

    def __init__(self, settings: Settings, store: PredictionScores, clock: Clock | None = None) -> None:
        self._intervals = settings.ml_interval_names
        self._calendar = settings.calendar
        self._store = store
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def once(self) -> None:
        """Sum up everything that is decided by now. Raises what the store does."""
        for interval in self._intervals:
            now_us = self._clock.now_us()
            days = trading_days(now_us - (KEPT_DAYS + 1) * DAY_US, now_us, self._calendar)
            at = self._store.look(interval, self._calendar, now_us)
            while at is not None and not self._stopping.is_set():
                began, blocks = time.monotonic(), block_lengths(INTERVALS[interval].us)
                if not self._store.settle(interval, at, now_us, [day.start for day in days], blocks):
                    break
                self._stopping.wait(time.monotonic() - began)  # days may have been left lying: half a processor

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.once()
            except TickstreamError as error:
                _log.warning("predictions are not summed up", error=str(error))
            self._stopping.wait(PAUSE_SECONDS)
