"""The relay: what it keeps of a batch, and that outages of Redis and the broker cost nothing."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import redis
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from pydantic import SecretStr
from structlog.testing import capture_logs

from conf.settings import Settings
from conf.topics import BARS_LIVE, INDICATORS
from core.indicators.sets import IndicatorSet, bars_of, values_json
from core.records import Bar
from jobs import indicator_topic
from jobs.indicator_topic import Memory
from jobs.relay import Relay, newest_rows
from local.kafka import Kafka
from local.redis import Redis
from producers.topics import ensure_topics
from stores.redis import bar_from_json, live_rows, make_redis
from stores.schema import bars_table
from tests.factories import MONDAY_US, bar, indicators_table
from tests.streaming import unique

MINUTE_US = 60_000_000


def forming(minute: int, offset: int, **changes: Any) -> Bar:
    """A forming bar as the live query writes it: no revision, no time of processing."""
    fields: dict[str, Any] = {
        "start": MONDAY_US + minute * MINUTE_US,
        "last_offset": offset,
        "rev": 0,
        "state": "forming",
        "processed_us": None,
        "trade_count": offset,
    }
    return bar(**(fields | changes))


def send(settings: Settings, rows: Sequence[Bar | bytes], partition: int = 0) -> None:
    """Write bars, or raw bytes, to one partition of `bars.live`, in order."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0})
    for row in rows:
        value = row if isinstance(row, bytes) else live_rows(bars_table([row]))[0].payload
        producer.produce(settings.topic(BARS_LIVE), value, key=b"k", partition=partition)
    assert producer.flush(30) == 0


def read(settings: Settings, count: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "test", "log_level": 0})
    consumer.assign([TopicPartition(settings.topic(BARS_LIVE), 0, 0)])
    messages: list[Message] = []
    deadline = time.monotonic() + 20
    while len(messages) < count and time.monotonic() < deadline:
        messages += consumer.consume(count - len(messages), 0.5)
    consumer.close()
    return messages


