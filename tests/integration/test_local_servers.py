"""The servers of the local stack: they come back on the same folder and port with all that was acknowledged."""

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from conf.settings import Settings
from conf.topics import ANOMALIES, BARS, BARS_LIVE, DEAD, INDICATORS, PREDICTIONS, TICKS, TOPIC_CONFIG
from core.errors import StoreUnavailable
from local.errors import LocalError
from local.kafka import Kafka
from local.postgres import Postgres
from local.redis import Redis
from local.server import Server, free_port, has_ended, port_is_free
from producers.topics import ensure_topics

_numbers = itertools.count()


@pytest.fixture
def folder(servers_folder: Path) -> Path:
    return servers_folder / f"own-{next(_numbers)}"


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start it and leave nothing behind, whatever the test did to it."""
    try:
        yield server.start()
    finally:
        server.kill()


def create(bootstrap: str, topic: NewTopic) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    (created,) = admin.create_topics([topic]).values()
    created.result(30)
    wait_for(lambda: admin.list_topics(topic.topic, timeout=10).topics[topic.topic].error is None)


def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    """Returns when the broker has acknowledged all of them."""
    failures: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(30) == 0
    assert failures == []


def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """The first `count` values of the topic, fewer when they do not come within 30 s."""
    group = f"test-{next(_numbers)}"  # a restarted broker knows how far another one has read
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    values: list[bytes] = []
    deadline = time.monotonic() + 30
    while len(values) < count and time.monotonic() < deadline:
        values += [message.value() for message in consumer.consume(count, 0.2) if message.error() is None]
    consumer.close()
    return values


def test_kafka_stopped_and_killed_keeps_acknowledged_records_and_port(folder: Path) -> None:
    values = [f"{n}".encode() for n in range(500)]
    more = [f"more {n}".encode() for n in range(500)]
    with running(Kafka(folder, heap="256m")) as kafka:
        create(kafka.url, NewTopic("kept", 1))
        produce(kafka.url, "kept", values)
        url = kafka.url
        kafka.stop()
    with running(Kafka(folder, heap="256m")) as again:
        assert again.url == url
        assert consume(url, "kept", len(values)) == values
        produce(url, "kept", more)
        again.kill()
    with running(Kafka(folder, heap="256m")) as third:
        assert third.url == url
        assert consume(url, "kept", len(values + more)) == values + more


@pytest.mark.parametrize("end", [Postgres.stop, Postgres.kill])
def test_postgres_restarted_keeps_commits_and_port(folder: Path, end: Callable[[Postgres], None]) -> None:
    with running(Postgres(folder)) as postgres:
        with psycopg.connect(postgres.url) as connection:
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept SELECT generate_series(1, 500)")
        url = postgres.url
        end(postgres)
    with running(Postgres(folder)) as again:
        assert again.url == url
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*), sum(n) FROM kept").fetchone() == (500, 125_250)


def test_postgres_killed_leaves_no_backend(folder: Path) -> None:
    with running(Postgres(folder)) as postgres, psycopg.connect(postgres.url) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        postgres.kill()
        assert has_ended(backend)
        assert postgres.pid is None


def test_redis_stopped_and_restarted_keeps_keys_and_port(folder: Path) -> None:
    with running(Redis(folder)) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "1")
        url = server.url
        server.stop()
    with running(Redis(folder)) as again:
        assert again.url == url
        with redis.Redis.from_url(url) as client:
            assert client.get("kept") == b"1"


def test_redis_killed_keeps_what_is_older_than_a_second(folder: Path) -> None:
    with running(Redis(folder)) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "1")
            wait_for(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0 and aof_holds(folder, b"kept"))
        server.kill()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") == b"1"


def aof_holds(folder: Path, text: bytes) -> bool:
    files = (path for path in folder.rglob("appendonly*") if path.is_file())  # one, or a folder of some since Redis 7
    return any(text in path.read_bytes() for path in files)


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.05)


@pytest.mark.parametrize("make", [Kafka, Postgres, Redis])
def test_port_taken_by_another_is_named_in_one_line(folder: Path, make: Callable[..., Server]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(LocalError, match=rf"cannot listen on 127.0.0.1:{port}: the port is in use") as caught:
            make(folder, port=port).start()
    assert "\n" not in str(caught.value)


def test_second_server_on_a_folder_in_use_is_refused(folder: Path) -> None:
    with running(Redis(folder)) as first:
        with pytest.raises(LocalError, match=f"already runs on .* as process {first.pid}"):
            Redis(folder).start()
        assert first.pid is not None


def test_configured_port_is_used_and_loopback_only(folder: Path) -> None:
    port = free_port()
    with running(Redis(folder, port=port)) as server:
        assert server.pid is not None
        listening = [c.laddr for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert listening == [("127.0.0.1", port)]
        assert not port_is_free(port)


def test_server_that_ends_while_starting_shows_its_log(folder: Path) -> None:
    (folder / "appendonly.aof").parent.mkdir(parents=True)
    (folder / "appendonly.aof").write_bytes(b"not an append-only file")
    with pytest.raises(LocalError, match=r"redis ended while starting(.|\n)*Bad file format"):
        Redis(folder).start()


def test_topics_created_twice_have_the_configured_partitions(settings: Settings) -> None:
    own = settings.model_copy(update={"ticks_partitions": 3, "bars_partitions": 4, "topic_prefix": "twice."})
    ensure_topics(own)
    ensure_topics(own)
    topics = AdminClient({"bootstrap.servers": own.kafka_bootstrap}).list_topics(timeout=10).topics
    partitions = {name: len(topics[own.topic(name)].partitions) for name in TOPIC_CONFIG}
    assert partitions == {TICKS: 3, DEAD: 1, BARS_LIVE: 4, BARS: 4, INDICATORS: 4, PREDICTIONS: 1, ANOMALIES: 1}
    assert config(own, BARS_LIVE, "cleanup.policy") == "compact,delete"
    # The newest state of a key outlives a closed market; the values of single bars go in time.
    assert config(own, INDICATORS, "cleanup.policy") == "compact,delete"
    assert config(own, INDICATORS, "retention.ms") == str(30 * 86_400_000)


def test_ticks_topic_of_a_foreign_broker_is_stamped_by_the_broker_from_now_on(settings: Settings) -> None:
    own = settings.model_copy(update={"topic_prefix": "foreign."})
    create(own.kafka_bootstrap, NewTopic(own.topic(TICKS), 1, config={"retention.ms": "123456789"}))
    assert config(own, TICKS, "message.timestamp.type") == "CreateTime"
    ensure_topics(own)
    # A broker tells of a change a moment after it has acknowledged it.
    deadline = time.monotonic() + 60
    while config(own, TICKS, "message.timestamp.type") != "LogAppendTime":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert config(own, TICKS, "retention.ms") == "123456789"


def test_topics_without_a_broker_say_that_it_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.topics.TIMEOUT_SECONDS", 1.0)
    bootstrap = f"127.0.0.1:{free_port()}"
    with pytest.raises(StoreUnavailable, match=f"kafka: {bootstrap}"):
        ensure_topics(Settings(kafka_bootstrap=bootstrap))


def config(settings: Settings, topic: str, key: str) -> str:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    resource = ConfigResource(ResourceType.TOPIC, settings.topic(topic))
    (future,) = admin.describe_configs([resource]).values()
    return str(future.result(30)[key].value)
