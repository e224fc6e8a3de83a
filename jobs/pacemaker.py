"""Heartbeats for partitions that nobody feeds, so that one idle partition does not hold every bar open.

The final query's watermark is the least of its partitions'. Our producers beat on every partition each second; a
foreign producer may not. A partition that stood still for `IDLE_SECONDS` behind another's event time is sent a
heartbeat at the newest of them, and again whenever they go on, until it gets ticks of its own. Only the time spent
behind counts: after an outage that all partitions shared, none is carried past its own ticks before they come.
"""

import contextlib
import threading
import time
from collections.abc import Sequence

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import TICKS
from core.clock import Clock
from core.errors import InvalidTick, TickstreamError
from jobs.tick_json import read
from producers.heartbeat import heartbeat
from producers.publish import Publisher, encode
from producers.topics import partition_count

IDLE_SECONDS = 2.0
LOOK_SECONDS = 0.5
COUNT_SECONDS = 10.0
READ_SECONDS = 5.0
DELIVERY_SECONDS = 10.0
SOURCE = "pacemaker"
_TAIL_RECORDS = 20
_log = structlog.get_logger("jobs.pacemaker")


class Pacemaker:
    """Watches the end of every partition of `ticks`; publishes nothing while all of them move."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._topic = settings.topic(TICKS)
        self._ends: dict[int, int] = {}
        self._behind_since: dict[int, float] = {}
        self._newest: dict[int, int] = {}
        self._seq = 0
        self._counted = (-COUNT_SECONDS, 0)
        self._reader: Consumer | None = None
        self._publisher: Publisher | None = None
        """Kept: a broker remembers for a day each one that ever wrote to a partition."""
        self._lock = threading.Lock()
        """Held by whoever reads; two threads do."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch from a thread of its own until `stop`."""
        self._thread = threading.Thread(target=self._run, name="pacemaker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10)
        with self._lock:
            self._close()

    def reach(self) -> int | None:
        """The event time, in microseconds, that every partition has come to; None where one has no readable tick.

        Raises StoreUnavailable or KafkaException when the broker does not answer.
        """
        with self._lock:
            self._look()
        known = [self._newest.get(number) for number in self._ends]
        return None if None in known or not known else min(known)

    def align(self) -> None:
        """Once: bring every partition's event time up to the newest, for a run over what the topic holds."""
        with self._lock:
            try:
                self._look()
                self._beat(set(self._ends))
            finally:
                self._close()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                with self._lock:
                    self._look()
                    self._beat(self._idle(time.monotonic()))
            except (KafkaException, TickstreamError) as error:
                _log.warning("cannot watch the partitions", error=str(error))
                self._stopping.wait(1)

    def _look(self) -> None:
        """Read what is new at the end of each partition."""
        consumer = self._consumer()
        for number in range(self._partitions()):
            first, end = consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=10)
            if self._ends.get(number) == end:
                continue
            known = self._ends.get(number, 0)
            if self._read_tail(consumer, number, max(first, known, end - _TAIL_RECORDS), end):
                self._behind_since.pop(number, None)
            self._ends[number] = end

    def _idle(self, now: float) -> set[int]:
        """The partitions that have been behind for too long; one that we carry stays on this list."""
        newest = max(self._newest.values(), default=0)
        behind = {number for number in self._ends if self._newest.get(number, 0) < newest}
        return {number for number in behind if now - self._behind_since.setdefault(number, now) >= IDLE_SECONDS}

    def _read_tail(self, consumer: Consumer, number: int, first: int, end: int) -> bool:
        """Note the event times of a partition's last records; whether any of them is somebody else's tick."""
        if first >= end:
            return False
        consumer.assign([TopicPartition(self._topic, number, first)])
        foreign = False
        deadline = time.monotonic() + READ_SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(0.2)
            error = None if message is None else message.error()
            # By its end too: the mark of a transaction takes the last offset, and is never seen.
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                break
            if message is None or error is not None:
                continue
            foreign = self._note(number, message) or foreign
            if message.offset() >= end - 1:
                break
        consumer.unassign()
        return foreign

    def _note(self, number: int, message: Message) -> bool:
        """Note the event time of what is a tick to the queries; what they refuse does not move their watermark."""
        now_us, ahead_us = message.timestamp()[1] * 1000, self._settings.future_tolerance_us
        known = self._settings.known_symbols
        try:
            tick = read(message.value(), now_us=now_us, future_tolerance_us=ahead_us, known_symbols=known)
        except InvalidTick:
            return False
        self._newest[number] = max(self._newest.get(number, 0), tick.event_us)
        return tick.source != SOURCE

    def _beat(self, partitions: set[int]) -> None:
        newest = max(self._newest.values(), default=0)
        behind = {number for number in partitions if self._newest.get(number, 0) < newest}
        if self._publisher is not None:
            self._publisher.poll()
        if not behind:
            return
        try:
            self._send(newest, sorted(behind))
        except TickstreamError:
            self._drop_publisher()  # one that has failed may do so for ever
            raise
        self._newest |= dict.fromkeys(behind, newest)

    def _send(self, event_us: int, partitions: Sequence[int]) -> None:
        """A heartbeat to each of these partitions; the broker has them when this returns."""
        if self._publisher is None:
            self._publisher = Publisher(self._settings, delivery_timeout_seconds=DELIVERY_SECONDS)
        for number in partitions:
            tick = heartbeat(SOURCE, event_us, self._clock.now_us(), self._seq)
            self._seq += 1
            self._publisher.send_raw(tick.symbol.encode(), encode(tick), partition=number)
            self._publisher.heartbeats += 1
        self._publisher.flush()

    def _drop_publisher(self) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            with contextlib.suppress(TickstreamError):
                publisher.close()

    def _partitions(self) -> int:
        """How many partitions there are; asks the broker now and then."""
        at, count = self._counted
        if time.monotonic() - at >= COUNT_SECONDS:
            before, count = count, partition_count(self._settings, self._topic)
            self._counted = (time.monotonic(), count)
            if 0 < before < count:
                _log.error("partitions were added, which live and final do not read: see docs/upgrading.md",
                           topic=self._topic, partitions=count, before=before)  # fmt: skip
        return count

    def _consumer(self) -> Consumer:
        if self._reader is None:
            self._reader = Consumer(
                {
                    **kafka_client(self._settings),
                    "group.id": "tickstream-pacemaker",
                    "enable.auto.commit": False,
                    # Nobody reads on: a fetch that waits at the broker would hold up the next look.
                    "fetch.wait.max.ms": 10,
                    # As Spark reads.
                    "isolation.level": "read_uncommitted",
                    "enable.partition.eof": True,
                    "log_level": 0,
                }
            )
        return self._reader

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._drop_publisher()
