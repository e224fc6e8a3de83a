"""The newest predictions in Redis.

- `prediction:{symbol}:{interval}`: the JSON of what was said after the newest bar, with the lifetime of all keys, but
  for two bars at least.
- channel `prediction:{symbol}`: the same, of every interval. It begins with `stream_seq`, which grows from message to
  message of a symbol, and `relayed_us`.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import redis

from core.intervals import INTERVALS, SECOND_US
from stores.redis import TIMEOUT_SECONDS, translated
from stores.redis_seq import Sequences


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


class PredictionBoard:
    """Writes predictions. Connects at the first use; raises StoreUnavailable when Redis does not answer."""

    name = "redis"

    def __init__(self, url: str, ttl_seconds: int) -> None:
        self._client: Any = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        )
        self._ttl = ttl_seconds
        self._sequences = Sequences()

    def write(self, said: Sequence[Said]) -> None:
        """Keep and publish, in one round trip."""
        now_us = time.time_ns() // 1000
        pipeline = self._client.pipeline(transaction=False)
        for each in said:
            text = msgspec.json.encode(each)
            seq = self._sequences.take((each.symbol, ""), now_us)
            numbered = b'{"stream_seq":%d,"relayed_us":%d,%b' % (seq, now_us, text[1:])
            pipeline.set(f"prediction:{each.symbol}:{each.interval}", text, ex=self._lifetime(each.interval))
            pipeline.publish(f"prediction:{each.symbol}", numbered)
        with translated():
            pipeline.execute()

    def close(self) -> None:
        self._client.close()

    def _lifetime(self, interval: str) -> int:
        """Seconds: until the next bar has come, and one more."""
        return max(self._ttl, math.ceil(2 * INTERVALS[interval].us / SECOND_US))
