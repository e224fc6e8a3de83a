"""Where ticks come from, and the one shape they have from there on.

The canonical tick columns (`CANONICAL`): symbol, event_time (timestamp), event_us, seq, price and size (64-bit
counts of 1e-8), trade_id, source, venue, conditions, kind, reported_us, received_us, kafka_partition,
kafka_offset, identity. Everything is a `DataFrame -> DataFrame` step without a session inside.
"""

import json

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.streaming.readwriter import DataStreamReader

from conf.kafka import spark_kafka
from conf.settings import Settings
from conf.topics import TICKS
from core.validate import AMENDING, PRICED
from jobs.exact import scaled
from jobs.prefix import prefix
from jobs.validate import first_reason, text_amounts

_RECORD = (
    "v int, symbol string, event_us long, price string, size string, trade_id string, seq long, source string, "
    "venue string, conditions string, kind string, reported_us long, received_us long"
)
# A JSON number in a text field is read as its text, on purpose: telling them apart takes a regular expression over the
# whole record, which measured dearer than parsing it. What the text then says is judged like any other.
CANONICAL = (
    "symbol",
    "event_time",
    "event_us",
    "seq",
    "price",
    "size",
    "trade_id",
    "source",
    "venue",
    "conditions",
    "kind",
    "reported_us",
    "received_us",
    "kafka_partition",
    "kafka_offset",
    "identity",
)
# Cannot occur in a validated text field, so that joined identities stay unambiguous.
SEPARATOR = "\x1f"
SORTED_AT_ONCE = 40_000_000  # 64-bit hashes that the driver holds: 320 MB, and as much again in Python


def read_topic(spark: SparkSession, settings: Settings, max_ticks_per_batch: int | None = None) -> DataFrame:
    """The topic `ticks` as one stream of Kafka records, from the oldest record on a first start."""
    return _reader(spark, settings, max_ticks_per_batch).option("subscribe", settings.topic(TICKS)).load()


def read_partition(spark: SparkSession, settings: Settings, number: int, in_slices: bool = True) -> DataFrame:
    """One partition of `ticks` as a stream of its own, so that it can have a watermark of its own.

    `in_slices` bounds what a micro-batch reads; real-time mode knows no such bound.
    """
    share = max(1, settings.max_ticks_per_batch // settings.ticks_partitions)
    assignment = json.dumps({settings.topic(TICKS): [number]})
    return _reader(spark, settings, share if in_slices else None).option("assign", assignment).load()


def _reader(spark: SparkSession, settings: Settings, max_ticks_per_batch: int | None) -> DataStreamReader:
    reader = (
        spark.readStream.format("kafka")
        .options(**spark_kafka(settings))
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "false")
    )
    return reader if max_ticks_per_batch is None else reader.option("maxOffsetsPerTrigger", max_ticks_per_batch)


def parse(records: DataFrame, settings: Settings) -> DataFrame:
    """Kafka records with the tick's fields (price and size still text) and `reason`, null for a tick."""
    fields = records.select(
        "key",
        "value",
        F.col("partition").alias("kafka_partition"),
        F.col("offset").alias("kafka_offset"),
        F.unix_micros("timestamp").alias("appended_us"),
        F.from_json(F.col("value").cast("string"), _RECORD).alias("tick"),
    ).select("*", "tick.*")
    fields = fields.withColumn("trade_id", given_id(F.col("trade_id")))
    known, ahead_us = settings.known_symbols, settings.future_tolerance_us
    reason = first_reason(text_amounts(), known, ahead_us, F.col("appended_us"))
    return fields.withColumn("parsed", _any_field()).withColumn("reason", reason).drop("tick", "parsed")


def accepted(parsed: DataFrame) -> DataFrame:
    """The canonical columns of the records that are ticks."""
    priced = F.col("kind").isin(*PRICED)
    units = {name: F.when(priced, scaled(name)) for name in ("price", "size")}
    return canonical(parsed.where(F.col("reason").isNull()).withColumns(units))


def canonical(ticks: DataFrame) -> DataFrame:
    """Canonical columns from the fields of valid ticks, price and size as 64-bit counts of 1e-8."""
    made = {"event_time": F.timestamp_micros("event_us"), "identity": identity()}
    return ticks.select(*(made[name].alias(name) if name in made else F.col(name) for name in CANONICAL))


def given_id(trade_id: Column) -> Column:
    """The id of a trade, null for an empty one: as an id it would make all trades of a symbol and venue one."""
    return F.nullif(trade_id, F.lit(""))


def identity() -> Column:
    """What makes two records one, as one text: of trades `core.bars.identity`.

    A correction or cancel is a record of its own beside the trade that it names, and a trade may be corrected again.
    """
    told = [F.coalesce(F.col(name).cast("string"), F.lit("")) for name in ("kind", "event_us", "price", "size")]
    # Built once for every record: what a trade lacks is null, which concat_ws leaves out.
    return F.concat_ws(
        SEPARATOR, _trade_identity(), F.when(F.col("kind").isin(*AMENDING), F.concat_ws(SEPARATOR, *told))
    )


