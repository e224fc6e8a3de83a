"""Whether the stores answer, and how fast. A store that hangs is a store that does not answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from core.errors import ConfigError, StoreUnavailable
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

PROBE_SECONDS = 2.5


@dataclass(frozen=True, slots=True)
class Probe:
    """One store's answer to a ping; `error` is None when it answered in time."""

    store: str
    latency_ms: float
    error: str | None

    @property
    def ok(self) -> bool:
        return self.error is None

    def as_json(self) -> dict[str, Any]:
        latency = round(self.latency_ms, 3) if self.ok else None
        return {"state": "ok" if self.ok else "unavailable", "latency_ms": latency, "error": self.error}


async def probe_all(history: TimescaleReader, live: RedisReader) -> list[Probe]:
    """Both stores, probed at once."""
    return list(await asyncio.gather(_probe("timescale", history.ping), _probe("redis", live.ping)))


async def _probe(store: str, ping: Callable[[], Awaitable[object]]) -> Probe:
    began = time.perf_counter()
    error = None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await ping()
    except (StoreUnavailable, ConfigError) as problem:
        error = str(problem)
    except TimeoutError:
        error = f"{store}: no answer within {PROBE_SECONDS:g} s"
    return Probe(store, (time.perf_counter() - began) * 1000, error)
