"""The topics of `conf.topics`, created on any broker and kept as they must be."""

import re
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)
from confluent_kafka.error import KafkaError

from conf.kafka import kafka_client
from conf.settings import Settings
from conf.topics import ANOMALIES, BARS, BARS_LIVE, DEAD, INDICATORS, PREDICTIONS, TICKS, TOPIC_CONFIG
from core.errors import ConfigError, StoreUnavailable

TIMEOUT_SECONDS = 30.0
ASK_SECONDS = 3.0
STAMP_TYPE = "message.timestamp.type"
_CUT = "Broker transport failure"  # a broker that went away in the middle of letting us in


def ensure_topics(settings: Settings) -> None:
    """Create the topics that are missing; make the broker stamp the ticks of a topic that it did not.

    Partition counts and retention of a topic that exists are its owner's business and stay.
    Raises StoreUnavailable when the broker does not answer or refuses, ConfigError when it does not let us in.
    """
    broker = _Broker(settings)
    existing = broker.topics()
    missing = [name for name in TOPIC_CONFIG if settings.topic(name) not in existing]
    try:
        if missing:
            _create(broker.admin, [_new_topic(name, settings) for name in missing])
            _wait_until_led(broker.admin, [settings.topic(name) for name in missing])
        if TICKS not in missing:
            _stamp_by_broker(broker.admin, settings.topic(TICKS))
    except KafkaException as error:
        raise StoreUnavailable("kafka", f"{settings.kafka_bootstrap}: {error.args[0].str()}") from error


def ask_broker(settings: Settings, seconds: float) -> None:
    """Return when the broker answers. Raises as `ensure_topics`."""
    _Broker(settings).topics(seconds=seconds)


def partition_count(settings: Settings, topic: str) -> int:
    """How many partitions a topic has. Raises as `ensure_topics`, and StoreUnavailable when there is no such topic."""
    seen = _Broker(settings).topics(topic)[topic]
    if seen.error is not None:
        raise StoreUnavailable("kafka", f"topic {topic}: {seen.error.str()}")
    return len(seen.partitions)


class _Broker:
    """An admin client that can say why it is not answered: librdkafka tells callbacks, its errors only that."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.kafka_bootstrap
        self._said: list[KafkaError] = []
        try:
            self.admin = AdminClient({**kafka_client(settings), "log_level": 0, "error_cb": self._said.append})
        except KafkaException as error:  # a certificate that is none, or a key of another one
            raise ConfigError(f"KAFKA_SASL_… or KAFKA_SSL_… is not right: {error.args[0].str()}") from None

    def topics(self, name: str | None = None, seconds: float = TIMEOUT_SECONDS) -> dict[str, TopicMetadata]:
        """All topics, or one of them. Raises as `ensure_topics`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.admin.list_topics(name, timeout=min(ASK_SECONDS, seconds)).topics
            except KafkaException as error:
                self.admin.poll(0)
                self._raise_refused()
                if time.monotonic() >= deadline:
                    raise StoreUnavailable("kafka", f"{self._name}: {self._reason() or error.args[0].str()}") from error

    def _raise_refused(self) -> None:
        """A wrong password or certificate does not become a right one."""
        for said in self._said:
            if said.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL) and _CUT not in said.str():
                raise ConfigError(f"KAFKA_SASL_… or KAFKA_SSL_… is not right for {self._name}: {_plain(said)}")

    def _reason(self) -> str:
        told = [said for said in self._said if said.code() != KafkaError._ALL_BROKERS_DOWN]
        return _plain(told[-1]) if told else ""


def _plain(said: KafkaError) -> str:
    """What librdkafka says without which of its connections it was, and after how long."""
    return re.sub(r"^\S+: | \(after \d+ms.*\)", "", said.str())


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
