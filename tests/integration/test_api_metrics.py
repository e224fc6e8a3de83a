"""Metrics from real stamps, a real Redis and a real Kafka; and what is left when one of them is down."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from pydantic import SecretStr

from api.models_market import CacheAnswer, KafkaAnswer, LatencyAnswer, ThroughputAnswer
from conf.settings import Settings
from conf.topics import BARS_LIVE, TICKS
from core.clock import ManualClock
from core.errors import StoreUnavailable
from stores.redis import RedisStore
from stores.retry import retrying
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.integration.api_data import BASE, MINUTE, make_bar
from tests.serving import serving

NOW = BASE + 20 * MINUTE + 3_000_000
MS = 1_000
PATH = "/api/v1/metrics"
COORDINATOR_SECONDS = 30.0


@pytest.fixture
def stores(postgres_dsn: str, redis_url: str) -> Settings:
    return Settings(postgres_dsn=SecretStr(postgres_dsn), redis_url=SecretStr(redis_url), kafka_bootstrap="127.0.0.1:1")


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[TimescaleStore]:
    store = TimescaleStore(postgres_dsn)
    store.setup()
    yield store
    store.close()


@pytest.fixture
def client(stores: Settings, database: TimescaleStore) -> Iterator[httpx.Client]:
    with serving(stores, ManualClock(NOW)) as client:
        yield client


def get(client: httpx.Client, name: str, **params: Any) -> dict[str, Any]:
    answer = client.get(f"{PATH}/{name}", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_latency_stages_are_the_differences_of_the_stamps(
    client: httpx.Client, database: TimescaleStore, redis_url: str
) -> None:
    final = []
    for number in range(4):  # ends at minutes 16 to 19
        end = BASE + (16 + number) * MINUTE
        stamps = {"close_us": end - 50 * MS, "received_us": end - 40 * MS + number * MS}
        final.append(make_bar(15 + number, processed_us=end + 10_500 * MS, **stamps))
    old = make_bar(2, processed_us=NOW, received_us=0)
    database.write_bars(bars_table([old, *final]))
    live = RedisStore(redis_url, 300)
    forming = {"rev": 0, "state": "forming", "received_us": NOW - 500 * MS, "processed_us": NOW - 494 * MS}
    live.write_bars(bars_table([final[-1], make_bar(20, **forming)]))
    live.close()
    body = get(client, "latency")
    LatencyAnswer.model_validate(body, strict=True)
    stages = {each["stage"]: each for each in body["stages"]}
    assert list(stages)[:2] == ["event_to_received", "received_to_live"] and body["live"] == "ok"
    figures = ("count", "p50_ms", "p95_ms", "p99_ms", "max_ms")
    assert [stages["event_to_received"][name] for name in figures] == [4, 11.5, 12.85, 12.97, 13.0]
    assert stages["close_to_final"]["p50_ms"] == 10_500.0 and stages["received_to_final"]["max_ms"] == 10_540.0
    assert [stages["received_to_live"][name] for name in figures] == [1, 6.0, 6.0, 6.0, 6.0]
    assert stages["received_to_redis"]["count"] == 1  # stamped by the write above, which is later than the bar by years
    assert stages["received_to_redis"]["p50_ms"] == pytest.approx(stages["live_to_redis"]["p50_ms"] + 6)
    assert {each["count"] for each in get(client, "latency", minutes=1)["stages"]} == {0, 1}
    refused = client.get(f"{PATH}/latency", params={"minutes": 61}).json()["errors"][0]
    assert (refused["parameter"], refused["limits"]) == ("minutes", {"le": 60})


def test_throughput_counts_trades_and_bars_of_whole_minutes(client: httpx.Client, database: TimescaleStore) -> None:
    ones = [make_bar(minute, trade_count=60) for minute in range(20)]
    other = [
        make_bar(18, symbol="B", trade_count=600),
        make_bar(15, interval="5m", end=BASE + 20 * MINUTE, trade_count=300),
    ]
    database.write_bars(bars_table([*ones, *other]))
    body = get(client, "throughput")
    ThroughputAnswer.model_validate(body, strict=True)
    assert body["to"] == "2013-06-03T13:50:00.000000Z"
    found = [(each["minutes"], each["ticks"], each["bars"]) for each in body["windows"]]
    assert found == [(1, 60, 2), (5, 900, 7), (15, 1500, 17)]
    assert [each["ticks_per_second"] for each in body["windows"]] == [1.0, 3.0, pytest.approx(1500 / 900)]


def test_throughput_falls_to_nothing_when_bars_stop(stores: Settings, database: TimescaleStore) -> None:
    database.write_bars(bars_table([make_bar(0)]))
    with serving(stores, ManualClock(NOW)) as client:
        body = get(client, "throughput")
    assert body["to"] == "2013-06-03T13:48:00.000000Z"
    assert [each["ticks"] for each in body["windows"]] == [0, 0, 0]


def test_cache_shows_hits_of_redis_and_of_the_answers(client: httpx.Client, database: TimescaleStore) -> None:
    database.write_bars(bars_table([make_bar(0)]))
    before = get(client, "cache")
    CacheAnswer.model_validate(before, strict=True)
    assert client.get("/api/v1/latest/A").status_code == 200  # asks Redis for what it does not hold
    after = get(client, "cache")
    assert after["redis"]["misses"] > before["redis"]["misses"]
    assert after["redis"]["used_memory_bytes"] > 0 and after["redis"]["clients"] >= 1
    assert {"hits", "misses"} <= after["responses"].keys()


def test_metrics_say_503_where_their_own_source_is_down(stores: Settings, database: TimescaleStore) -> None:
    down = stores.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with serving(down, ManualClock(NOW)) as client:
        assert get(client, "latency")["live"] == "unavailable"
        for name, store in (("cache", "redis"), ("kafka", "kafka")):
            answer = client.get(f"{PATH}/{name}")
            assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
            assert answer.headers["content-type"] == "application/problem+json" and answer.json()["store"] == store
        assert get(client, "throughput")["windows"][0]["ticks"] == 0  # and the others go on


def test_kafka_offsets_and_lag_of_group_and_checkpoint(settings: Settings, tmp_path: Path) -> None:
    ticks, live = settings.topic(TICKS), settings.topic(BARS_LIVE)
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    for number in range(10):
        producer.produce(ticks, b"{}", partition=0)
        producer.produce(live, b"{}", key=str(number), partition=number % 2)
    producer.flush(20)
    _commit(settings, live, {0: 2, 1: 5})
    _checkpoint(tmp_path / "checkpoints" / "final", ticks, {0: 7}, done=3)
    _checkpoint(tmp_path / "checkpoints" / "broken", ticks, {0: 9}, done=None)
    with serving(settings) as client:
        body = get(client, "kafka")
    KafkaAnswer.model_validate(body, strict=True)
    topics = {each["topic"]: each for each in body["topics"]}
    assert {ticks, live} <= topics.keys() and all(name.startswith(settings.topic_prefix) for name in topics)
    assert topics[ticks]["records"] == 10
    offsets = [(each["partition"], each["first"], each["end"]) for each in topics[live]["partitions"]]
    assert offsets == [(0, 0, 5), (1, 0, 5)]
    readers = {each["reader"]: each for each in body["readers"]}
    assert readers.keys() == {"relay", "final"}
    assert (readers["relay"]["lag"], readers["relay"]["partitions"]) == (3, {"0": 3, "1": 0})
    assert (readers["final"]["lag"], readers["final"]["source"]) == (3, "checkpoint")
    assert readers["final"]["partitions"] == {"0": 3, "1": 0} and readers["final"]["as_of"] is not None


def _commit(settings: Settings, topic: str, places: dict[int, int]) -> None:
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": f"{topic}.relay"})
    offsets = [TopicPartition(topic, *place) for place in places.items()]
    try:
        retrying("kafka", lambda: _committed(consumer, offsets), COORDINATOR_SECONDS)
    finally:
        consumer.close()


def _committed(consumer: Consumer, offsets: list[TopicPartition]) -> None:
    """A broker that has just started may have no coordinator for the group yet."""
    try:
        consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        raise StoreUnavailable("kafka", str(error)) from error


def _checkpoint(folder: Path, topic: str, places: dict[int, int], done: int | None) -> None:
    """Batches 3 and 4 planned; the one that is `done` has these offsets, the next one later ones."""
    for batch, ahead in ((3, 0), (4, 2)):
        log = folder / "offsets" / str(batch)
        log.parent.mkdir(parents=True, exist_ok=True)
        offsets = {topic: {str(number): offset + ahead for number, offset in places.items()}}
        log.write_text("\n".join(("v1", json.dumps({"batchWatermarkMs": 0}), json.dumps(offsets))))
    if done is not None:
        (folder / "commits").mkdir()
        (folder / "commits" / str(done)).write_text("v1\n{}")
        (folder / "commits" / f".{done}.crc").write_text("")
