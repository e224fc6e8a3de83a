"""The API while a store is down, gone in mid-flight or not yet there; on servers of its own, which it kills."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from conf.settings import Settings
from local.postgres import Postgres
from local.redis import Redis
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, make_bar, ticks_table
from tests.serving import serving

RECOVERY_SECONDS = 30.0
ANSWER_SECONDS = 8.0  # an outage may cost a caller this long, never a hang


@pytest.fixture(scope="module")
def postgres(servers_folder: Path) -> Iterator[Postgres]:
    server = Postgres(servers_folder / "api-outages-postgres").start()
    store = TimescaleStore(server.url)
    store.setup()
    store.write_bars(bars_table([make_bar(0), make_bar(1)]))
    store.write_ticks(ticks_table("A", [(BASE, 1, "1.5", "2")]))
    store.close()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis(servers_folder: Path) -> Iterator[Redis]:
    server = Redis(servers_folder / "api-outages-redis").start()
    yield server
    server.stop()


@pytest.fixture
def settings(postgres: Postgres, redis: Redis) -> Iterator[Settings]:
    """Settings of the two servers, which run when the test begins and again when it ends."""
    _write_tail(redis)
    yield _impatient(postgres.url, redis.url)
    for server in (postgres, redis):
        if server.pid is None:
            server.start()


def _impatient(dsn: str, redis_url: str) -> Settings:
    """Settings that wait for a store as long as by default."""
    return Settings(postgres_dsn=SecretStr(dsn), redis_url=SecretStr(redis_url), api_store_seconds=2)


def _write_tail(redis: Redis) -> None:
    store = RedisStore(redis.url, 300)
    store.write_bars(bars_table([make_bar(2, rev=0, state="forming")]))
    store.close()


def timed(client: httpx.Client, url: str) -> httpx.Response:
    began = time.monotonic()
    answer = client.get(url)
    assert time.monotonic() - began < ANSWER_SECONDS, url
    return answer


def eventually(condition: Callable[[], Any]) -> Any:
    """What the condition gives as soon as that counts as true."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while not (met := condition()):
        assert time.monotonic() < deadline, "it did not recover by itself"
        time.sleep(0.1)
    return met


def bars_of(client: httpx.Client) -> list[int]:
    """The minutes of the bars, from an API that may need a moment for its first connections."""
    return eventually(lambda: (answer := client.get("/api/v1/bars/A")).status_code == 200 and starts_of(answer))


