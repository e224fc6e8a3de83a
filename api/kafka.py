"""What Kafka holds, and how far its readers are behind. The client blocks: it works in a thread, with a deadline.

The API needs no Kafka: the client is made at the first question, and a broker that is down is StoreUnavailable.
"""

import asyncio
import json
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from conf.settings import Settings
from conf.topics import BARS_LIVE, TICKS, TOPIC_CONFIG
from core.errors import StoreUnavailable

NAME = "kafka"
_ENDS: tuple[Any, Any] = (OffsetSpec.earliest(), OffsetSpec.latest())  # type: ignore[no-untyped-call]
TIMEOUT_SECONDS = 3.0
T = TypeVar("T")
Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Where a reader is: the next offset of each (topic, partition) it has read from; `as_of_us` is a checkpoint's."""

    name: str
    topic: str
    places: Mapping[int, int]
    source: Literal["group", "checkpoint"]
    as_of_us: int | None = None


@dataclass(frozen=True, slots=True)
class Offsets:
    """First and next offset of each partition of the topics there are."""

    first: Mapping[Place, int]
    end: Mapping[Place, int]

    def partitions(self, topic: str) -> list[int]:
        return sorted(number for name, number in self.end if name == topic)

    def lag(self, reader: Reader) -> dict[int, int]:
        """Records behind the end by partition. A partition it never read from counts from its first record."""
        lags = {}
        for number in self.partitions(reader.topic):
            first, end = self.first.get((reader.topic, number), 0), self.end[reader.topic, number]
            lags[number] = max(0, end - max(first, reader.places.get(number, first)))
        return lags


class KafkaOffsets:
    """One client for the whole process, made when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None

    async def read(self) -> tuple[Offsets, list[Reader]]:
        """Offsets of our topics, and the readers that are known. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(2 * TIMEOUT_SECONDS):
                return await asyncio.to_thread(self._read)
        except TimeoutError:
            raise StoreUnavailable(NAME, f"no answer within {2 * TIMEOUT_SECONDS:g} s") from None

    def _read(self) -> tuple[Offsets, list[Reader]]:
        try:
            admin = self._client()
            known = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
            ours = [self._settings.topic(name) for name in TOPIC_CONFIG]
            places = [(name, number) for name in ours if name in known for number in known[name].partitions]
            first, end = (_offsets(admin, places, each) for each in _ENDS)
            offsets = Offsets(first, end)
            relay = self._relay(admin, offsets)
        except KafkaException as error:
            raise StoreUnavailable(NAME, error.args[0].str()) from None
        return offsets, [relay, *checkpoints(self._settings.checkpoint_path, self._settings.topic(TICKS))]

    def _relay(self, admin: AdminClient, offsets: Offsets) -> Reader:
        topic = self._settings.topic(BARS_LIVE)
        asked = [TopicPartition(topic, number) for number in offsets.partitions(topic)]
        if not asked:
            return Reader("relay", topic, {}, "group")
        request = ConsumerGroupTopicPartitions(f"{topic}.relay", asked)
        (future,) = admin.list_consumer_group_offsets([request], request_timeout=TIMEOUT_SECONDS).values()
        found = _result(future).topic_partitions
        return Reader("relay", topic, {each.partition: each.offset for each in found if each.offset >= 0}, "group")

    def _client(self) -> AdminClient:
        with self._lock:
            if self._admin is None:
                self._admin = AdminClient(
                    {
                        "bootstrap.servers": self._settings.kafka_bootstrap,
                        "socket.timeout.ms": int(TIMEOUT_SECONDS * 1000),
                        "log_level": 0,
                    }
                )
            return self._admin


def checkpoints(folder: Path, topic: str) -> list[Reader]:
    """Where the Spark queries are, by the last finished batch in their checkpoints; none where the folder is not here.

    A query in real-time mode finishes a batch at each of its checkpoints, so it is further than this says.
    """
    readers = [_checkpoint(path, topic) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    return [reader for reader in readers if reader is not None]


def _checkpoint(query: Path, topic: str) -> Reader | None:
    """Spark's offset log: a line of version, one of metadata, then a line for each source."""
    try:
        batch = max(int(path.name) for path in (query / "commits").iterdir() if path.name.isdigit())
        log = query / "offsets" / str(batch)
        places: dict[int, int] = {}
        for line in log.read_text().splitlines()[2:]:
            places |= {int(number): int(offset) for number, offset in json.loads(line).get(topic, {}).items()}
        as_of_us = log.stat().st_mtime_ns // 1000
    except (OSError, ValueError, AttributeError):  # no batch yet, or Spark is tidying up
        return None
    return Reader(query.name, topic, places, "checkpoint", as_of_us) if places else None


def _offsets(admin: AdminClient, places: list[Place], spec: Any) -> dict[Place, int]:
    asked = {TopicPartition(*place): spec for place in places}
    futures: dict[Any, Future[Any]] = admin.list_offsets(asked, request_timeout=TIMEOUT_SECONDS) if asked else {}
    return {(place.topic, place.partition): _result(future).offset for place, future in futures.items()}


def _result(future: "Future[Any]") -> Any:
    try:
        return future.result(TIMEOUT_SECONDS)
    except TimeoutError:
        raise StoreUnavailable(NAME, f"no answer within {TIMEOUT_SECONDS:g} s") from None
