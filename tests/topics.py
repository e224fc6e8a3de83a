"""Reading a topic back with kafka-python, a client that shares nothing with the one that wrote it."""

import time

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.net.manager import KafkaConnectionManager

from core.records import Tick

DEADLINE_SECONDS = 60.0
# A socket whose broker takes longer than this to greet it is dropped by the client without being closed; the consumer
# has no option for it.
KafkaConnectionManager.DEFAULT_CONFIG |= {"socket_connection_setup_timeout_ms": DEADLINE_SECONDS * 1000}


def read_topic(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """Everything that is in the topic now, by partition and offset."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        records: list[ConsumerRecord] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            assert time.monotonic() < deadline, f"{topic}: not read to its end in time"
            for batch in consumer.poll(timeout_ms=200).values():
                records += batch
        return sorted(records, key=lambda record: (record.partition, record.offset))
    finally:
        consumer.close()


def read_ticks(bootstrap: str, topic: str) -> list[Tick]:
    """The topic's trades, all of which must decode."""
    ticks = [msgspec.json.decode(record.value, type=Tick) for record in read_topic(bootstrap, topic)]
    return [tick for tick in ticks if tick.kind == "trade"]
