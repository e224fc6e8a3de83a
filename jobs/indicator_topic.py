"""The records of topic `indicators`: the values of each final bar, and the memory that the next bar goes on from."""

import time
from collections.abc import Iterator

import msgspec
import pyarrow as pa
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import INDICATORS
from producers.topics import partition_count

STATE_HEADER = "state"
READ_SECONDS = 60.0
LOOK_SECONDS = 0.05
_BATCH = 1_000
_log = structlog.get_logger("jobs.indicators")


class Values(msgspec.Struct, frozen=True):
    """What is known of a key after one of its final bars. `start` is in microseconds."""

    symbol: str
    interval: str
    start: int
    rev: int
    specs: str
    ready: bool
    stable: bool
    values: msgspec.Raw


class Memory(msgspec.Struct, frozen=True):
    """The state of a key's indicators after the final bar that starts at `start` (microseconds)."""

    symbol: str
    interval: str
    start: int
    specs: str
    state: bytes


_decoder = msgspec.json.Decoder(Values)


def records(indicators: pa.Table, states: bool = True) -> Iterator[tuple[bytes, bytes, list[tuple[str, bytes]] | None]]:
    """Key, value and headers for a batch of `stores.schema.INDICATOR_SCHEMA`, in order of time.

    A record with a state has the key `symbol|interval`, so that compaction leaves the newest; any other, and all
    without `states`, `symbol|interval|start`.
    """
    at = indicators.schema.get_field_index("start")
    plain = indicators.set_column(at, "start", indicators["start"].cast(pa.int64())).sort_by("start")
    for row in plain.to_pylist():
        state, text = row.pop("state"), row.pop("values")
        del row["processed_us"]
        value = msgspec.json.encode(Values(**row, values=msgspec.Raw(text.encode())))
        key = f"{row['symbol']}|{row['interval']}"
        if state is None or not states:
            yield f"{key}|{row['start']}".encode(), value, None
        else:
            yield key.encode(), value, [(STATE_HEADER, state)]


def memory(message: Message) -> Memory | None:
    """The state that a record carries. Raises msgspec.DecodeError when the record is not one of ours."""
    state = dict(message.headers() or ()).get(STATE_HEADER)
    if state is None:
        return None
    value = _decoder.decode(message.value() or b"")
    return Memory(value.symbol, value.interval, value.start, value.specs, state)


class FinalStates:
    """Follows the states of the topic, from its beginning at every start. Raises StoreUnavailable without a broker."""

    def __init__(self, settings: Settings) -> None:
        topic = settings.topic(INDICATORS)
        count = partition_count(settings, topic)
        self._consumer = Consumer(
            {
                **kafka_client(settings),
                "group.id": f"{topic}.states",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        self._behind = set(range(count))
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(count)])
        self._looked_at = 0.0

    def read_all(self) -> Iterator[Memory]:
        """What the topic holds now. Gives up with a warning when the broker has been silent for a minute."""
        deadline = time.monotonic() + READ_SECONDS
        while self._behind:
            found = list(self._taken(0.1))
            yield from found
            if found:
                deadline = time.monotonic() + READ_SECONDS
            elif time.monotonic() > deadline:
                _log.warning("cannot read the states of final bars; they will follow", topic=INDICATORS)
                return

    def news(self) -> Iterator[Memory]:
        """What has come since; looks every 50 ms at most, and does not wait."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = time.monotonic()
            yield from self._taken(0)

    def close(self) -> None:
        self._consumer.close()

    def _taken(self, seconds: float) -> Iterator[Memory]:
        for message in self._consumer.consume(_BATCH, seconds):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    self._behind.discard(message.partition())
                continue
            try:
                found = memory(message)
            except msgspec.DecodeError as problem:
                _log.error("not a state", partition=message.partition(), offset=message.offset(), error=str(problem))
                continue
            if found is not None:
                yield found
