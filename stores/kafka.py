"""Followers of a topic: consumers that begin at its end and commit nothing."""

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from conf.kafka import kafka_client
from conf.settings import Settings
from core.errors import StoreUnavailable
from stores.retry import retrying


def follower(settings: Settings, topic: str, group: str, patience_seconds: float, **config: object) -> Consumer:
    """A consumer that stands behind the last record of each partition; `config` is librdkafka's, with `_` for `.`.

    Raises StoreUnavailable when the broker does not answer, or has no such topic, for `patience_seconds`.
    """
    consumer = Consumer(
        {
            **kafka_client(settings),
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "log_level": 0,
            **{name.replace("_", "."): value for name, value in config.items()},
        }
    )
    retrying("kafka", lambda: seek_end(consumer, topic), patience_seconds)
    return consumer


def seek_end(consumer: Consumer, topic: str) -> None:
    """Stand behind the last record of each partition, whatever a later question finds there.

    Raises StoreUnavailable when the broker does not answer, or has no such topic yet.
    """
    try:
        known = consumer.list_topics(topic, timeout=10).topics[topic]
        if known.error is not None:
            raise StoreUnavailable("kafka", f"topic {topic}: {known.error.str()}", retry_after=1.0)
        places = [TopicPartition(topic, number) for number in known.partitions]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
        consumer.assign(places)
    except KafkaException as error:
        raise StoreUnavailable("kafka", error.args[0].str(), retry_after=0.5) from error


def take(consumer: Consumer, seconds: float, most: int) -> list[Message]:
    """Whatever is there, as soon as anything is: at most `most` records and one, none after `seconds`."""
    first = consumer.poll(seconds)
    if first is None:
        return []
    # consume() waits out its whole timeout for a full batch, so it may only take what is there.
    found = [first, *consumer.consume(most, 0)]
    return [message for message in found if message.error() is None]
