"""The newest findings in Redis, and how long the last ticks of bars took to get there.

Events with the prefix `anomaly` (stores/redis_events.py), kept with the lifetime of all keys.
"""

from collections.abc import Sequence

import msgspec

from core.anomalies.finding import Finding
from stores.redis import translated
from stores.redis_events import EventBoard

KEYS_PER_TRIP = 500


class _Relayed(msgspec.Struct):
    """What a bar in a tail says of its way here."""

    rev: int
    received_us: int | None = None
    relayed_us: int | None = None


_relayed = msgspec.json.Decoder(_Relayed)


class AnomalyBoard(EventBoard[Finding]):
    """Findings, and what bars that are held say of their way here."""

    prefix = "anomaly"

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


def _latency_ms(payload: bytes | None) -> float | None:
    if payload is None:
        return None
    bar = _relayed.decode(payload)
    if bar.rev > 0 or bar.received_us is None or bar.relayed_us is None:
        return None
    return (bar.relayed_us - bar.received_us) / 1000
