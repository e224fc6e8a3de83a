"""What Kafka holds, and how far its readers are behind. The client blocks: it works in a thread, with a deadline.

The API needs no Kafka: the client is made at the first question, and a broker that is down is StoreUnavailable. For a
moment after it did not answer it is not asked again.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from api.dead_letters import DeadLetters, Peek
from api.readers import Offsets, Place, Reader, checkpoints
from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import BARS_LIVE, DEAD, TICKS, TOPIC_CONFIG
from core.errors import StoreUnavailable

NAME = "kafka"
TIMEOUT_SECONDS = 3.0
REST_SECONDS = 2.0
_EARLIEST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_NEWEST: Any = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where every reader stands; `overdue` counts, by reader, the records older than it may take that it has left."""

    offsets: Offsets
    readers: list[Reader]
    overdue: Mapping[str, int]


class KafkaOffsets:
    """One client for the whole process, made when it is first needed. Every call raises StoreUnavailable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._down_until = 0.0
        self._stamps: dict[Place, int] = {}
        self._relay_at: tuple[dict[int, int], int] = ({}, 0)
        self._dead = DeadLetters(settings)

    async def read(self) -> tuple[Offsets, list[Reader]]:
        """Offsets of our topics, and the readers that are known."""
        return await self._asked(self._read)

    async def standing(self, allowed: Callable[[str], float], now_us: int) -> Standing:
        """The same, held against the seconds that a reader of a name may take for a record."""
        return await self._asked(lambda: self._standing(allowed, now_us))

    async def dead_letters(self, since_us: int) -> Peek:
        """The newest refused records, and how many came since a moment."""
        return await self._asked(lambda: self._dead_letters(since_us))

    async def ping(self) -> None:
        await self._asked(lambda: self._client().list_topics(timeout=TIMEOUT_SECONDS))

    async def _asked(self, question: Callable[[], T]) -> T:
        if time.monotonic() < self._down_until:
            raise StoreUnavailable(NAME, "did not answer a moment ago", REST_SECONDS)
        try:
            async with asyncio.timeout(2 * TIMEOUT_SECONDS):
                return await asyncio.to_thread(_translated, question)
        except TimeoutError:
            self._rest()
            raise StoreUnavailable(NAME, f"no answer within {2 * TIMEOUT_SECONDS:g} s") from None
        except StoreUnavailable:
            self._rest()
            raise

    def _rest(self) -> None:
        """Ask nothing for a moment, and then with a new client: one that lost its broker may not find it again."""
        self._down_until = time.monotonic() + REST_SECONDS
        with self._lock:
            self._admin = None

    def _read(self) -> tuple[Offsets, list[Reader]]:
        admin, places = self._client(), self._places()
        first, end = (_offsets(admin, places, each) for each in (_EARLIEST, _LATEST))
        offsets = Offsets(first, end, self._newest(places))
        relay = self._relay(admin, offsets)
        return offsets, [relay, *checkpoints(self._settings.checkpoint_path, self._settings.topic(TICKS))]

    def _standing(self, allowed: Callable[[str], float], now_us: int) -> Standing:
        offsets, readers = self._read()
        overdue = {}
        for reader in readers:
            places = [(reader.topic, number) for number in offsets.partitions(reader.topic)]
            then = self._then(places, offsets, now_us - int(allowed(reader.name) * 1_000_000))
            overdue[reader.name] = offsets.overdue(reader, then)
        return Standing(offsets, readers, overdue)

    def _dead_letters(self, since_us: int) -> Peek:
        places = self._places(DEAD)
        admin = self._client()
        first, end = (_offsets(admin, places, each) for each in (_EARLIEST, _LATEST))
        offsets = Offsets(first, end)
        return self._dead.peek(offsets, self._then(places, offsets, since_us))

    def _places(self, *names: str) -> list[Place]:
        known = self._client().list_topics(timeout=TIMEOUT_SECONDS).topics
        ours = [self._settings.topic(name) for name in names or TOPIC_CONFIG]
        return [(name, number) for name in ours if name in known for number in known[name].partitions]

    def _then(self, places: list[Place], offsets: Offsets, at_us: int) -> dict[Place, int]:
        """The offset of the first record that is not older than a moment; the end where there is none."""
        spec: Any = OffsetSpec.for_timestamp(max(0, at_us // 1000))
        found = _offsets(self._client(), places, spec)
        return {place: offset if offset >= 0 else offsets.end[place] for place, offset in found.items()}

    def _newest(self, places: list[Place]) -> dict[str, int]:
        """The newest stamp of each topic, in us. A broker that is just writing may not tell: then the last one told."""
        self._stamps |= {place: ms for place, ms in _stamps(self._client(), places).items() if ms >= 0}
        newest: dict[str, int] = {}
        for place in places:
            if place in self._stamps:
                newest[place[0]] = max(newest.get(place[0], 0), self._stamps[place] * 1000)
        return newest

    def _relay(self, admin: AdminClient, offsets: Offsets) -> Reader:
        topic = self._settings.topic(BARS_LIVE)
        asked = [TopicPartition(topic, number) for number in offsets.partitions(topic)]
        if not asked:
            return Reader("relay", topic, {}, "group")
        request = ConsumerGroupTopicPartitions(f"{topic}.relay", asked)
        (future,) = admin.list_consumer_group_offsets([request], request_timeout=TIMEOUT_SECONDS).values()
        found = _result(future).topic_partitions
        places = {each.partition: each.offset for each in found if each.offset >= 0}
        if places != self._relay_at[0]:
            self._relay_at = (places, time.time_ns() // 1000)
        return Reader("relay", topic, places, "group", self._relay_at[1] if places else None)

    def _client(self) -> AdminClient:
        with self._lock:
            if self._admin is None:
                self._admin = AdminClient(
                    {
                        **kafka_client(self._settings),
                        "socket.timeout.ms": int(TIMEOUT_SECONDS * 1000),
                        "log_level": 0,
                    }
                )
            return self._admin


def _translated(question: Callable[[], T]) -> T:
    try:
        return question()
    except KafkaException as error:
        raise StoreUnavailable(NAME, error.args[0].str()) from None


def _offsets(admin: AdminClient, places: list[Place], spec: Any) -> dict[Place, int]:
    return {place: found.offset for place, found in _listed(admin, places, spec).items()}


def _stamps(admin: AdminClient, places: list[Place]) -> dict[Place, int]:
    return {place: found.timestamp for place, found in _listed(admin, places, _NEWEST).items()}


def _listed(admin: AdminClient, places: list[Place], spec: Any) -> dict[Place, Any]:
    asked = {TopicPartition(*place): spec for place in places}
    futures: dict[Any, Future[Any]] = admin.list_offsets(asked, request_timeout=TIMEOUT_SECONDS) if asked else {}
    return {(place.topic, place.partition): _result(future) for place, future in futures.items()}


def _result(future: "Future[Any]") -> Any:
    try:
        return future.result(TIMEOUT_SECONDS)
    except TimeoutError:
        raise StoreUnavailable(NAME, f"no answer within {TIMEOUT_SECONDS:g} s") from None
