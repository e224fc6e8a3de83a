"""Bounded retry for a store that does not answer."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from core.errors import StoreUnavailable
from metrics.stores import FAILURES, SECONDS, UNAVAILABLE, label

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

T = TypeVar("T")
_log = structlog.get_logger(__name__)


def retrying(
    store: str,
    call: Callable[[], T],
    seconds: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> T:
    """The result of `call`, repeated on StoreUnavailable until `seconds` have passed since the first try.

    Pauses double from 0.1 s to 5 s, with jitter, and never undercut the error's `retry_after`.
    The last StoreUnavailable is raised as it is; any other error is raised at once.
    """
    deadline = monotonic() + seconds
    attempt = 0
    while True:
        began = time.perf_counter()
        try:
            answer = call()
            SECONDS.of(label(store)).record(time.perf_counter() - began)
            return answer
        except StoreUnavailable as error:
            UNAVAILABLE.labels(label(store)).inc()
            left = deadline - monotonic()
            if left <= 0:
                FAILURES.labels(label(store)).inc()
                raise
            pause = min(pause_before(attempt, error.retry_after), left)
            _log.warning("store unavailable", store=store, error=str(error), retry_in=round(pause, 2))
        sleep(pause)
        attempt += 1


def pause_before(attempt: int, retry_after: float) -> float:
    """Seconds to wait after failure number `attempt` (from 0)."""
    backoff = min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempt, 16), LONGEST_PAUSE_SECONDS)
    # Jitter keeps three queries that lost one store from coming back in one instant.
    return max(backoff, retry_after) * random.uniform(1.0, 1.25)
