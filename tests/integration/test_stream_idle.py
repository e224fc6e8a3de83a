"""Quiet markets: the last bar closes all the same, and days of ticks leave no state behind."""

import itertools
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest
from confluent_kafka import Producer

from conf.settings import Settings
from conf.topics import TICKS
from core.clock import SystemClock
from core.records import Tick
from jobs.pace import Pace
from jobs.pacemaker import IDLE_SECONDS, SOURCE, Pacemaker
from jobs.queries import start
from jobs.sinks import Sinks
from local.kafka import Kafka
from producers.heartbeat import Heartbeat
from producers.publish import Publisher, encode
from stores.memory import MemoryStore
from tests.factories import MONDAY_US, tick
from tests.integration.test_one_definition import START_US
from tests.streaming import close_all, consume, produce, unique

pytestmark = pytest.mark.spark

MINUTE_US = 60_000_000
LATENESS_SECONDS = 3


class MarketClock:
    """A wall clock put back by an hour and so much that a minute ends when a test wants it to."""

    def __init__(self) -> None:
        self._behind_us = 60 * MINUTE_US

    def now_us(self) -> int:
        return time.time_ns() // 1000 - self._behind_us

    def edge_in(self, seconds: int) -> int:
        """Set the clock back by less than a minute; the end of the minute that will come in `seconds`."""
        self._behind_us += self.now_us() % MINUTE_US + seconds * 1_000_000
        return self.now_us() + seconds * 1_000_000


class Arrivals(MemoryStore):
    """The memory store, with the clock's time at which each 1-minute bar came, by its start."""

    def __init__(self, clock: MarketClock) -> None:
        super().__init__()
        self._clock = clock
        self.at: dict[tuple[str, int], int] = {}

    def write_bars(self, bars, indicators=None) -> None:
        super().write_bars(bars, indicators)
        for row in bars.to_pylist():
            if row["interval"] == "1m":
                start_us = int(row["start"].timestamp()) * 1_000_000
                self.at.setdefault((row["symbol"], start_us), self._clock.now_us())


class Rests(Pace):
    """The pace, the watermarks that it was told of, and how long each micro-batch took between rests, in seconds."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.between: list[float] = []
        self.told: list[int | None] = []
        self._since = time.monotonic()

    def rest(self, watermark_us: int | None) -> None:
        self.between.append(time.monotonic() - self._since)
        self.told.append(watermark_us)
        super().rest(watermark_us)
        self._since = time.monotonic()


@contextmanager
def final_running(spark, settings: Settings, store: MemoryStore) -> Iterator[Rests]:
    """The final query as it runs in production, with its pacemaker and its pace, past its slow first batch."""
    sinks = Sinks(settings, bar_sinks=[store])
    sinks.setup()
    pacemaker = Pacemaker(settings, SystemClock())
    pace = Rests(pacemaker.reach, settings)
    (query,) = start("final", spark, settings, sinks, SystemClock(), pace=pace)
    try:
        close_all(settings, START_US)
        wait_for(lambda: (query.lastProgress or {}).get("numInputRows", 0) > 0 or query.exception())
        pacemaker.start()
        yield pace
        assert query.isActive
    finally:
        pace.stop()
        pacemaker.stop()
        query.stop()
        sinks.close()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_last_bar_closes_with_heartbeats_and_without(spark, settings: Settings) -> None:
    settings = settings.model_copy(update={"lateness_seconds": LATENESS_SECONDS})
    clock = MarketClock()
    store = Arrivals(clock)
    with final_running(spark, settings, store) as pace:
        batches = len(pace.between)
        edge_us = clock.edge_in(5) // MINUTE_US * MINUTE_US
        produce(settings, [tick(symbol="IDLE", event_us=clock.now_us() - 1_000_000, received_us=clock.now_us())])
        beat_until(settings, clock, lambda: store.at)
        # A foreign producer that never beats and knows one partition: the other one would hold its bars for ever.
        feed_until(settings, edge_us + 10 * MINUTE_US, lambda: len(store.at) > 1)
        # The batch that wrote the bar says so itself; its watermark would be known only after the next one.
        assert edge_us in pace.told
    slowest = max(pace.between[batches:])
    waited = (store.at["IDLE", edge_us - MINUTE_US] - edge_us) / 1_000_000
    # Within lateness + 2 s where a batch takes a third of a second: the wait for a beat, the batch that is under way,
    # the one that reads the beat and the one that writes the bar. On a busy machine batches take what they take.
    assert LATENESS_SECONDS - 1 <= waited <= LATENESS_SECONDS + 1 + 3 * max(slowest, 1 / 3)
    assert {("IDLE", edge_us - MINUTE_US), ("ALONE", edge_us + 10 * MINUTE_US)} <= set(store.at)


def beat_until(settings: Settings, clock: MarketClock, condition: Callable[[], object], seconds: float = 60) -> None:
    """Nothing but heartbeats, one a second on each partition, at the market's time."""
    deadline = time.monotonic() + seconds
    with Publisher(settings) as publisher:
        beats = Heartbeat(publisher, "idle")
        while not condition():
            assert time.monotonic() < deadline
            beats.beat_if_due(clock.now_us(), clock.now_us())
            publisher.poll(0.05)


