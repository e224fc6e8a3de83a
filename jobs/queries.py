"""The three streaming queries, as functions of a session and settings; `jobs/stream.py` runs them.

live     every tick updates its bars in `bars.live`, in real-time mode; never says "final".
final    each bar once, when the watermark passes its end, to every store.
archive  every accepted tick to the tick log (table and lake), everything else to `ticks.dead`.
"""

import functools
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from conf.kafka import spark_kafka
from conf.settings import Settings
from conf.topics import BARS_LIVE
from core import rulesets
from core.clock import Clock
from jobs.anomalies import FinalAnomalies
from jobs.archive import archived
from jobs.bars import as_final, bars, to_json
from jobs.indicators import BatchIndicators, FinalIndicators, History
from jobs.pace import Pace
from jobs.progress import tell_final, watermark_us
from jobs.sinks import Sinks
from jobs.ticks import accepted, parse, read_partition, read_topic

QUERIES = ("live", "final", "archive")
# Beside the queries, in the thread of `jobs.reconcile`.
RECONCILE = "reconcile"
LIVE_TRIGGERS = ("realtime", "microbatch")
LIVE_BATCH_BYTES = 128 * 1024
# Checkpoints kept, each with all that came since the one before. Live makes one every five minutes: of the hundred that
# Spark keeps, ten are most of an hour; of the state up to thirty stay, for it is a snapshot each tenth.
LIVE_CHECKPOINTS = 10
OTHER_CHECKPOINTS = 100


class FinalSinks(History, Protocol):
    """What the final query needs of `Sinks`."""

    turn: threading.Lock

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None: ...

    def read_states(self) -> pa.Table: ...


def start(
    name: str,
    spark: SparkSession,
    settings: Settings,
    sinks: Sinks,
    clock: Clock,
    available_now: bool = False,
    live_trigger: str = "realtime",
    pace: Pace | None = None,
) -> list[StreamingQuery]:
    """Start one of `QUERIES`, each part on a checkpoint of its own under `settings.checkpoint_path`.

    `live_trigger` "microbatch" is what `benchmarks latency` compares real-time mode with. `pace` lets `final` rest
    while no bar can close.
    """
    # A query keeps the settings that the session had when it started.
    spark.conf.set("spark.sql.shuffle.partitions", "1" if name == "live" else str(settings.shuffle_partitions))
    spark.conf.set("spark.sql.streaming.minBatchesToRetain", LIVE_CHECKPOINTS if name == "live" else OTHER_CHECKPOINTS)
    if name == "live":
        in_slices = available_now or live_trigger != "realtime"
        every = _each(0) if in_slices else {"realTime": f"{settings.live_checkpoint_seconds} seconds"}
        parts = {
            f"live-{number}": (_live(read_partition(spark, settings, number, in_slices), settings), every)
            for number in range(sinks.partitions)
        }
    elif name == "final":
        rests = None if available_now else pace
        parts = {"final": (_final(spark, settings, sinks, clock, rests), _each(settings.final_trigger_ms))}
    else:
        log = _archive(spark, settings, sinks.write_log)
        lake = _archive(spark, settings, sinks.write_lake)
        parts = {
            "archive": (log, _each(settings.archive_trigger_ms)),
            "lake": (lake, _each(settings.lake_trigger_seconds * 1000)),
        }
    return [
        writer.queryName(part)
        .option("checkpointLocation", str((settings.checkpoint_path / part).resolve()))
        .trigger(**({"availableNow": True} if available_now else trigger))
        .start()
        for part, (writer, trigger) in parts.items()
    ]


def _each(milliseconds: float) -> dict[str, str]:
    return {"processingTime": f"{milliseconds:.0f} milliseconds"}


def watermarked(ticks: DataFrame, settings: Settings) -> DataFrame:
    """Ticks whose event time moves the watermark, `lateness_seconds` behind."""
    delay = f"{int(settings.lateness_seconds * 1000)} milliseconds"
    return ticks.withWatermark("event_time", delay)


def deduplicated(ticks: DataFrame) -> DataFrame:
    """Each trade once: the first to arrive, known for as long as a copy could still be in time."""
    return ticks.dropDuplicatesWithinWatermark(["identity"])


