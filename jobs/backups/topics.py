"""Records of topics as files, and back: what is in Kafka and nowhere else."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
import zstandard
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from conf.kafka import kafka_client
from conf.settings import Settings
from core.errors import InputError, StoreUnavailable
from jobs.sinks import deliver
from stores.kafka import take

ASK_SECONDS = 10.0
SILENT_SECONDS = 30.0
BATCH = 10_000
_LENGTH_BYTES = 4


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One record of a topic, where it stood and when the broker took it (epoch milliseconds)."""

    partition: int
    offset: int
    stamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class Topics:
    """A reader that commits nothing. Every call raises StoreUnavailable when the broker does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = Consumer(
            {
                **kafka_client(settings),
                "group.id": f"{settings.topic_prefix}backup",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )

    def bounds(self, topic: str) -> dict[int, tuple[int, int]]:
        """By partition the first offset that is there and the one after the last; empty where there is no topic."""
        name = self._settings.topic(topic)
        try:
            known = self._consumer.list_topics(timeout=ASK_SECONDS).topics
            if name not in known:
                return {}
            return {
                number: self._consumer.get_watermark_offsets(TopicPartition(name, number), timeout=ASK_SECONDS)
                for number in known[name].partitions
            }
        except KafkaException as error:
            raise StoreUnavailable("kafka", error.args[0].str()) from None

    def read(self, topic: str, first: Mapping[int, int], end: Mapping[int, int]) -> Iterator[Record]:
        """The records of `[first, end)` of each partition, in the order of each."""
        left = {number: at for number, at in end.items() if first[number] < at}
        name = self._settings.topic(topic)
        self._consumer.assign([TopicPartition(name, number, first[number]) for number in left])
        heard = time.monotonic()
        while left:
            messages = take(self._consumer, 1.0, BATCH)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENT_SECONDS:
                raise StoreUnavailable("kafka", f"no records of {name} within {SILENT_SECONDS:.0f} s")
            for message in messages:
                record = _record(message)
                if record.offset < end[record.partition]:
                    yield record
            self._drop_finished(name, left)

    def close(self) -> None:
        self._consumer.close()

    def _drop_finished(self, name: str, left: dict[int, int]) -> None:
        # By position, not by the last record: offsets that compaction or a transaction took are never seen.
        for place in self._consumer.position([TopicPartition(name, number) for number in left]):
            if place.offset >= left[place.partition]:
                del left[place.partition]


def write(path: Path, records: Iterable[Record], progress: Callable[[int], object]) -> int:
    """Records to a new file; how many there were."""
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file, closefd=False) as packed:
        for record in records:
            data = _encoder.encode(record)
            packed.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
            progress(len(data))
            count += 1
        packed.flush(zstandard.FLUSH_FRAME)
        os.fsync(file.fileno())
    return count


def read_file(path: Path) -> Iterator[Record]:
    """The records of a file. Raises InputError when it is cut short."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
        while length := _exactly(plain, _LENGTH_BYTES, path):
            yield _decoder.decode(_exactly(plain, int.from_bytes(length, "big"), path))


def send(settings: Settings, topic: str, records: Iterable[Record]) -> int:
    """Records to a topic by their keys, in order; how many. Raises StoreUnavailable and PublishError."""
    producer = Producer(
        {
            **kafka_client(settings),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "partitioner": "murmur2_random",  # as producers.publish
            "log_level": 0,
        }
    )
    name, count = settings.topic(topic), 0
    batch = []
    for record in records:
        batch.append((name, record.key, record.value, record.headers or None))
        if len(batch) == BATCH:
            deliver(producer, batch, SILENT_SECONDS)
            count, batch = count + len(batch), []
    deliver(producer, batch, SILENT_SECONDS)
    return count + len(batch)


def _record(message: Message) -> Record:
    headers = [(name, value if value is None else bytes(value)) for name, value in message.headers() or []]
    place = int(message.partition() or 0), int(message.offset() or 0), int(message.timestamp()[1])
    return Record(*place, message.key(), message.value(), headers)


def _exactly(plain: zstandard.ZstdDecompressionReader, size: int, path: Path) -> bytes:
    data = b""
    while len(data) < size and (more := plain.read(size - len(data))):
        data += more
    if data and len(data) < size:
        raise InputError(f"{path} ends within a record")
    return data