def _trade_identity() -> Column:
    """`core.bars.identity` of the trade that a record is, or names."""
    by_id = F.concat_ws(SEPARATOR, "symbol", F.lit("id"), F.coalesce("venue", F.lit("")), "trade_id")
    numbers = [F.col(name).cast("string") for name in ("event_us", "seq")]
    by_seq = F.concat_ws(SEPARATOR, "symbol", F.lit("seq"), "source", *numbers)
    return F.when(F.col("trade_id").isNotNull(), by_id).otherwise(by_seq)


def condition_mask() -> Column:
    """`core.rulesets.parse_mask` of `conditions`: 0 where it is no hexadecimal mask."""
    readable = F.col("conditions").rlike("^[0-9a-fA-F]{1,15}$")
    return F.when(readable, prefix(F.unhex(F.lpad("conditions", 16, "0")))).otherwise(F.lit(0).cast("long"))


def _any_field() -> Column:
    names = [part.split()[0] for part in _RECORD.split(",")]
    return F.coalesce(*(F.col(name).cast("string") for name in names)).isNotNull()


def without_duplicates(ticks: DataFrame, among: DataFrame | None = None, rows: int | None = None) -> DataFrame:
    """Batch: one record per identity, the one with the lowest offset (then event time, seq, arrival).

    Looks first whether any 64-bit hash of an identity recurs, a cheap pass that runs at once, over `among` when it
    is given (a superset of `ticks` that is cheaper to read). Only records whose hash recurs are compared exactly.
    Who knows how many `rows` there are spares the counting.
    """
    looked_at = ticks if among is None else among
    recurring = _recurring(looked_at.select(_identity_hash().alias("identity_hash")), rows)
    if recurring is None:
        return ticks
    recurring = F.broadcast(recurring)
    hashed = ticks.withColumn("identity_hash", _identity_hash())
    unique = hashed.join(recurring, "identity_hash", "left_anti")
    suspects = hashed.join(recurring, "identity_hash", "left_semi")
    order = [F.col(c).asc_nulls_last() for c in ("kafka_offset", "event_us", "seq", "received_us")]
    ranked = suspects.withColumn("rank", F.row_number().over(Window.partitionBy("identity").orderBy(*order)))
    return unique.unionByName(ranked.where("rank = 1").drop("rank")).drop("identity_hash")


def _recurring(hashes: DataFrame, rows: int | None) -> DataFrame | None:
    """The values of a column of longs that occur more than once, None when none does."""
    (name,) = hashes.columns
    if (hashes.count() if rows is None else rows) > SORTED_AT_ONCE:
        grouped = hashes.groupBy(name).count().where("count > 1").select(name).localCheckpoint()
        return None if grouped.isEmpty() else grouped
    # Hardly any recurs, so Spark would keep a map of all of them: four times as long as to sort them here.
    ordered = np.sort(hashes.toArrow().column(0).to_numpy())
    found = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    return hashes.sparkSession.createDataFrame(pa.table({name: found})) if found.size else None


def corrected(ticks: DataFrame) -> DataFrame:
    """Batch: the trades as corrections and cancels among `ticks` left them, each record once; both are then gone.

    `core.corrections.corrected` in Spark. Looks first whether there are any, a cheap pass.
    """
    amending = ticks.where(F.col("kind").isin(*AMENDING))
    trades = ticks.where(~F.col("kind").isin(*AMENDING))
    if amending.isEmpty():
        return trades
    keyed = amending.withColumn("named", _trade_identity())
    order = F.struct("received_us", F.coalesce("kafka_offset", F.lit(-1)), "event_us", "price", "size")
    last = F.max_by(F.struct("price", "size", "conditions"), F.when(F.col("kind") == "correct", order))
    verdicts = keyed.groupBy("named").agg(last.alias("told"), F.max(F.col("kind") == "cancel").alias("cancelled"))
    joined = trades.withColumn("named", _trade_identity()).join(F.broadcast(verdicts), "named", "left")
    told = {name: F.coalesce(f"told.{name}", name) for name in ("price", "size", "conditions")}
    return joined.where(~F.coalesce("cancelled", F.lit(False))).withColumns(told).select(*CANONICAL)


def _identity_hash() -> Column:
    by_id = F.xxhash64("symbol", F.lit("id"), "venue", "trade_id")
    amending = F.xxhash64("symbol", "kind", "venue", "trade_id", "event_us", "price", "size")
    by_id = F.when(F.col("kind").isin(*AMENDING), amending).otherwise(by_id)
    by_seq = F.xxhash64("symbol", F.lit("seq"), "source", "event_us", "seq")
    return F.when(F.col("trade_id").isNotNull(), by_id).otherwise(by_seq)
