"""Whether the stores answer, and how fast. A store that hangs is a store that does not answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from conf.settings import Settings
from core.errors import ConfigError, StoreUnavailable
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

PROBE_SECONDS = 2.5
Ping = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Probe:
    """One store's answer to a ping; `error` is None when it answered in time."""

    store: str
    latency_ms: float
    error: str | None
    off: bool = False

    @property
    def ok(self) -> bool:
        return self.error is None

    def as_json(self) -> dict[str, Any]:
        latency = round(self.latency_ms, 3) if self.ok and not self.off else None
        state = "off" if self.off else "ok" if self.ok else "unavailable"
        return {"state": state, "latency_ms": latency, "error": self.error}


async def probe_all(history: TimescaleReader, live: RedisReader) -> list[Probe]:
    """Both stores, probed at once."""
    return list(await asyncio.gather(_probe("timescale", history.ping), _probe("redis", live.ping)))


async def probe_writable(settings: Settings, history: TimescaleReader, live: RedisReader, kafka: Ping) -> list[Probe]:
    """All that the pipeline writes to, probed at once; `off` for what is not configured."""
    found = await asyncio.gather(
        probe_all(history, live),
        _probe("kafka", kafka),
        _probe("influx", lambda: _ping_influx(settings.influx_url)) if settings.influx_url else _off("influx"),
    )
    return [*found[0], *found[1:]]


async def _off(store: str) -> Probe:
    return Probe(store, 0.0, None, off=True)


async def _ping_influx(url: str | None) -> None:
    """InfluxDB's own `/ping`, which asks for no token."""
    try:
        async with httpx.AsyncClient(timeout=PROBE_SECONDS, trust_env=False) as client:
            (await client.get(f"{url}/ping")).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StoreUnavailable("influx", type(error).__name__) from None


async def _probe(store: str, ping: Ping) -> Probe:
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