def _live(source: DataFrame, settings: Settings) -> DataStreamWriter:
    # One query per partition of the topic, and `coalesce(1)` says that it is one: source, deduplication, aggregate and
    # sink then run in one task without a shuffle, and a symbol's ticks stay in order. Partitions add parallelism.
    ticks = deduplicated(watermarked(accepted(parse(source, settings)), settings).coalesce(1))
    rows = bars(ticks, settings.bar_intervals, _ruleset(settings), settings.lateness_seconds)
    records = rows.select(F.concat_ws("|", "symbol", "interval").alias("key"), to_json(rows).alias("value"))
    return (
        records.writeStream.format("kafka")
        .outputMode("update")
        .options(**spark_kafka(settings))
        .option("topic", settings.topic(BARS_LIVE))
        .option("kafka.linger.ms", settings.live_linger_ms)
        # Rows of one symbol repeat each other; as they are they take four times the disk (docs/decisions/0004).
        .option("kafka.compression.type", "lz4")
        .option("kafka.batch.size", LIVE_BATCH_BYTES)
    )


def _final(
    spark: SparkSession, settings: Settings, sinks: Sinks, clock: Clock, pace: Pace | None = None
) -> DataStreamWriter:
    sources = [read_partition(spark, settings, number) for number in range(sinks.partitions)]
    anomalies = FinalAnomalies(settings)
    sinks.also_close(anomalies.close)
    return final_of(sources, settings, sinks, clock, pace, anomalies)


def final_of(
    sources: Sequence[DataFrame],
    settings: Settings,
    sinks: FinalSinks,
    clock: Clock,
    pace: Pace | None = None,
    anomalies: FinalAnomalies | None = None,
) -> DataStreamWriter:
    """The final query over streams of Kafka records, one for each partition."""
    spark = sources[0].sparkSession
    # One source and one watermark per partition: Spark advances the least of them, so that a partition that is
    # read ahead of the others, as in any backlog, never makes the others' ticks late.
    partitions = [watermarked(accepted(parse(source, settings)), settings) for source in sources]
    ticks = deduplicated(functools.reduce(DataFrame.unionByName, partitions))
    rows = bars(ticks, settings.bar_intervals, _ruleset(settings), settings.lateness_seconds)
    folder = settings.checkpoint_path / "final" / "indicators"
    made = BatchIndicators(settings, settings.bar_intervals)
    indicators = FinalIndicators(made, folder, sinks.read_states, history=sinks)

    def write(batch: DataFrame, batch_id: int) -> None:
        final = as_final(batch, clock.now_us()).toArrow()
        watermark = _watermark_us(spark, final)
        with sinks.turn, nullcontext() if anomalies is None else anomalies.over(final, batch_id, watermark):
            sinks.write_bars(final, indicators.rows(final, batch_id))
        tell_final(final)
        if pace is not None:
            pace.rest(watermark)

    return rows.writeStream.outputMode("append").foreachBatch(write)


def _watermark_us(spark: SparkSession, closed: pa.Table) -> int | None:
    """A watermark that final's newest batch had reached: the one before's, or the newest end that it closed."""
    query = next((query for query in spark.streams.active if query.name == "final"), None)
    before = None if query is None else watermark_us(query.lastProgress)
    newest = pc.max(closed["end"].cast(pa.int64())).as_py()
    return max((us for us in (before, newest) if us is not None), default=None)


def _archive(spark: SparkSession, settings: Settings, write: Callable[[pa.Table], None]) -> DataStreamWriter:
    records = read_topic(spark, settings, settings.max_ticks_per_batch)
    return records.writeStream.outputMode("append").foreachBatch(lambda batch, _: write(archived(batch, settings)))


def _ruleset(settings: Settings) -> rulesets.Ruleset:
    return rulesets.load(settings.ruleset)


def names(text: str) -> Sequence[str]:
    """`"live,final"` as query names. Raises ValueError for an unknown one."""
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    known = (*QUERIES, RECONCILE)
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise ValueError(f"unknown query {', '.join(unknown) or '(none given)'}; known: {', '.join(known)}")
    return wanted
