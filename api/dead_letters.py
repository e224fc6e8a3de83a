"""A look at the tail of `ticks.dead`, without a consumer group: nothing is committed, nobody's place moves."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from api.readers import Offsets, Place
from conf.kafka import kafka_client
from conf.settings import Settings

MOST = 100
PAYLOAD_CHARACTERS = 200
PEEK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record. `at_us`: when it was refused; `payload`: its beginning, as text."""

    at_us: int
    reason: str
    detail: str
    stage: str
    symbol: str
    payload: str


@dataclass(frozen=True, slots=True)
class Peek:
    """`records` that are kept, how many of them came `recent`ly, and the newest of them, at most MOST, newest first."""

    records: int
    recent: int
    letters: list[DeadLetter]

    @property
    def reasons(self) -> dict[str, int]:
        """How many of the letters there are by reason, the most frequent first."""
        return dict(Counter(letter.reason for letter in self.letters).most_common())


class DeadLetters:
    """Reads the newest records of the topic again only when there are others than the last time. Blocks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen: tuple[dict[Place, int], list[DeadLetter]] = ({}, [])

    def peek(self, offsets: Offsets, since: Mapping[Place, int]) -> Peek:
        """What is there now; `since` has the first offsets that count as recent. Raises KafkaException."""
        end = dict(offsets.end)
        records = sum(end.values()) - sum(offsets.first.values())
        recent = sum(end[place] - max(since[place], offsets.first[place]) for place in end)
        if self._seen[0] == end:
            return Peek(records, recent, self._seen[1])
        starts = {place: max(offsets.first[place], end[place] - MOST) for place in end}
        wanted = sum(end[place] - start for place, start in starts.items())
        letters = self._read(starts, wanted) if wanted else []
        if len(letters) == min(wanted, MOST):
            self._seen = (end, letters)
        return Peek(records, recent, letters)

    def _read(self, starts: Mapping[Place, int], wanted: int) -> list[DeadLetter]:
        consumer = Consumer(
            {
                **kafka_client(self._settings),
                "group.id": "tickstream.peek",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        try:
            consumer.assign([TopicPartition(*place, start) for place, start in starts.items()])
            messages = consumer.consume(wanted, PEEK_SECONDS)
        finally:
            consumer.close()
        good = [message for message in messages if message.error() is None]
        good.sort(key=lambda message: (message.timestamp()[1], message.offset()), reverse=True)
        return [_letter(message) for message in good[:MOST]]


def _letter(message: Message) -> DeadLetter:
    headers: Mapping[str, Any] = dict(message.headers() or [])
    return DeadLetter(
        at_us=message.timestamp()[1] * 1000,
        symbol=_text(message.key(), 64),
        payload=_text(message.value(), PAYLOAD_CHARACTERS),
        **{name: _text(headers.get(name), 200) for name in ("reason", "detail", "stage")},
    )


def _text(value: Any, most: int) -> str:
    """Bytes of anything as one line of text; what is no text shows as U+FFFD."""
    raw = value if isinstance(value, bytes) else str(value or "").encode()
    text = raw[: 4 * most].decode("utf-8", "replace")
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= most else line[: most - 1] + "…"
