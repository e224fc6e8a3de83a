"""Polling jobs end to end: the API, the worker as a process, a provider on the loopback, and all three servers."""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
import redis
from pydantic import SecretStr

from api.models import PollAccepted, PollJob, PollJobs, PriceAnswer
from conf.settings import Settings
from conf.topics import TICKS
from core.records import Tick
from stores.timescale import TimescaleStore
from tests.integration.polling_data import Exchange, exchange_server
from tests.serving import serving
from tests.supervised import Supervised, wait_until
from tests.topics import read_ticks, read_topic

SECONDS = 60.0
JOBS = "/api/v1/prices/poll"
LATEST = "/api/v1/prices/latest"


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with exchange_server() as exchange:
        yield exchange


@pytest.fixture
def migrated(settings: Settings) -> Settings:
    store = TimescaleStore(settings.postgres_dsn.get_secret_value())
    store.setup()
    store.close()
    return settings


@pytest.fixture
def client(migrated: Settings) -> Iterator[httpx.Client]:
    with serving(migrated) as client:
        yield client


Start = Callable[..., Supervised]


@pytest.fixture
def start(migrated: Settings, exchange: Exchange, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker that takes the loopback server for every provider."""
    workers: list[Supervised] = []

    def started(*options: str, settings: Settings = migrated, host: str = "127.0.0.1") -> Supervised:
        url = exchange.url.replace("127.0.0.1", host)
        command = [sys.executable, "-m", "producers", "poll", "--base-url", url, *options]
        worker = Supervised(command, settings, tmp_path / f"worker{len(workers)}.log")
        workers.append(worker)
        worker.keep_alive()
        return worker

    yield started
    for worker in workers:
        worker.kill()


def create(client: httpx.Client, *symbols: str, interval: object = 1, provider: str = "coinbase") -> str:
    answer = client.post(JOBS, json={"symbols": symbols, "interval": interval, "provider": provider})
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


def job_of(client: httpx.Client, job_id: str) -> dict[str, Any]:
    answer = client.get(f"{JOBS}/{job_id}")
    assert answer.status_code == 200, answer.text
    PollJob.model_validate(answer.json(), strict=True)
    body: dict[str, Any] = answer.json()
    return body


def until(condition: Callable[[], object], *workers: Supervised, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "\n".join([what, *(worker.tail() for worker in workers)])
        time.sleep(0.05)


def published(settings: Settings) -> list[Tick]:
    return sorted(read_ticks(settings.kafka_bootstrap, settings.topic(TICKS)), key=lambda tick: tick.event_us)


def test_job_is_accepted_polled_published_shown_and_deleted(
    client: httpx.Client, migrated: Settings, exchange: Exchange, start: Start
) -> None:
    first = exchange.trade("BTC-USD", 8, "68900.50")
    body = {"symbols": ["BTC-USD"], "interval": "1s", "provider": "coinbase"}
    answer = client.post(JOBS, json=body)
    accepted = answer.json()
    PollAccepted.model_validate(accepted, strict=True)
    own = f"{JOBS}/{accepted['job_id']}"
    assert (answer.status_code, answer.headers["location"], accepted["status"]) == (202, own, "accepted")
    assert accepted["config"] == {"symbols": ["BTC-USD"], "interval": 1.0, "provider": "coinbase"}
    waiting = client.get(LATEST, params={"symbol": "BTC-USD", "provider": "coinbase"})
    assert waiting.status_code == 404 and "waits for a worker" in waiting.json()["detail"]

    worker = start()
    until(lambda: job_of(client, accepted["job_id"])["polls"] >= 3, worker, what="three polls")
    job = job_of(client, accepted["job_id"])
    assert (job["state"], job["detail"], job["ticks"]) == ("active", "", 1), "the trade is the same in every poll"
    assert job["created_at"] < job["last_at"] < job["next_at"]
    link = client.get(accepted["links"]["latest"]["BTC-USD"])
    price = link.json()
    PriceAnswer.model_validate(price, strict=True)
    assert (price["price"], price["source"], price["provider"]) == ("68900.5", "poll", "coinbase")
    assert price["event_at"] == first.isoformat().replace("+00:00", "Z")
    assert price["event_ms"] == int(first.timestamp() * 1000)
    assert price["age_seconds"] >= 1.9 and price["polled_at"] > price["event_at"]
    anybody = client.get(LATEST, params={"symbol": "BTC-USD", "numeric": "float"}).json()
    assert (anybody["price"], anybody["source"]) == (68900.5, "poll")

    second = exchange.trade("BTC-USD", 9, "68901")
    until(lambda: job_of(client, accepted["job_id"])["ticks"] == 2, worker, what="the second trade")
    ticks = published(migrated)
    assert [(tick.trade_id, tick.price, tick.size, tick.source) for tick in ticks] == [
        ("8", "68900.5", "0.5", "coinbase"),
        ("9", "68901", "0.5", "coinbase"),
    ]
    assert [tick.event_us for tick in ticks] == [round(at.timestamp() * 1e6) for at in (first, second)]

    assert client.delete(own).status_code == 204
    gone = client.delete(own)
    assert (gone.status_code, gone.json()["type"]) == (404, "urn:tickstream:problem:unknown-job")
    assert client.get(own).status_code == 404
    asked = exchange.asked_for("BTC-USD")
    create(client, "ETH-USD")
    exchange.trade("ETH-USD", 1, "3000")
    until(lambda: exchange.asked_for("ETH-USD") >= 3, worker, what="polls of another job")
    assert exchange.asked_for("BTC-USD") <= asked + 1, "a deleted job may end the poll it had begun"
    assert worker.stop() == 0


def test_lone_worker_lets_bars_close_and_one_beside_a_feed_stays_quiet(
    client: httpx.Client, migrated: Settings, exchange: Exchange, start: Start
) -> None:
    exchange.trade("BTC-USD", 8, "1")
    create(client, "BTC-USD", interval=2)
    create(client, "BTC-USD", interval=5)
    quiet = start("--no-heartbeats")
    until(lambda: exchange.asked_for("BTC-USD") >= 3, quiet, what="polls")
    assert beats(migrated) == []
    quiet.stop()
    began_us = time.time_ns() // 1000
    lone = start()
    both = range(migrated.ticks_partitions)
    until(lambda: {partition for partition, _ in beats(migrated)} == set(both), lone, what="heartbeats")
    for _, tick in beats(migrated):
        assert tick.event_us == pytest.approx(tick.received_us - 5_000_000, abs=500_000), (
            "behind by the longest interval"
        )
        assert tick.received_us >= began_us
    for job in client.get(JOBS).json()["jobs"]:
        client.delete(f"{JOBS}/{job['job_id']}")
    until(lambda: stay_away(migrated), lone, what="silence: event time belongs to others, a replay for instance")


def stay_away(settings: Settings) -> bool:
    """No heartbeat in a time in which there would be two."""
    count = len(beats(settings))
    time.sleep(2.5)
    return len(beats(settings)) == count


def beats(settings: Settings) -> list[tuple[int, Tick]]:
    records = read_topic(settings.kafka_bootstrap, settings.topic(TICKS))
    ticks = [(record.partition, msgspec.json.decode(record.value, type=Tick)) for record in records]
    return [(partition, tick) for partition, tick in ticks if tick.kind == "heartbeat"]


def test_worker_killed_in_a_poll_goes_on_when_started_again(
    migrated: Settings, exchange: Exchange, start: Start
) -> None:
    exchange.trade("BTC-USD", 1, "10")
    with serving(migrated) as client:
        job_id = create(client, "BTC-USD", interval=2)
        worker = start()
        until(lambda: job_of(client, job_id)["ticks"] == 1, worker, what="the first tick")
        exchange.trade("BTC-USD", 2, "11")
        exchange.delay_seconds = 30.0
        asked = exchange.asked_for("BTC-USD")
        until(lambda: exchange.asked_for("BTC-USD") > asked, worker, what="a poll under way")
        worker.kill()
        exchange.delay_seconds = 0.0
    with serving(migrated) as client:  # the API was restarted too
        listed = client.get(JOBS).json()
        PollJobs.model_validate(listed, strict=True)
        assert [job["job_id"] for job in listed["jobs"]] == [job_id]
        worker.keep_alive()
        until(lambda: job_of(client, job_id)["ticks"] == 2, worker, what="the trade of the poll that was lost")
        polls = job_of(client, job_id)["polls"]
        until(lambda: job_of(client, job_id)["polls"] >= polls + 2, worker, what="more polls")
    assert [tick.trade_id for tick in published(migrated)] == ["1", "2"], "and what was known is not told again"


def test_redis_emptied_and_worker_new_repeat_has_the_same_identity(
    client: httpx.Client, migrated: Settings, exchange: Exchange, start: Start
) -> None:
    exchange.trade("BTC-USD", 1, "10")
    job_id = create(client, "BTC-USD")
    worker = start()
    until(lambda: job_of(client, job_id)["ticks"] == 1, worker, what="the first tick")
    worker.kill()
    with redis.Redis.from_url(migrated.redis_url.get_secret_value()) as held:
        assert held.pttl("price:coinbase:BTC-USD") > migrated.redis_ttl_seconds * 1000 - 60_000
        held.flushdb()
    worker.keep_alive()
    until(lambda: job_of(client, job_id)["ticks"] == 2, worker, what="the tick once more")
    first, again = (msgspec.structs.replace(tick, received_us=0) for tick in published(migrated))
    assert first == again


def test_two_workers_share_jobs_and_quota(client: httpx.Client, exchange: Exchange, start: Start) -> None:
    names = [f"S{number}-USD" for number in range(24)]
    for name in names:
        exchange.trade(name, 1, "1")
    jobs = [create(client, *names[at : at + 8], interval=4) for at in range(0, 24, 8)]
    addresses = {"127.0.0.1", "localhost"}  # who asks is told by how it calls the exchange
    workers = [start("--no-heartbeats", host=host) for host in addresses]
    until(lambda: all(job_of(client, job)["polls"] >= 3 for job in jobs), *workers, what="three rounds")
    until(lambda: exchange.addressed == addresses, *workers, what="a poll by each of them")
    times = sorted(at for at, _ in exchange.asked)
    windows = [later - earlier for earlier, later in zip(times, times[10:], strict=False)]
    # Ten in a second are allowed, and eleven take 1.25 s by the quota's count; a request may be late on a busy machine.
    assert min(windows) >= 0.6, "unregulated, eleven requests take a fifth of a second"
    rounds = [[at for at, path in exchange.asked if path == f"/products/{name}/trades"] for name in names]
    gaps = [later - earlier for asked in rounds for earlier, later in pairwise(asked)]
    assert min(gaps) > 1.0, "no job was polled by both workers at once"
    said = [worker.stop() for worker in workers]
    assert said == [0, 0]
    polled = [int(worker.tail().rpartition("polled ")[2].split()[0]) for worker in workers]
    assert sum(polled) >= 9 and min(polled) >= 1, "both did some of it"


def test_key_refused_ends_the_job_in_words_without_the_key(
    migrated: Settings, exchange: Exchange, start: Start
) -> None:
    secret = "k3y-that-nobody-may-see"
    keyed = migrated.model_copy(update={"fmp_api_key": SecretStr(secret)})
    keyed = Settings(**{name: getattr(keyed, name) for name in keyed.model_fields_set})
    exchange.status, exchange.body = 401, f"Invalid API KEY {secret}".encode()
    with serving(keyed) as client:
        job_id = create(client, "AAPL", interval="1h", provider="fmp")
        worker = start(settings=keyed)
        until(lambda: job_of(client, job_id)["state"] == "failed", worker, what="the refusal")
        job = job_of(client, job_id)
        assert "401" in job["detail"] and "key" in job["detail"] and "fmp" in job["detail"]
        assert (job["polls"], job["ticks"], job["next_at"]) == (1, 0, None)
        told = client.get(LATEST, params={"symbol": "AAPL", "provider": "fmp"})
        assert told.status_code == 404 and "is failed" in told.json()["detail"]
        asked = len(exchange.asked)
        other = create(client, "MSFT", interval="1h", provider="fmp")
        until(lambda: job_of(client, other)["state"] == "failed", worker, what="another refusal")
        assert len(exchange.asked) == asked + 1, "a failed job is asked no more"
        assert secret not in client.get(JOBS).text + told.text
    assert secret not in worker.log.read_text()


def test_provider_down_keeps_the_job_active_and_recovers(
    client: httpx.Client, exchange: Exchange, start: Start
) -> None:
    exchange.trade("BTC-USD", 1, "10")
    exchange.status = 503
    job_id = create(client, "BTC-USD")
    worker = start()
    until(lambda: job_of(client, job_id)["detail"], worker, what="words")
    job = job_of(client, job_id)
    assert (job["state"], job["ticks"]) == ("active", 0)
    assert "coinbase" in job["detail"] and "503" in job["detail"]
    exchange.status = 200
    until(lambda: job_of(client, job_id)["ticks"] == 1, worker, what="recovery")
    assert job_of(client, job_id)["detail"] == ""


def test_hanging_provider_holds_up_nobody_elses_jobs(client: httpx.Client, exchange: Exchange, start: Start) -> None:
    """Ten jobs of one provider wait for answers; a job of another one is polled all the same."""
    exchange.delay_seconds = 20.0
    for number in range(10):
        create(client, f"S{number}-USD", interval=60)
    worker = start("--no-heartbeats")
    until(lambda: len(exchange.asked) >= 4, worker, what="polls that hang")
    create(client, "BTC-USD", interval=60, provider="kraken")
    until(lambda: any(not path.startswith("/products/") for _, path in exchange.asked), worker, what="Kraken's turn")
    assert sum(path.startswith("/products/") for _, path in exchange.asked) < 10
    assert worker.stop() == 0
    assert all(job["next_at"] <= now_text() for job in client.get(JOBS).json()["jobs"]), "left for the next worker"


def now_text() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def test_worker_before_the_tables_waits_for_them(settings: Settings, exchange: Exchange, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "producers", "poll", "--base-url", exchange.url]
    worker = Supervised(command, settings, tmp_path / "worker.log")
    worker.keep_alive()
    try:
        until(lambda: "stores migrate" in worker.log.read_text(), worker, what="words")
        store = TimescaleStore(settings.postgres_dsn.get_secret_value())
        store.setup()
        store.close()
        exchange.trade("BTC-USD", 1, "10")
        with serving(settings) as client:
            job_id = create(client, "BTC-USD")
            until(lambda: job_of(client, job_id)["ticks"] == 1, worker, what="the tick")
        assert worker.log.read_text().count("stores migrate") == 1, "said once"
        assert worker.stop() == 0
    finally:
        worker.kill()


def test_unknown_symbol_and_missing_key_of_the_worker_are_told(
    client: httpx.Client, migrated: Settings, exchange: Exchange, start: Start
) -> None:
    unknown = create(client, "NOPE-USD")
    with psycopg.connect(migrated.postgres_dsn.get_secret_value(), autocommit=True) as database:
        database.execute(
            "INSERT INTO polling_jobs (id, provider, symbols, interval_seconds) VALUES"
            " (gen_random_uuid(), 'fmp', '{AAPL}', 60), (gen_random_uuid(), 'gone', '{AAPL}', 60)"
        )
    worker = start()

    def details() -> dict[str, tuple[str, str]]:
        return {job["config"]["provider"]: (job["state"], job["detail"]) for job in client.get(JOBS).json()["jobs"]}

    wait_until(lambda: all(detail for _, detail in details().values()), SECONDS, what="words for each")
    assert job_of(client, unknown)["state"] == "failed" and "404" in details()["coinbase"][1]
    assert details()["fmp"] == ("active", "fmp needs a key: set FMP_API_KEY")
    assert details()["gone"][0] == "active" and "unknown provider" in details()["gone"][1]
    assert "Traceback" not in worker.log.read_text()
