"""Metrics from real stamps, a real Redis and a real Kafka; and what is left when one of them is down."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from api.models_market import CacheAnswer, KafkaAnswer, LatencyAnswer, ThroughputAnswer
from api.models_pipeline import DeadLettersAnswer, GapCounts, QueriesAnswer
from conf.settings import Settings
from conf.topics import BARS_LIVE, DEAD, TICKS
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
def store_settings(store_settings: Settings) -> Settings:
    """Without a broker."""
    return store_settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})


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


def test_throughput_falls_to_nothing_when_bars_stop(store_settings: Settings, database: TimescaleStore) -> None:
    database.write_bars(bars_table([make_bar(0)]))
    with serving(store_settings, ManualClock(NOW)) as client:
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


def test_metrics_say_503_where_their_own_source_is_down(store_settings: Settings, database: TimescaleStore) -> None:
    down = store_settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
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


def test_live_queries_lag_in_their_own_partition_alone(settings: Settings, tmp_path: Path) -> None:
    ticks = settings.topic(TICKS)
    _produce(settings, ticks, [(number % 2, b"{}") for number in range(10)])
    _checkpoint(tmp_path / "checkpoints" / "live-0", ticks, {0: 3}, done=3)
    with serving(settings) as client:
        body = get(client, "kafka")
    (live,) = [each for each in body["readers"] if each["reader"] == "live-0"]
    assert (live["lag"], live["partitions"]) == (2, {"0": 2})
    newest = {each["topic"]: each["newest"] for each in body["topics"]}
    assert newest[ticks] is not None and newest[settings.topic(BARS_LIVE)] is None and body["at"] >= newest[ticks]


def test_queries_are_judged_by_what_waits_for_too_long(settings: Settings, tmp_path: Path) -> None:
    ticks, now_us = settings.topic(TICKS), time.time_ns() // 1000
    _produce(settings, ticks, [(0, b"{}")] * 6)
    _checkpoint(tmp_path / "checkpoints" / "final", ticks, {0: 4}, done=3)
    _checkpoint(tmp_path / "checkpoints" / "archive", ticks, {0: 6}, done=3)
    store = TimescaleStore(settings.postgres_dsn.get_secret_value())
    store.setup()
    store.close()
    with serving(settings) as client:
        rows = _queries(client)
        assert rows["final"]["state"] == "running" and (rows["final"]["lag"], rows["final"]["overdue"]) == (2, 0)
        assert rows["archive"]["state"] == "idle" and rows["lake"]["state"] == "unknown"
        assert rows["final"]["watermark_lag_seconds"] is None and rows["reconcile"]["state"] == "unknown"
    with serving(settings, ManualClock(now_us + 40_000_000)) as client:  # nothing has moved for 40 s
        rows = _queries(client)
    assert rows["final"]["state"] == "behind" and rows["final"]["overdue"] == 2
    assert rows["archive"]["state"] == "idle" and "`bars.live` has no row" in rows["live"]["because"]


def _queries(client: httpx.Client) -> dict[str, dict[str, Any]]:
    body = get(client, "queries")
    QueriesAnswer.model_validate(body, strict=True)
    return {each["query"]: each for each in body["queries"]}


def test_queries_and_stores_say_what_they_cannot_see(store_settings: Settings, database: TimescaleStore) -> None:
    with serving(store_settings) as client:  # its broker is not there
        rows = _queries(client)
        probes = get(client, "stores")["stores"]
    assert {row["state"] for row in rows.values()} == {"unknown"} and "kafka" in rows["final"]["because"]
    assert {name: probe["state"] for name, probe in probes.items()} == {
        "timescale": "ok",
        "redis": "ok",
        "kafka": "unavailable",
        "influx": "off",
    }
    assert (
        probes["influx"]["error"] is None
        and "a moment ago" in probes["kafka"]["error"]
        and probes["redis"]["latency_ms"] > 0
    )


def test_dead_letters_are_the_newest_and_do_not_move_a_reader(settings: Settings) -> None:
    dead = settings.topic(DEAD)
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    for number in range(5):
        headers = [("reason", b"price"), ("detail", b"not positive"), ("stage", b"archive")]
        producer.produce(dead, f'{{"n":{number}}}\n\x00'.encode() + b"\xff" * 500, key=f"S{number}", headers=headers)
    producer.produce(dead, None, key=b"\xfe", headers=None)
    producer.flush(20)
    with serving(settings) as client:
        body = get(client, "dead-letters", limit=3)
        DeadLettersAnswer.model_validate(body, strict=True)
        assert (body["records"], body["recent"], body["reasons"]) == (6, 6, {"price": 5, "": 1})
        assert [each["symbol"] for each in body["letters"]] == ["\ufffd", "S4", "S3"]
        shown = body["letters"][1]
        assert (shown["reason"], shown["detail"], shown["stage"]) == ("price", "not positive", "archive")
        assert (
            len(shown["payload"]) == 200 and shown["payload"].startswith('{"n":4}') and shown["payload"].isprintable()
        )
        producer.produce(dead, b"{}", key="new")
        producer.flush(20)
        assert get(client, "dead-letters", limit=1)["letters"][0]["symbol"] == "new"
        admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})  # let go of, it takes the answer along
        groups = admin.list_consumer_groups().result(10).valid
        assert "tickstream.peek" not in {group.group_id for group in groups}
    with serving(settings, ManualClock(time.time_ns() // 1000 + 7_200_000_000)) as client:
        assert get(client, "dead-letters")["recent"] == 0


def test_gaps_are_counted_by_what_became_of_them(
    store_settings: Settings, database: TimescaleStore, postgres_dsn: str
) -> None:
    with serving(store_settings) as client:
        assert get(client, "gaps")["newest"] is None
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            for number, (state, filled, age) in enumerate(
                [("open", 0, 100), ("open", 0, 1), ("filled", 7, 2), ("filled", 9, 30), ("lost", 1, 3)]
            ):
                connection.execute(
                    "INSERT INTO gaps (source, symbol, cause, start_us, end_us, state, filled, noticed_at)"
                    " VALUES ('s', 'A', 'silence', %s, 9, %s, %s, now() - make_interval(hours => %s))",
                    (number, state, filled, age),
                )
        body = get(client, "gaps")
        GapCounts.model_validate(body, strict=True)
        figures = [body[name] for name in ("open", "filled", "lost", "ticks_filled")]
        assert figures == [2, 1, 1, 8]  # an open gap counts whatever its age
        assert get(client, "gaps", hours=48)["filled"] == 2


def _produce(settings: Settings, topic: str, records: list[tuple[int, bytes]]) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    for partition, value in records:
        producer.produce(topic, value, partition=partition)
    producer.flush(20)
