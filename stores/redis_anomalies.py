"""The newest findings in Redis, and how long the last ticks of bars took to get there.

- `anomaly:{symbol}:{interval}`: the JSON of the last finding, with the lifetime of all keys.
- channel `anomaly:{symbol}`: every finding, of every interval. Its JSON begins with `stream_seq`, which grows from
  message to message of a symbol, and `relayed_us`.
"""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import redis

from core.anomalies.finding import Finding
from stores.redis import TIMEOUT_SECONDS, translated
from stores.redis_seq import Sequences

KEYS_PER_TRIP = 500


class _Relayed(msgspec.Struct):
    """What a bar in a tail says of its way here."""

    rev: int
    received_us: int | None = None
    relayed_us: int | None = None


_relayed = msgspec.json.Decoder(_Relayed)


class AnomalyBoard:
    """Connects at the first use; raises StoreUnavailable when Redis does not answer."""

    name = "redis"

    def __init__(self, url: str, ttl_seconds: int) -> None:
        self._client: Any = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
        )
        self._ttl = ttl_seconds
        self._sequences = Sequences()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ttl_seconds={self._ttl})"

    def write(self, findings: Sequence[Finding]) -> None:
        """Keep and publish findings in their order, in one round trip."""
        now_us = time.time_ns() // 1000
        pipeline = self._client.pipeline(transaction=False)
        for each in findings:
            text = msgspec.json.encode(each)
            seq = self._sequences.take((each.symbol, ""), now_us)
            numbered = b'{"stream_seq":%d,"relayed_us":%d,%b' % (seq, now_us, text[1:])
            pipeline.set(f"anomaly:{each.symbol}:{each.interval}", text, ex=self._ttl)
            pipeline.publish(f"anomaly:{each.symbol}", numbered)
        with translated():
            pipeline.execute()

    def latencies_ms(self, interval: str, bars: Sequence[tuple[str, int]]) -> list[float | None]:
        """Of bars (symbol, start) that are held as forming: from the receipt of the newest tick to Redis."""
        found: list[float | None] = []
        for at in range(0, len(bars), KEYS_PER_TRIP):
            pipeline = self._client.pipeline(transaction=False)
            for symbol, start in bars[at : at + KEYS_PER_TRIP]:
                pipeline.hget(f"tail:{symbol}:{interval}", str(start))
            with translated():
                found += [_latency_ms(payload) for payload in pipeline.execute()]
        return found

    def close(self) -> None:
        self._client.close()


def _latency_ms(payload: bytes | None) -> float | None:
    if payload is None:
        return None
    bar = _relayed.decode(payload)
    if bar.rev > 0 or bar.received_us is None or bar.relayed_us is None:
        return None
    return (bar.relayed_us - bar.received_us) / 1000
