"""The publisher against a real broker: nothing lost, nothing doubled, nothing dropped in silence."""

import contextlib
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from kafka.partitioner.default import murmur2
from structlog.testing import capture_logs

from conf.settings import Settings
from conf.topics import DEAD, TICKS
from core.clock import ManualClock
from core.errors import InvalidTick, PublishError
from core.records import Tick
from core.validate import check
from local.kafka import Kafka
from local.server import free_port
from producers.heartbeat import Heartbeat
from producers.publish import MAX_RECORD_BYTES, Publisher, encode
from producers.topics import ensure_topics
from tests.brokers import lent
from tests.factories import MONDAY_US, tick
from tests.topics import read_ticks, read_topic


@pytest.fixture
def feed(kafka_server: Kafka) -> Settings:
    """Settings with topics of its own; the stores are not needed here."""
    return feed_on(kafka_server)


def feed_on(server: Kafka) -> Settings:
    own = Settings(kafka_bootstrap=server.url, topic_prefix=f"t{uuid.uuid4().hex[:12]}.", ticks_partitions=3)
    ensure_topics(own)
    return own


@pytest.fixture
def nobody() -> Settings:
    """Settings that name a broker which is not there."""
    return Settings(kafka_bootstrap=f"127.0.0.1:{free_port()}")


def test_send_ticks_arrive_once_in_order_keyed_by_symbol(feed: Settings) -> None:
    sent = [tick(symbol=f"S{n % 7}", seq=n, price=f"{n + 1}.25") for n in range(700)]
    with Publisher(feed) as publisher:
        assert all(publisher.send(one) for one in sent)
    assert (publisher.accepted, publisher.dead, publisher.failed, publisher.pending) == (700, 0, 0, 0)
    partitions = defaultdict(set)
    arrived = defaultdict(list)
    for record in read_topic(feed.kafka_bootstrap, feed.topic(TICKS)):
        one = msgspec.json.decode(record.value, type=Tick)
        assert record.key.decode() == one.symbol
        partitions[one.symbol].add(record.partition)
        arrived[one.symbol].append(one)
    for symbol, found in arrived.items():
        assert found == [one for one in sent if one.symbol == symbol]
        # Where a Java client would put it, so that a foreign producer keeps a symbol's order too.
        assert partitions[symbol] == {(murmur2(symbol.encode()) & 0x7FFFFFFF) % 3}
    assert len(arrived) == 7


def test_send_invalid_goes_to_dead_with_its_reason_and_its_bytes(feed: Settings) -> None:
    bad, good = tick(price="-1", conditions="20"), tick()
    with Publisher(feed) as publisher:
        assert publisher.send(bad) is False
        assert publisher.send(good) is True
    assert read_ticks(feed.kafka_bootstrap, feed.topic(TICKS)) == [good]
    (record,) = read_topic(feed.kafka_bootstrap, feed.topic(DEAD))
    headers = {name: value.decode() for name, value in record.headers}
    assert (record.key, record.value) == (b"AAPL", encode(bad))
    assert (headers["reason"], headers["stage"], headers["topic"]) == ("price", "producer", feed.topic(TICKS))
    assert "positive plain decimal" in headers["detail"]


def test_send_future_stamp_is_refused_beyond_the_tolerance(feed: Settings) -> None:
    clock = ManualClock(MONDAY_US)
    with Publisher(feed, clock=clock) as publisher:
        assert publisher.send(tick(event_us=MONDAY_US + 5_000_000))
        assert not publisher.send(tick(event_us=MONDAY_US + 5_000_001))
    (record,) = read_topic(feed.kafka_bootstrap, feed.topic(DEAD))
    assert dict(record.headers)["reason"] == b"future"


def test_send_strict_symbol_master_refuses_strangers(feed: Settings) -> None:
    strict = feed.model_copy(update={"symbols": "AAPL,MSFT"})
    with Publisher(strict, on_invalid="raise") as publisher:
        publisher.send(tick())
        with pytest.raises(InvalidTick, match="unknown_symbol"):
            publisher.send(tick(symbol="IBM"))
    assert len(read_topic(feed.kafka_bootstrap, feed.topic(TICKS))) == 1
    assert read_topic(feed.kafka_bootstrap, feed.topic(DEAD)) == []


def test_send_record_over_the_limit_is_refused_naming_both_sizes(feed: Settings) -> None:
    huge = tick(conditions="F" * 2_000_000)
    with Publisher(feed) as publisher:
        with pytest.raises(PublishError, match=rf"2,000,1\d\d bytes .* {MAX_RECORD_BYTES:,} bytes"):
            publisher.send(huge)
        with pytest.raises(PublishError, match="over the broker's limit"):
            publisher.send_raw(b"AAPL", b"x" * 2_000_000)
        with pytest.raises(PublishError, match="over the broker's limit"):
            publisher.send_many([b"AAPL"], [b"x" * 2_000_000])
        publisher.send(tick())
    assert len(read_topic(feed.kafka_bootstrap, feed.topic(TICKS))) == 1


