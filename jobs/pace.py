"""When the final query's next micro-batch is worth its cost.

A micro-batch costs about as much for ten ticks as for ten thousand, and only one whose watermark has passed the end of
a bar writes anything. So the query rests until the ticks that will close the next bar are there, and looks often just
before. Resting decides when ticks are read, never what becomes of them: bars are the same at any pace.
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import KafkaException

from conf.settings import Settings
from core.errors import TickstreamError
from core.intervals import SECOND_US, Interval
from metrics.queries import RESTED

# Before a bar can close, a micro-batch ends so early that the one that closes the bar finds few ticks.
SPARE_SECONDS = 1.0
# Not when there was one just now.
WORTH_SECONDS = 1.0
LOOK_SECONDS = 0.1
LOOK_AHEAD_SECONDS = 0.5
_log = structlog.get_logger("jobs.pace")


class Pace:
    """Holds back the micro-batches of the final query, each by `final_rest_seconds` at most.

    `reach` gives the event time, in microseconds, that every partition of `ticks` has come to; None where unknown.
    """

    def __init__(self, reach: Callable[[], int | None], settings: Settings) -> None:
        self._reach = reach
        self._intervals = settings.bar_intervals
        self._lateness_us = int(settings.lateness_seconds * 1000) * 1000
        self._longest = settings.final_rest_seconds
        self._rested_at = time.monotonic()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End a rest; there are none from now on."""
        self._stopping.set()

    def rest(self, watermark_us: int | None) -> None:
        """Wait until the next micro-batch is due, after one that used this watermark."""
        if watermark_us is not None and self._longest:
            self._rest(next_end(watermark_us, self._intervals) + self._lateness_us)
        self._rested_at = time.monotonic()

    def _rest(self, closes_us: int) -> None:
        began = time.monotonic()
        took = min(began - self._rested_at, self._longest)
        pause = LOOK_SECONDS
        while pause and not self._stopping.is_set():
            reach_us = self._looked()
            if reach_us is None:
                return
            rested = time.monotonic() - began
            pause = pause_before((closes_us - reach_us) / SECOND_US, rested, took, self._longest)
            self._stopping.wait(pause)
        RESTED.inc(time.monotonic() - began)

    def _looked(self) -> int | None:
        try:
            return self._reach()
        except (KafkaException, TickstreamError) as error:
            _log.warning("cannot look at the partitions", error=str(error))
            return None


def next_end(watermark_us: int, intervals: Sequence[Interval]) -> int:
    """The first end of a bar after a watermark, in microseconds: a bar closes when the watermark is its end."""
    return min(each.start_of(watermark_us) + each.us for each in intervals)


def pause_before(missing: float, rested: float, took: float, longest: float) -> float:
    """Seconds until the next look, 0 when a micro-batch is due.

    `missing`: how far, in seconds of event time, the partitions are from closing a bar. Event time may run at any pace.
    `took`: how long the micro-batch before lasted.
    """
    if missing <= 0:
        return 0.0
    if missing < took + SPARE_SECONDS / 2:  # another one would be in the way of the one that closes the bar
        return LOOK_SECONDS if rested < longest + took + SPARE_SECONDS else 0.0
    ahead = missing - took - SPARE_SECONDS
    if rested >= longest or (ahead <= 0 and rested >= WORTH_SECONDS):
        return 0.0
    return max(min(ahead, LOOK_AHEAD_SECONDS, longest - rested), LOOK_SECONDS)