def feed_until(settings: Settings, first_us: int, condition: Callable[[], object], seconds: float = 60) -> None:
    """Trades on partition 0 alone, five seconds of market time apart."""
    deadline = time.monotonic() + seconds
    numbers = itertools.count()
    with Publisher(settings) as publisher:
        while not condition():
            assert time.monotonic() < deadline
            n = next(numbers)
            trade = tick(symbol="ALONE", event_us=first_us + n * 5_000_000, seq=n)
            publisher.send_raw(b"ALONE", encode(trade), partition=0)
            publisher.poll(0.3)


def test_partition_that_paused_with_the_others_is_not_carried_past_its_ticks(settings: Settings) -> None:
    pacemaker = Pacemaker(settings, SystemClock())
    produce(settings, [(0, tick(seq=1)), (1, tick(seq=2))])
    pacemaker.start()
    try:
        pause_us = int(2 * IDLE_SECONDS * 1_000_000)
        time.sleep(2 * IDLE_SECONDS)  # the outage that both share
        produce(settings, [(0, tick(seq=3, event_us=MONDAY_US + pause_us))])
        time.sleep(IDLE_SECONDS / 2)  # partition 1 comes back a little later
        produce(settings, [(1, tick(seq=4, event_us=MONDAY_US + pause_us // 2))])
        assert carried(settings) == []
        # Then it stays behind for good.
        wait_for(lambda: carried(settings) == [(1, MONDAY_US + pause_us)])
        produce(settings, [(0, tick(seq=5, event_us=MONDAY_US + 2 * pause_us))])
        wait_for(lambda: (1, MONDAY_US + 2 * pause_us) in carried(settings))
    finally:
        pacemaker.stop()


def test_partition_of_refused_records_alone_holds_no_bar_open(settings: Settings) -> None:
    strict = settings.model_copy(update={"symbols": "OK"})
    pacemaker = Pacemaker(strict, SystemClock())
    numbers = itertools.count(1)

    def sent() -> bool:
        n = next(numbers)
        good = tick(symbol="OK", seq=n, event_us=MONDAY_US + n)
        refused = [msgspec.structs.replace(good, **wrong) for wrong in ({"symbol": "NOPE"}, {"price": "-1"})]
        produce(strict, [(0, good), *((1, each) for each in refused)])
        return any(partition == 1 for partition, _ in carried(strict))

    pacemaker.start()
    try:
        wait_for(sent)
        assert pacemaker.reach() > MONDAY_US
    finally:
        pacemaker.stop()


def test_mark_of_a_transaction_is_no_record_to_wait_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.pacemaker.READ_SECONDS", 120.0)
    producer = Producer(
        {"bootstrap.servers": settings.kafka_bootstrap, "transactional.id": unique("feed"), "log_level": 0}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(settings.ticks_partitions):
        producer.produce(settings.topic(TICKS), encode(tick(seq=number)), b"AAPL", partition=number)
    producer.commit_transaction()
    pacemaker = Pacemaker(settings, SystemClock())
    found: list[int | None] = []
    looking = threading.Thread(target=lambda: found.append(pacemaker.reach()), daemon=True)
    looking.start()
    looking.join(60)
    assert found == [MONDAY_US]
    # Spark reads what is not committed yet, and its watermark follows.
    producer.begin_transaction()
    for number in range(settings.ticks_partitions):
        producer.produce(settings.topic(TICKS), encode(tick(event_us=MONDAY_US + 1)), b"AAPL", partition=number)
    producer.flush()
    wait_for(lambda: pacemaker.reach() == MONDAY_US + 1)
    producer.abort_transaction()
    pacemaker.stop()


def test_broker_gets_to_know_one_pacemaker_however_often_it_beats(settings: Settings, kafka_server: Kafka) -> None:
    pacemaker = Pacemaker(settings, SystemClock())
    produce(settings, [(0, tick(seq=1))])
    pacemaker.start()
    try:
        for n in range(1, 4):
            wait_for(lambda n=n: len(carried(settings)) == n)
            produce(settings, [(0, tick(seq=n + 1, event_us=MONDAY_US + n))])
        log = kafka_server.folder / "logs" / f"{settings.topic(TICKS)}-1" / f"{0:020}.log"
        assert len(producer_ids(log.read_bytes())) == 1
    finally:
        pacemaker.stop()


def producer_ids(log: bytes) -> set[int]:
    """The ids that the broker gave to who wrote a segment: a field of each batch's head."""
    found, at = set(), 0
    while at < len(log):
        (length,) = struct.unpack_from(">i", log, at + 8)
        found.add(struct.unpack_from(">q", log, at + 43)[0])
        at += 12 + length
    return found


def carried(settings: Settings) -> list[tuple[int, int]]:
    """Partition and event time of each of the pacemaker's heartbeats."""
    ticks = [(record.partition, msgspec.json.decode(record.value, type=Tick)) for record in consume(settings, TICKS)]
    return [(partition, tick.event_us) for partition, tick in ticks if tick.source == SOURCE]


def sparse_days(days: int) -> list[Tick]:
    """Three symbols, each a tick a minute, day and night."""
    return [
        tick(symbol=f"S{n % 3}", event_us=START_US + n * MINUTE_US // 3, seq=n, received_us=START_US)
        for n in range(3 * 24 * 60 * days)
    ]


def test_state_stays_bounded_over_days(spark, settings: Settings) -> None:
    settings = settings.model_copy(update={"max_ticks_per_batch": 1000})
    ticks = sparse_days(2)
    produce(settings, [(tick.seq % 2, tick) for tick in ticks])
    close_all(settings, ticks[-1].event_us + 60 * MINUTE_US)
    store = MemoryStore()
    progress = progress_of_final(spark, settings, store)
    held = [sum(operator["numRowsTotal"] for operator in batch["stateOperators"]) for batch in progress]
    assert len(progress) > 8 and max(held) > 0
    # A batch adds its ticks, once as identities and once or less as bars; the next one forgets them.
    assert max(held) <= 2.5 * settings.max_ticks_per_batch < len(ticks)
    assert held[-1] <= 2 + 3  # the closing heartbeats, and their symbol's forming bars
    counts = Counter(store.bars["interval"].to_pylist())
    assert counts == {"1m": len(ticks), "5m": len(ticks) / 5, "15m": len(ticks) / 15}


def progress_of_final(spark, settings: Settings, store: MemoryStore) -> list[dict]:
    """Run the final query over what is there, with state rows counted, which production does not pay for."""
    name = "spark.sql.streaming.stateStore.rocksdb.trackTotalNumberOfRows"
    before = spark.conf.get(name)
    spark.conf.set(name, "true")
    sinks = Sinks(settings, bar_sinks=[store])
    sinks.setup()
    try:
        (query,) = start("final", spark, settings, sinks, SystemClock(), available_now=True)
        query.awaitTermination()
    finally:
        spark.conf.set(name, before)
        sinks.close()
    return query.recentProgress