def test_send_record_over_the_broker_s_own_limit_fails_at_flush(feed: Settings) -> None:
    publisher = Publisher(feed, max_record_bytes=5_000_000)
    value = b"".join(uuid.uuid4().bytes for _ in range(130_000))
    publisher.send_raw(b"AAPL", value)
    with capture_logs() as logs, pytest.raises(PublishError, match=r"1 records not delivered.*too large"):
        publisher.close()
    assert [entry["event"] for entry in logs] == ["record not delivered"]


def test_publisher_without_a_broker_counts_reports_and_raises(nobody: Settings) -> None:
    publisher = Publisher(nobody, delivery_timeout_seconds=1.5)
    for n in range(5):
        publisher.send(tick(seq=n))
    with capture_logs() as logs, pytest.raises(PublishError, match=r"5 records not delivered.*timed out"):
        publisher.flush()
    assert publisher.failed == 5
    assert "record not delivered" in [entry["event"] for entry in logs]
    publisher.close()  # reported once, not again


def test_publisher_without_a_broker_and_a_full_queue_raises_instead_of_hanging(nobody: Settings) -> None:
    publisher = Publisher(nobody, delivery_timeout_seconds=1.5, queue_records=10)
    with pytest.raises(PublishError, match="not delivered"):
        for n in range(100):
            publisher.send(tick(seq=n))
    with contextlib.suppress(PublishError):
        publisher.close()


def test_partitions_without_a_broker_raises(nobody: Settings) -> None:
    with pytest.raises(PublishError, match=r"no broker at 127\.0\.0\.1"):
        Publisher(nobody).partitions()


@pytest.mark.parametrize("bulk", [False, True])
def test_full_local_queue_makes_the_sender_wait_and_loses_nothing(feed: Settings, bulk: bool) -> None:
    count = 3_000
    keys, values = [b"AAPL"] * count, [encode(tick(seq=n)) for n in range(count)]
    with Publisher(feed, queue_records=50) as publisher:
        if bulk:
            publisher.send_many(keys, values)
        else:
            for key, value in zip(keys, values, strict=True):
                publisher.send_raw(key, value)
    found = [one.seq for one in read_ticks(feed.kafka_bootstrap, feed.topic(TICKS))]
    assert found == list(range(count))


@contextlib.contextmanager
def killed(server: Kafka) -> Iterator[None]:
    """The broker is gone without a goodbye, and comes back whatever happens."""
    server.kill()
    try:
        yield
    finally:
        server.start()


@pytest.fixture
def mortal(servers_folder: Path) -> Iterator[Kafka]:
    """A broker that only this test knows."""
    with lent(Kafka(servers_folder / "mortal-kafka", heap="256m")) as server:
        yield server


def test_broker_killed_in_mid_stream_loses_and_doubles_nothing(mortal: Kafka) -> None:
    feed = feed_on(mortal)
    per_stage = 5_000
    sent = [tick(symbol=f"S{n % 5}", seq=n) for n in range(3 * per_stage)]
    with Publisher(feed, linger_ms=5) as publisher:
        for one in sent[:per_stage]:
            publisher.send(one)
        deadline = time.monotonic() + 30
        while publisher.pending == publisher.accepted and time.monotonic() < deadline:
            publisher.poll(0.001)  # the broker has taken some, and others are on their way
        with killed(mortal):
            for one in sent[per_stage : 2 * per_stage]:
                publisher.send(one)
            assert publisher.pending >= per_stage
        for one in sent[2 * per_stage :]:
            publisher.send(one)
    found = read_ticks(feed.kafka_bootstrap, feed.topic(TICKS))
    assert Counter(one.seq for one in found) == Counter(range(3 * per_stage))
    for symbol in {one.symbol for one in sent}:
        order = [one.seq for one in found if one.symbol == symbol]
        assert order == sorted(order)


def test_heartbeat_reaches_every_partition_and_is_a_valid_tick(feed: Settings) -> None:
    with Publisher(feed) as publisher:
        heartbeat = Heartbeat(publisher, "simulator")
        assert heartbeat.beat_if_due(MONDAY_US, now_us=0)
        assert not heartbeat.beat_if_due(MONDAY_US, now_us=999_999)
        assert heartbeat.beat_if_due(MONDAY_US + 1, now_us=1_000_000)
    records = read_topic(feed.kafka_bootstrap, feed.topic(TICKS))
    assert Counter(record.partition for record in records) == {0: 2, 1: 2, 2: 2}
    for record in records:
        one = msgspec.json.decode(record.value, type=Tick)
        check(one)
        assert (record.key, one.kind, one.source) == (b"_heartbeat", "heartbeat", "simulator")
        assert one.event_us in (MONDAY_US, MONDAY_US + 1)
