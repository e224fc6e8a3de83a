"""kill -9 of an API worker, of Redis and of PostgreSQL while requests keep coming: 200, or 503 with Retry-After."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from conf.settings import Settings
from local.postgres import Postgres
from local.redis import Redis
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.api_process import ApiProcess, add_key, api_process, bearer
from tests.integration.api_data import make_bar

PATHS = ("/api/v1/latest/A", "/api/v1/bars/A", "/api/v1/symbols", "/api/v1/metrics/sockets")
CLIENTS = 8  # each with one path: a slow 503 holds up nobody else
PAUSE_SECONDS = 0.03
DOWN_SECONDS = 2.0
RECOVERY_SECONDS = 15.0
ANSWER_SECONDS = 10.0


@dataclass
class Load:
    """What came back. `broken` is of requests that got no answer, `odd` of answers that should not be."""

    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    broken: list[tuple[float, str]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    slowest: float = 0.0
    newest: dict[str, int] = field(default_factory=dict)

    def note(self, path: str, answer: httpx.Response) -> None:
        self.counts[path, answer.status_code] += 1
        self.newest[path] = answer.status_code
        waits = answer.status_code == 503 and int(answer.headers.get("retry-after", 0)) >= 1
        if answer.status_code != 200 and not (waits and answer.headers["content-type"] == "application/problem+json"):
            self.odd.append(f"{path} {answer.status_code} {answer.text[:200]}")

    def all_good(self) -> bool:
        return len(self.newest) == len(PATHS) and set(self.newest.values()) == {200}


@pytest.fixture
def redis(servers_folder: Path) -> Iterator[Redis]:
    server = Redis(servers_folder / "api-load-redis").start()
    yield server
    server.stop()


@pytest.fixture
def postgres(servers_folder: Path) -> Iterator[Postgres]:
    server = Postgres(servers_folder / "api-load-postgres").start()
    yield server
    server.stop()


def fill(settings: Settings) -> None:
    store = TimescaleStore(settings.postgres_dsn.get_secret_value())
    store.setup()
    store.write_bars(bars_table([make_bar(minute) for minute in range(30)]))
    store.close()
    live = RedisStore(settings.redis_url.get_secret_value(), 300)
    live.write_bars(bars_table([make_bar(30, rev=0, state="forming")]))
    live.close()


async def one_client(url: str, headers: dict[str, str], path: str, load: Load, until: asyncio.Event) -> None:
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=ANSWER_SECONDS) as client:
        while not until.is_set():
            began = time.monotonic()
            try:
                load.note(path, await client.get(path))
            except httpx.TransportError as error:
                load.broken.append((time.monotonic(), repr(error)))
            load.slowest = max(load.slowest, time.monotonic() - began)
            await asyncio.sleep(PAUSE_SECONDS)


async def recovered(load: Load) -> None:
    load.newest.clear()
    await eventually(load.all_good)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(RECOVERY_SECONDS):
        while not condition():
            await asyncio.sleep(0.05)


async def under_load(api: ApiProcess, key: str, scenario: Callable[[Load], Awaitable[None]]) -> Load:
    load, until = Load(), asyncio.Event()
    paths = [PATHS[number % len(PATHS)] for number in range(CLIENTS)]
    clients = [asyncio.create_task(one_client(api.url, bearer(key), path, load, until)) for path in paths]
    try:
        await recovered(load)
        await scenario(load)
    finally:
        until.set()
        await asyncio.gather(*clients)
    return load


@pytest.mark.slow
def test_worker_redis_and_postgres_killed_under_load(redis: Redis, postgres: Postgres, tmp_path: Path) -> None:
    settings = Settings(
        postgres_dsn=SecretStr(postgres.url),
        redis_url=SecretStr(redis.url),
        api_rate=100_000,
        api_burst=100_000,
        api_store_seconds=2,
    )
    fill(settings)
    key, _ = add_key(settings, ["read"])

    async def scenario(load: Load) -> None:
        api.workers()[0].kill()
        killed = time.monotonic()
        await asyncio.sleep(DOWN_SECONDS)
        await recovered(load)
        # Only what was on the wire, or in the queue of connections that the worker had taken.
        assert len(load.broken) <= CLIENTS and all(at - killed < 2 for at, _ in load.broken), load.broken
        load.broken.clear()

        await asyncio.to_thread(redis.kill)
        load.counts.clear()
        await asyncio.sleep(DOWN_SECONDS)
        await eventually(lambda: load.counts["/api/v1/bars/A", 200] > 0)  # the database goes on
        await asyncio.to_thread(redis.start)
        await recovered(load)

        await asyncio.to_thread(postgres.kill)
        await eventually(lambda: load.newest["/api/v1/bars/A"] == 503)
        load.counts.clear()
        await eventually(lambda: load.counts["/api/v1/bars/A", 503] >= 2 and load.counts["/api/v1/latest/A", 200] >= 2)
        assert load.counts["/api/v1/latest/A", 503] == 0, load.counts  # Redis goes on, and so does the key
        await asyncio.to_thread(postgres.start)
        await recovered(load)

    with api_process(settings, tmp_path / "api.log", "--workers", "2") as api:
        load = asyncio.run(under_load(api, key, scenario))
        assert load.odd == [] and load.broken == []
        assert load.slowest < ANSWER_SECONDS
        assert len(api.workers()) == 2
        assert "Traceback" not in api.log, api.log[-3000:]