def tail(settings: Settings) -> dict[int, int]:
    """Start in minutes -> trade count, of the bars that Redis holds of AAPL; empty while it is down."""
    with (
        suppress(redis.exceptions.ConnectionError),
        redis.Redis.from_url(settings.redis_url.get_secret_value()) as client,
    ):
        held = [bar_from_json(value) for value in client.hvals("tail:AAPL:1m")]
        return {(row["start"] - MONDAY_US) // MINUTE_US: row["trade_count"] for row in held}
    return {}


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def relaying(settings: Settings) -> Iterator[Relay]:
    """A relay that runs in a thread for as long as the block does; what it raised is raised at the end."""
    relay = Relay(settings, make_redis(settings))
    failures: list[BaseException] = []

    def run() -> None:
        try:
            relay.run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join(30)
    assert not thread.is_alive() and not failures


def test_newest_rows_of_a_batch_keep_the_last_of_every_bar(settings: Settings) -> None:
    send(settings, [forming(0, 1), forming(1, 2), b"no bar", forming(0, 3), forming(1, 4), b"", forming(0, 5)])
    sent = forming(2, 6, symbol="MSFT")
    send(settings, [sent, forming(2, 7, interval="5m", symbol="MSFT")])
    messages = read(settings, 9)
    with capture_logs() as logs:
        rows = newest_rows(messages)
    found = [(row.symbol, row.interval, (row.start - MONDAY_US) // MINUTE_US, row.offset) for row in rows]
    assert found == [("AAPL", "1m", 0, 5), ("AAPL", "1m", 1, 4), ("MSFT", "1m", 2, 6), ("MSFT", "5m", 2, 7)]
    assert [(log["event"], log["offset"]) for log in logs] == [("not a bar", 2), ("not a bar", 5)]
    # Inside real-time mode there is no clock per row, so the relay adds the time at which the broker got it.
    stamped = bar_from_json(rows[2].payload)
    assert stamped == bar_from_json(live_rows(bars_table([sent]))[0].payload) | {
        "processed_us": messages[7].timestamp()[1] * 1000
    }


def test_malformed_record_is_passed_over_by_a_running_relay(settings: Settings) -> None:
    broken = live_rows(bars_table([forming(1, 1)]))[0].payload.replace(b'"open":"', b'"open":7,"was":"')
    with relaying(settings):
        send(settings, [b"{", b'{"symbol":1}', broken, b"\xff", forming(0, 2)])
        wait_for(lambda: tail(settings) == {0: 2})


@pytest.fixture(scope="module")
def doomed(servers_folder: Path) -> Iterator[tuple[Kafka, Redis]]:
    """Servers of this module's own, to be killed; each test starts again what it ended."""
    with Kafka(servers_folder / "relay-kafka", heap="256m") as kafka, Redis(servers_folder / "relay-redis") as store:
        yield kafka, store


@pytest.fixture
def own(doomed: tuple[Kafka, Redis]) -> tuple[Settings, Kafka, Redis]:
    """A broker and an empty Redis to be killed, and topics of the test's own."""
    kafka, store = doomed
    prefix = unique("relay") + "."
    settings = Settings(kafka_bootstrap=kafka.url, redis_url=SecretStr(store.url), topic_prefix=prefix)
    ensure_topics(settings)
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
    return settings, kafka, store


def test_redis_that_came_back_empty_between_two_writes_is_filled_again(own, servers_folder: Path) -> None:
    settings, _, store = own
    with relaying(settings):
        send(settings, [forming(minute, 1) for minute in range(5)])
        wait_for(lambda: tail(settings) == dict.fromkeys(range(5), 1))
        kill_and_forget(store, servers_folder)
        store.start()
        send(settings, [forming(5, 1)])
        wait_for(lambda: tail(settings) == dict.fromkeys(range(6), 1))


def kill_and_forget(store: Redis, servers_folder: Path) -> None:
    """The worst crash: what Redis had not yet put on disk is gone; here that is everything."""
    store.kill()
    for path in sorted((servers_folder / "relay-redis").rglob("appendonly*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def test_outages_of_redis_and_the_broker_lose_no_bar(own: tuple[Settings, Kafka, Redis], servers_folder: Path) -> None:
    settings, kafka, store = own
    with relaying(settings) as relay:
        send(settings, [forming(minute, 1) for minute in range(5)])
        wait_for(lambda: tail(settings) == dict.fromkeys(range(5), 1))
        kill_and_forget(store, servers_folder)
        send(settings, [forming(minute, 2) for minute in range(3, 8)])
        store.start()
        wait_for(lambda: tail(settings) == {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 2, 6: 2, 7: 2})
        kafka.kill()
        kafka.start()
        send(settings, [forming(7, 3), forming(8, 3)])
        wait_for(lambda: tail(settings).get(8) == 3)
        assert tail(settings)[7] == 3
    with relaying(settings) as again:
        send(settings, [forming(9, 4)])
        wait_for(lambda: tail(settings).get(9) == 4)
    # It went on from where it had committed, it did not start over.
    assert again.read <= 3 < relay.read


def test_outage_longer_than_what_is_read_again_loses_no_bar(
    own: tuple[Settings, Kafka, Redis], servers_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _, store = own
    monkeypatch.setattr("jobs.relay.REWIND_SECONDS", 2.0)
    with relaying(settings):
        send(settings, [forming(0, 1)])
        wait_for(lambda: tail(settings) == {0: 1})
        kill_and_forget(store, servers_folder)
        send(settings, [forming(1, 1)])  # the relay waits with it
        time.sleep(0.5)
        send(settings, [forming(2, 1)])
        time.sleep(4)
        send(settings, [forming(3, 1)])
        store.start()
        wait_for(lambda: tail(settings) == dict.fromkeys(range(4), 1))


def state_record(settings: Settings, memory: Memory) -> None:
    """Write a final state to the topic `indicators`, as the final query does."""
    start = datetime.fromtimestamp(memory.start / 1_000_000, UTC)
    row = {"symbol": memory.symbol, "interval": memory.interval, "start": start, "rev": 1, "specs": memory.specs}
    row |= {"values": "{}", "ready": True, "stable": False, "state": memory.state, "processed_us": 0}
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0})
    for key, value, headers in indicator_topic.records(indicators_table(row)):
        producer.produce(settings.topic(INDICATORS), value, key=key, headers=headers)
    assert producer.flush(30) == 0


def shown_values(settings: Settings, minute: int) -> dict | None:
    """The indicators in the JSON that Redis holds of AAPL's bar of this minute."""
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        payload = client.hget("tail:AAPL:1m", str(MONDAY_US + minute * MINUTE_US))
    return msgspec.json.decode(payload).get("indicators") if payload else None


def test_live_indicators_go_on_from_the_final_state_also_in_a_new_relay(settings: Settings) -> None:
    own = settings.model_copy(update={"indicators": "sma:2 obv ema:2"})
    chosen = IndicatorSet(own.indicators_of("1m"))
    bars = [forming(minute, minute + 1, close=Decimal(f"{100 + minute}.5"), volume=Decimal(7)) for minute in range(4)]
    states = [chosen.initial(1)]
    for each in bars:
        start = np.array([each.start], np.int64)
        amounts = ([float(getattr(each, name))] for name in ("open", "high", "low", "close", "volume", "notional"))
        states.append(chosen.step(states[-1], bars_of(*amounts, start), start))
    expected = [msgspec.json.decode(values_json(chosen.columns, chosen.values(state))[0]) for state in states[1:]]

    with redis.Redis.from_url(own.redis_url.get_secret_value()) as client, client.pubsub() as listener:
        listener.subscribe("bar:AAPL:1m")
        send(own, bars[:1])
        with relaying(own):
            wait_for(lambda: shown_values(own, 0) == expected[0])
            state_record(own, Memory("AAPL", "1m", bars[0].start, chosen.specs, chosen.to_bytes(states[1][0])))
            send(own, bars[1:2])
            wait_for(lambda: shown_values(own, 1) == expected[1])
            send(own, bars[2:3])
            wait_for(lambda: shown_values(own, 2) == expected[2])
        # Bars 1 and 2 are closed and not final, and their rows are read and committed: only Redis still has them.
        with relaying(own):
            send(own, bars[3:])
            wait_for(lambda: shown_values(own, 3) == expected[3])
            assert msgspec.json.decode(client.hget("indicators:AAPL:1m", "json")) == expected[3]
        messages = [message["data"] for message in iter(lambda: listener.get_message(timeout=1), None)]
        told = [msgspec.json.decode(data) for data in messages if isinstance(data, bytes)]
        assert {row["start"]: row["indicators"] for row in told} == {
            each.start: values for each, values in zip(bars, expected, strict=True)
        }
