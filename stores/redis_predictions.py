"""The newest predictions in Redis.

Events with the prefix `prediction` (stores/redis_events.py), one after each bar, kept with the lifetime of all keys,
but for two bars at least.
"""

import math
from typing import Any

import msgspec

from core.intervals import INTERVALS, SECOND_US
from stores.redis_events import EventBoard


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a model said after one bar: one element of `horizons` per horizon. Times are epoch microseconds."""

    symbol: str
    interval: str
    start: int
    end: int
    event_us: int
    close: float
    model: str
    horizons: list[dict[str, Any]]


class PredictionBoard(EventBoard[Said]):
    """Predictions."""

    prefix = "prediction"

    def _lifetime(self, interval: str) -> int:
        """Seconds: until the next bar has come, and one more."""
        return max(self._ttl, math.ceil(2 * INTERVALS[interval].us / SECOND_US))
