"""Driving the real queries in tests: one Spark session for the run, ticks through the real broker, rows back."""

import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
from kafka import KafkaProducer
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from conf.topics import TICKS
from core.clock import ManualClock
from core.records import Tick
from jobs.pacemaker import Pacemaker
from jobs.queries import start
from jobs.sinks import Sinks
from local.jars import ensure_jars
from producers.heartbeat import heartbeat
from stores.memory import MemoryStore
from tests.topics import read_topic

ROOT = Path(__file__).parent.parent
PROCESSED_US = 1


def make_session() -> SparkSession:
    """A session with the project's own configuration and connector jars."""
    # As spark-submit.sh has it: the second because a machine may not know its own name.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    jars = ",".join(str(path) for path in sorted(ensure_jars().connector.glob("*.jar")))
    builder = SparkSession.builder.master("local[8]").appName("tests").config("spark.jars", jars)
    for line in (ROOT / "conf/spark-defaults.conf").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, value = line.split(None, 1)
            builder = builder.config(name, value.strip())
    builder = builder.config("spark.sql.codegen.wholeStage", "false")  # as jobs/session.py has it for streams
    log_settings = f"-XX:-DontCompileHugeMethods -Dlog4j2.configurationFile=file:{ROOT}/conf/log4j2.properties"
    builder = builder.config("spark.driver.extraJavaOptions", log_settings)
    for name in ("spark.driver.host", "spark.driver.bindAddress"):
        builder = builder.config(name, "127.0.0.1")
    return builder.getOrCreate()


def produce(settings: Settings, batch: Sequence[Tick | bytes | tuple[int, Tick | bytes]]) -> None:
    """Write ticks, or raw bytes, straight to the topic as a foreign client would, in order.

    Ticks go to the partition of their symbol; `(partition, record)` picks one.
    """
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap, linger_ms=5)
    sent = []
    for item in batch:
        partition, record = item if isinstance(item, tuple) else (None, item)
        value = record if isinstance(record, bytes) else msgspec.json.encode(record)
        key = b"" if isinstance(record, bytes) else record.symbol.encode()
        sent.append(producer.send(settings.topic(TICKS), key=key, value=value, partition=partition))
    producer.flush()
    producer.close()
    for future in sent:
        future.get(10)  # one that was not taken would be a tick less


def produce_raw(
    settings: Settings, records: Sequence[tuple[bytes | None, bytes | None, int | None]]
) -> list[tuple[int, int]]:
    """Write `(key, value, partition or None)` as they are; the partition and offset that each one got."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap, linger_ms=5)
    topic = settings.topic(TICKS)
    sent = [producer.send(topic, key=key, value=value, partition=number) for key, value, number in records]
    producer.flush()
    producer.close()
    return [(future.get(10).partition, future.get(10).offset) for future in sent]


def kafka_records(spark: SparkSession, values: Sequence[tuple[int, bytes]], appended_us: int) -> DataFrame:
    """Records as Spark's Kafka source gives them, of `(partition, value)`; offsets count up over all partitions."""
    table = pa.table(
        {
            "key": pa.nulls(len(values), pa.binary()),
            "value": pa.array([value for _, value in values], pa.binary()),
            "partition": pa.array([number for number, _ in values], pa.int32()),
            "offset": pa.array(range(len(values)), pa.int64()),
            "timestamp": pa.array([appended_us] * len(values), pa.timestamp("us", tz="UTC")),
        }
    )
    return spark.createDataFrame(table)


def close_all(settings: Settings, event_us: int) -> None:
    """Heartbeats on every partition at `event_us`: everything that ended a lateness before it can close."""
    beats = [(number, heartbeat("test", event_us, event_us, number)) for number in range(settings.ticks_partitions)]
    produce(settings, beats)


def consume(settings: Settings, topic: str) -> list:
    """Everything that a topic holds, partition by partition, by an independent client."""
    return read_topic(settings.kafka_bootstrap, settings.topic(topic))


def run_available(name: str, spark: SparkSession, settings: Settings, store: MemoryStore | None = None) -> MemoryStore:
    """Run one query over what the topic holds now; the bars that it wrote, when it is `final`."""
    store = store or MemoryStore()
    run_with(Sinks(settings, bar_sinks=[store]), name, spark, settings)
    return store


def run_with(sinks: Sinks, name: str, spark: SparkSession, settings: Settings) -> None:
    """Run one query over what the topic holds now, into these sinks, and close them."""
    try:
        sinks.setup()
        if name == "final":
            Pacemaker(settings, ManualClock(PROCESSED_US)).align()
        for query in start(name, spark, settings, sinks, ManualClock(PROCESSED_US), available_now=True):
            query.awaitTermination()
    finally:
        sinks.close()


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"
