"""Whether a checkpoint counts in the topic that is there: its offsets mean nothing in another one of the same name.

Spark would go on without a word in a topic that was made anew, past what stands there before the old offsets.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import TICKS
from core.errors import ConfigError, StoreUnavailable
from stores.files import write_atomically

FILE = "topic.json"
ASK_SECONDS = 30.0
# They read each partition as a source of its own; the other queries read whatever partitions there are.
_BY_PARTITION = ("live", "final")
_PARTS = {"archive": ("archive", "lake"), "final": ("final",)}


class Topic(msgspec.Struct, frozen=True):
    """What tells a topic from another one of the same name."""

    id: str
    partitions: int


def check_topic(settings: Settings, queries: Sequence[str]) -> None:
    """Note for each checkpoint of these queries in which topic it counts, at its first start.

    Raises ConfigError where that was another topic than the one there is now, or one of fewer partitions, and
    StoreUnavailable when the broker does not answer.
    """
    now = topic_of(settings)
    for query, folder in _checkpoints(settings, queries, now.partitions):
        began = _began(folder)
        if began is None or not _used(folder):
            write_atomically(folder / FILE, msgspec.json.encode(now))
        elif began.id != now.id:
            raise ConfigError(_told(settings, folder, "was made anew since the checkpoint began"))
        elif query in _BY_PARTITION and began.partitions != now.partitions:
            have = f"has {now.partitions} partitions now, and {began.partitions} when the checkpoint began"
            raise ConfigError(_told(settings, folder, have))


def topic_of(settings: Settings) -> Topic:
    """The topic `ticks` as the broker has it. Raises StoreUnavailable."""
    name = settings.topic(TICKS)
    admin = AdminClient({**kafka_client(settings), "log_level": 0})
    try:
        asked = admin.describe_topics(TopicCollection([name]), request_timeout=ASK_SECONDS)[name]
        found = asked.result()
    except KafkaException as error:
        raise StoreUnavailable("kafka", f"topic {name}: {error.args[0].str()}") from None
    return Topic(str(found.topic_id), len(found.partitions))


def _checkpoints(settings: Settings, queries: Sequence[str], partitions: int) -> Iterator[tuple[str, Path]]:
    for query in queries:
        parts = [f"live-{number}" for number in range(partitions)] if query == "live" else _PARTS.get(query, ())
        for part in parts:
            yield query, settings.checkpoint_path / part


def _began(folder: Path) -> Topic | None:
    """None for a checkpoint that is older than these notes."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Topic)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _used(folder: Path) -> bool:
    """Whether the query has begun a batch."""
    offsets = folder / "offsets"
    return offsets.is_dir() and any(path.name.isdigit() for path in offsets.iterdir())


def _told(settings: Settings, folder: Path, what: str) -> str:
    away = f"move {folder} away and start again: docs/upgrading.md says what that does"
    return f"the topic {settings.topic(TICKS)} {what}; {away}"
