"""Rate limits over several workers and a real Redis, which goes away and comes back."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api.security.limits import Limiter, Rate
from conf.settings import Settings
from local.redis import Redis
from stores.buckets import Buckets
from stores.migrations import Retention, migrate
from tests.api_process import add_key, api_process, bearer
from tests.serving import serving

RATE, BURST = 4.0, 60.0  # slow, for a busy machine must be able to ask more often
DEADLINE_SECONDS = 60.0
WORKERS = 2
JOB = {"symbols": ["BTC-USD"], "interval": "1d", "provider": "coinbase"}


@pytest.fixture(scope="module")
def redis(servers_folder: Path) -> Iterator[Redis]:
    server = Redis(servers_folder / "api-limits-redis").start()
    yield server
    server.stop()


@pytest.fixture
def limited(postgres_dsn: str, redis: Redis) -> Settings:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        migrate(connection, Retention(30, 365))
    return Settings(
        postgres_dsn=SecretStr(postgres_dsn),
        redis_url=SecretStr(redis.url),
        api_rate=RATE,
        api_burst=BURST,
        api_write_rate=0.1,
        api_write_burst=2,
    )


async def flood(url: str, headers: dict[str, str], refusals: int, clients: int = 8) -> list[httpx.Response]:
    """Answers to `clients` connections that ask until so many requests were refused."""
    answers: list[httpx.Response] = []

    async def one() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=10, headers=headers) as client:
            while sum(answer.status_code == 429 for answer in answers) < refusals and time.monotonic() < deadline:
                answers.append(await client.get("/api/v1/metrics/sockets"))
                await asyncio.sleep(0.01)

    deadline = time.monotonic() + DEADLINE_SECONDS
    await asyncio.gather(*(one() for _ in range(clients)))
    return answers


def test_limit_holds_over_workers_and_says_so(limited: Settings, tmp_path: Path) -> None:
    text, _ = add_key(limited, ["read"])
    other, _ = add_key(limited, ["read"])
    with api_process(limited, tmp_path / "api.log", "--workers", str(WORKERS)) as api:
        assert len(api.workers()) == WORKERS
        began = time.monotonic()
        answers = asyncio.run(flood(api.url, bearer(text), 100))
        took = time.monotonic() - began
        counts = Counter(answer.status_code for answer in answers)
        assert counts.keys() == {200, 429}
        most = BURST + RATE * took + 1
        assert most * 0.75 < counts[200] <= most
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["content-type"] == "application/problem+json" and refused.json()["retry_after"] >= 1
        assert int(refused.headers["retry-after"]) >= 1
        assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-remaining"]) == ("60", "0")
        assert 0 < int(refused.headers["ratelimit-reset"]) <= BURST / RATE
        free = httpx.get(f"{api.url}/api/v1/metrics/sockets", headers=bearer(other))  # a bucket of its own
        assert free.status_code == 200 and int(free.headers["ratelimit-remaining"]) >= BURST - 2
        assert all(httpx.get(f"{api.url}/health/live").status_code == 200 for _ in range(20))


def test_changes_have_a_limit_of_their_own_and_addresses_stand_in_for_keys(limited: Settings) -> None:
    with serving(limited) as client:
        statuses = [client.post("/api/v1/prices/poll", json=JOB).status_code for _ in range(5)]
        assert statuses[:2] == [202, 202] and set(statuses[3:]) == {429}
        assert client.get("/api/v1/metrics/sockets").status_code == 200


def test_open_loopback_is_not_limited_unless_asked_to(limited: Settings) -> None:
    with serving(limited.model_copy(update={"api_rate": None, "api_write_rate": None})) as client:
        assert "ratelimit-limit" not in client.get("/api/v1/metrics/sockets").headers


def test_key_on_loopback_is_limited_by_default(limited: Settings) -> None:
    text, _ = add_key(limited, ["read"])
    with serving(limited.model_copy(update={"api_rate": None, "api_burst": 400})) as client:
        answers = [client.get("/api/v1/metrics/sockets", headers=bearer(text)) for _ in range(2)]
        assert [answer.headers.get("ratelimit-limit") for answer in answers] == ["400", "400"]


def test_unknown_keys_of_one_address_cannot_keep_the_database_busy(limited: Settings) -> None:
    add_key(limited, ["read"])
    with serving(limited.model_copy(update={"api_auth": "required"})) as client:
        headers = [bearer(f"ts_{number:06d}_{'x' * 43}") for number in range(40)]
        counts = Counter(client.get("/api/v1/symbols", headers=each).status_code for each in headers)
        assert 20 <= counts[401] <= 25 and counts[429] >= 15


def test_redis_killed_the_worker_limits_by_itself_and_comes_back(limited: Settings, redis: Redis) -> None:
    with serving(limited) as client:
        client.get("/api/v1/metrics/sockets")
        redis.kill()
        began = time.monotonic()
        statuses = Counter(client.get("/api/v1/metrics/sockets").status_code for _ in range(120))
        took = time.monotonic() - began
        redis.start()
        assert statuses.keys() == {200, 429} and took < 8
        assert statuses[200] <= BURST * 2 + RATE * took + 1


def test_bucket_is_exact_for_many_at_once_and_expires(redis_url: str) -> None:
    async def scenario() -> None:
        # Patient: sixty connections at once take longer on a busy machine than a request would wait.
        buckets = [Buckets(redis_url, timeout=20) for _ in range(3)]
        taken = await asyncio.gather(*(each.take("x", 0.001, 50, 3) for each in buckets for _ in range(20)))
        assert sum(each.granted for each in taken) == 50
        assert (await buckets[0].take("x", 0.001, 50, 1)).granted == 0
        limiters = [Limiter(each, {"read": Rate(50, 100)}) for each in buckets]
        started = time.monotonic()
        verdicts = await asyncio.gather(*(limiter.spend("read", "y") for limiter in limiters for _ in range(200)))
        allowed = sum(verdict is not None and verdict.allowed for verdict in verdicts)
        assert 100 - 3 * 5 <= allowed <= 100 + 50 * (time.monotonic() - started) + 1
        client = buckets[0]._client
        assert 0 < await client.pttl("bucket:read:y") <= 3000
        for each in buckets:
            await each.close()

    asyncio.run(scenario())
