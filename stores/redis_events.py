"""Events of symbols in Redis, such as findings and predictions.

- `{prefix}:{symbol}:{interval}`: the JSON of the last one, with a lifetime.
- channel `{prefix}:{symbol}`: every one, of every interval. Its JSON begins with `stream_seq`, which grows from message
  to message of a symbol, and `relayed_us`.
"""

import time
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import redis

from stores.redis import TIMEOUT_SECONDS, translated
from stores.redis_seq import Sequences


class Event(Protocol):
    """What msgspec writes as JSON, of a symbol and an interval."""

    @property
    def symbol(self) -> str: ...

    @property
    def interval(self) -> str: ...


E = TypeVar("E", bound=Event)


class EventBoard(Generic[E]):
    """Writes events. Connects at the first use; raises StoreUnavailable when Redis does not answer."""

    name = "redis"
    prefix: str

    def __init__(self, url: str, ttl_seconds: int) -> None:
        self._client: Any = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        )
        self._ttl = ttl_seconds
        self._sequences = Sequences()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ttl_seconds={self._ttl})"

    def write(self, events: Sequence[E]) -> None:
        """Keep and publish events in their order, in one round trip."""
        now_us = time.time_ns() // 1000
        pipeline = self._client.pipeline(transaction=False)
        for each in events:
            text = msgspec.json.encode(each)
            seq = self._sequences.take((each.symbol, ""), now_us)
            numbered = b'{"stream_seq":%d,"relayed_us":%d,%b' % (seq, now_us, text[1:])
            pipeline.set(f"{self.prefix}:{each.symbol}:{each.interval}", text, ex=self._lifetime(each.interval))
            pipeline.publish(f"{self.prefix}:{each.symbol}", numbered)
        with translated():
            pipeline.execute()

    def close(self) -> None:
        self._client.close()

    def _lifetime(self, _interval: str) -> int:
        """Seconds."""
        return self._ttl