def starts_of(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [int(row["start"][14:16]) - 30 for row in answer.json()["bars"]]


def test_redis_killed_bars_answer_from_the_database_and_say_so(settings: Settings, redis: Redis) -> None:
    with serving(settings) as client:
        assert bars_of(client) == [0, 1, 2]
        redis.kill()
        answer = timed(client, "/api/v1/bars/A")
        assert starts_of(answer) == [0, 1] and answer.json()["tail"] == "unavailable"
        latest = timed(client, "/api/v1/latest/A").json()
        assert (latest["source"], latest["start"][14:16], latest["is_final"]) == ("database", "31", True)
        assert timed(client, "/api/v1/symbols").json()["live"] == "unavailable"
        assert timed(client, "/api/v1/ticks/A").status_code == 200
        indicators = timed(client, "/api/v1/indicators/A?type=sma:2").json()
        assert indicators["tail"] == "unavailable" and len(indicators["rows"]) == 2
        assert timed(client, "/api/v1/bars/A?format=csv").headers["x-tail"] == "unavailable"
        assert "etag" in timed(client, "/api/v1/bars/A?end=2013-06-03T13:31:00Z").headers
        assert timed(client, "/api/v1/bars/NOPE").status_code == 404
        redis.start()
        _write_tail(redis)
        eventually(lambda: client.get("/api/v1/bars/A").json()["tail"] == "ok")
        assert bars_of(client) == [0, 1, 2]
        assert client.get("/api/v1/latest/A").json()["source"] == "live"


def test_postgres_killed_history_is_503_with_retry_after_and_latest_goes_on(
    settings: Settings, postgres: Postgres
) -> None:
    with serving(settings) as client:
        assert bars_of(client) == [0, 1, 2]
        postgres.kill()
        paths = ("/api/v1/bars/A", "/api/v1/bars/A?fill=prev&start=0", "/api/v1/ticks/A", "/api/v1/symbols")
        closed = "/api/v1/bars/A?end=2013-06-03T13:31:00Z&format=arrow"
        for url in (*paths, closed, "/api/v1/indicators/A", "/api/v1/ticks/A?session=rth&format=csv"):
            answer = timed(client, url)
            assert answer.status_code == 503, url
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["store"] == "timescale"
        latest = timed(client, "/api/v1/latest/A").json()
        assert (latest["source"], latest["price"]) == ("live", "10.5")
        assert timed(client, "/api/v1/latest/NOPE").status_code == 503  # who knows? the database would
        postgres.start()
        assert bars_of(client) == [0, 1, 2]
        assert client.get("/api/v1/ticks/A").json()["ticks"][0]["price"] == "1.5"


@pytest.mark.parametrize("table", ["bars", "api_keys"])
@pytest.mark.parametrize(("patience", "status"), [(0.4, 503), (30, 200)])
def test_a_request_waits_for_a_slow_store_as_long_as_configured(
    settings: Settings, postgres: Postgres, patience: float, status: int, table: LiteralString
) -> None:
    with (
        serving(settings.model_copy(update={"api_store_seconds": patience})) as client,
        psycopg.connect(postgres.url) as holder,
        ThreadPoolExecutor() as other,
    ):
        holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        asked = other.submit(client.get, "/api/v1/bars/A")
        if status == 200:
            time.sleep(2.5)  # longer than it waits by default
            assert not asked.done()
            holder.rollback()
        assert asked.result().status_code == status


def test_postgres_restarted_between_two_reads_goes_unnoticed(settings: Settings, postgres: Postgres) -> None:
    with serving(settings.model_copy(update={"api_store_seconds": 20})) as client:
        for _ in range(2):  # each time with connections that are open and no longer good
            assert starts_of(client.get("/api/v1/bars/A")) == [0, 1, 2]
            postgres.kill()
            postgres.start()


@pytest.mark.parametrize("name", ["timescale", "redis"])
def test_health_with_one_store_killed_names_it_and_recovers(
    settings: Settings, postgres: Postgres, redis: Redis, name: str
) -> None:
    server = {"timescale": postgres, "redis": redis}[name]
    with serving(settings) as client:
        eventually(lambda: client.get("/health/ready").status_code == 200)
        server.kill()
        ready = timed(client, "/health/ready")
        assert (ready.status_code, ready.json()["stores"]) == (503, [name])
        assert name in ready.json()["detail"] and int(ready.headers["retry-after"]) >= 1
        health = timed(client, "/health")
        states = {store: answer["state"] for store, answer in health.json()["stores"].items()}
        assert (health.status_code, health.json()["status"], health.json()["ready"]) == (200, "degraded", False)
        assert states == {"timescale": "ok", "redis": "ok"} | {name: "unavailable"}
        assert client.get("/health/live").status_code == 200
        server.start()
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert client.get("/health").json()["status"] == "ok"


def test_both_stores_down_at_start_up_api_reports_and_recovers(
    settings: Settings, postgres: Postgres, redis: Redis
) -> None:
    postgres.kill()
    redis.kill()
    with serving(settings) as client:
        assert client.get("/health/live").status_code == 200
        health = timed(client, "/health")
        assert (health.status_code, health.json()["status"]) == (503, "down")
        assert health.json()["freshness"]["counts"] is None
        assert timed(client, "/health/ready").json()["stores"] == ["timescale", "redis"]
        assert timed(client, "/api/v1/latest/A").status_code == 503
        assert timed(client, "/docs").status_code == 200
        postgres.start()
        redis.start()
        eventually(lambda: client.get("/health/ready").status_code == 200)
        assert bars_of(client)[:2] == [0, 1]


def test_errors_of_stores_never_show_the_password(postgres: Postgres, redis: Redis) -> None:
    dsn = postgres.url.replace("postgres@", "postgres:hunter2@", 1).replace(str(postgres.port), "1")
    url = redis.url.replace("redis://", "redis://:hunter2@").replace(str(redis.port), "1")
    with serving(_impatient(dsn, url)) as client:
        answers = [timed(client, path) for path in ("/health", "/health/ready", "/api/v1/bars/A", "/api/v1/latest/A")]
    assert [answer.status_code for answer in answers] == [503] * 4
    assert all("hunter2" not in answer.text + str(answer.headers) for answer in answers)
