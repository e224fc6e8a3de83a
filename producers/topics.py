"""The topics of `conf.topics`, created on any broker and kept as they must be."""

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from confluent_kafka.error import KafkaError

from conf.settings import Settings
from conf.topics import ANOMALIES, BARS, BARS_LIVE, DEAD, INDICATORS, PREDICTIONS, TICKS, TOPIC_CONFIG
from core.errors import StoreUnavailable

TIMEOUT_SECONDS = 30.0
STAMP_TYPE = "message.timestamp.type"


def ensure_topics(bootstrap: str, settings: Settings) -> None:
    """Create the topics that are missing; make the broker stamp the ticks of a topic that it did not.

    Partition counts and retention of a topic that exists are its owner's business and stay.
    Raises StoreUnavailable when the broker does not answer or refuses.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        existing = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
        missing = [name for name in TOPIC_CONFIG if settings.topic(name) not in existing]
        if missing:
            _create(admin, [_new_topic(name, settings) for name in missing])
            _wait_until_led(admin, [settings.topic(name) for name in missing])
        if TICKS not in missing:
            _stamp_by_broker(admin, settings.topic(TICKS))
    except KafkaException as error:
        raise StoreUnavailable("kafka", f"{bootstrap}: {error.args[0].str()}") from error


def partition_count(bootstrap: str, topic: str) -> int:
    """How many partitions a topic has. Raises StoreUnavailable when the broker does not answer or lacks it."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        seen = admin.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
    except KafkaException as error:
        raise StoreUnavailable("kafka", f"{bootstrap}: {error.args[0].str()}") from error
    if seen.error is not None:
        raise StoreUnavailable("kafka", f"topic {topic}: {seen.error.str()}")
    return len(seen.partitions)


def _new_topic(name: str, settings: Settings) -> NewTopic:
    partitions = {
        TICKS: settings.ticks_partitions,
        DEAD: 1,
        BARS_LIVE: settings.bars_partitions,
        BARS: settings.bars_partitions,
        INDICATORS: settings.bars_partitions,
        PREDICTIONS: 1,
        ANOMALIES: 1,
    }
    # -1: the broker's own default, 1 on one machine and 3 on a cluster that is set up so.
    return NewTopic(settings.topic(name), partitions[name], replication_factor=-1, config=TOPIC_CONFIG[name])


def _create(admin: AdminClient, topics: list[NewTopic]) -> None:
    futures = admin.create_topics(topics, operation_timeout=TIMEOUT_SECONDS)
    for future in futures.values():
        try:
            future.result(TIMEOUT_SECONDS)
        except KafkaException as error:
            # Another process created it since we looked.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _wait_until_led(admin: AdminClient, topics: list[str]) -> None:
    """A topic is created a moment before clients see it; until then a consumer is told that it does not exist."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not all(_is_led(admin, topic) for topic in topics):
        if time.monotonic() > deadline:
            raise StoreUnavailable("kafka", f"the topics {', '.join(topics)} were created but do not appear")
        time.sleep(0.05)


def _is_led(admin: AdminClient, topic: str) -> bool:
    seen = admin.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
    return seen.error is None and bool(seen.partitions) and all(p.leader >= 0 for p in seen.partitions.values())


def _stamp_by_broker(admin: AdminClient, topic: str) -> None:
    """Whether a tick is stamped in the future is judged against the broker's clock: see `conf.topics`."""
    wanted = TOPIC_CONFIG[TICKS][STAMP_TYPE]
    resource = ConfigResource(ResourceType.TOPIC, topic)
    (future,) = admin.describe_configs([resource]).values()
    if future.result(TIMEOUT_SECONDS)[STAMP_TYPE].value == wanted:
        return
    entry = ConfigEntry(STAMP_TYPE, wanted, incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    (future,) = admin.incremental_alter_configs([change]).values()
    future.result(TIMEOUT_SECONDS)
