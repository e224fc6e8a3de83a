"""The topics that the alerter follows, from the places that its database remembers."""

import time
from collections.abc import Mapping

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from alerts.values import ClosedBar, closed
from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import ANOMALIES, BARS
from core.anomalies.finding import Finding
from stores.alerts import Place
from stores.kafka import take
from stores.merging import Merge

BATCH = 5_000
TOGETHER_SECONDS = 0.1
ASK_SECONDS = 3.0
LOOK_SECONDS = 10.0
FIRST_LOOK_SECONDS = 2.0
_finding = msgspec.json.Decoder(Finding)
_log = structlog.get_logger("alerts")


class _Bar(msgspec.Struct):
    """A record of `bars`: amounts are decimal text, a price may be null."""

    symbol: str
    interval: str
    start: int
    end: int
    rev: int = 1
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None
    notional: float | None = None


_bar = msgspec.json.Decoder(_Bar, strict=False)


class Batch(msgspec.Struct):
    """What came, in the order of each partition, and what is to be read next."""

    bars: list[ClosedBar]
    findings: list[Finding]
    places: dict[Place, int]


class Feed:
    """Reads `bars` and, once there is such a topic, `anomalies`, in order of the ends of bars over all partitions.

    What waits because of the order (`stores.merging`) counts as not read.
    A partition without a place begins at its end: alerts are not about the time before there was an alerter. While the
    broker does not answer there is nothing to be had, and no error.
    """

    def __init__(self, settings: Settings, places: Mapping[Place, int]) -> None:
        self._bars, self._anomalies = settings.topic(BARS), settings.topic(ANOMALIES)
        self._consumer = Consumer(
            {
                **kafka_client(settings),
                "group.id": f"{self._bars}.alerts",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",  # of a place that is no more: retention has passed it
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        self._known = dict(places)
        self._merge: Merge[ClosedBar | Finding | None] = Merge()
        self._looked_at = float("-inf")

    @property
    def connected(self) -> bool:
        """Whether it knows what to read."""
        return bool(self._merge)

    @property
    def behind(self) -> bool:
        """Whether records wait that were there when they were last asked about."""
        return self._merge.behind

    def take(self, seconds: float) -> Batch:
        """What has come; waits for as long as nothing has. What comes together is taken together.

        The first batch of a partition has its place, even where nothing has come.
        """
        batch = Batch([], [], {})
        try:
            batch.places |= self._assign()
            if self._gather(seconds):
                self._merge.look_ahead(self._consumer, ASK_SECONDS)
        except KafkaException as error:
            _log.warning("topics cannot be read", error=error.args[0].str())
        if not self.connected:
            time.sleep(seconds)
        self._release(batch)
        return batch

    def close(self) -> None:
        self._consumer.close()

    def _assign(self) -> dict[Place, int]:
        """Follow partitions that are new, from their places, which are the answer. Raises KafkaException."""
        pause = LOOK_SECONDS if self.connected else FIRST_LOOK_SECONDS
        if time.monotonic() - self._looked_at < pause:
            return {}
        self._looked_at = time.monotonic()
        new = [place for place in self._partitions() if place not in self._merge]
        begun: dict[Place, int] = {}
        ends: dict[Place, int] = {}
        for place in new:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=ASK_SECONDS)
            # What was created while we look on is read whole.
            at = self._known.get(place, low if self.connected else high)
            begun[place] = at if low <= at <= high else low
            ends[place] = high
        for place, offset in begun.items():
            self._merge.begin(place, offset, ends[place])
        if begun:
            self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._merge.places.items()])
        return begun

    def _partitions(self) -> list[Place]:
        found = self._consumer.list_topics(timeout=ASK_SECONDS).topics
        topics = [name for name in (self._bars, self._anomalies) if name in found and found[name].error is None]
        if self._bars not in topics:
            return []
        return [(name, number) for name in topics for number in found[name].partitions]

    def _gather(self, seconds: float) -> int:
        """Put what has come into the queues; how many records that are. Partitions are written one after the other."""
        count = 0
        while found := take(self._consumer, TOGETHER_SECONDS if count else seconds, BATCH):
            for message in found:
                self._keep(message)
            count += len(found)
            if count >= BATCH:
                break
        return count

    def _keep(self, message: Message) -> None:
        """Put a record into the order."""
        topic, partition, offset = str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)
        record: ClosedBar | Finding | None = None
        try:
            value = message.value() or b""
            bar = topic == self._bars
            record = closed(msgspec.structs.asdict(_bar.decode(value))) if bar else _finding.decode(value)
        except msgspec.DecodeError as error:
            _log.error("not a record of ours", topic=topic, partition=partition, offset=offset, error=str(error))
        self._merge.put((topic, partition), offset, 0 if record is None else record.end, record)

    def _release(self, batch: Batch) -> None:
        for read in self._merge.ready():
            batch.places[read.place] = read.offset + 1
            if isinstance(read.record, ClosedBar):
                batch.bars.append(read.record)
            elif read.record is not None:
                batch.findings.append(read.record)
