"""The archive query's rows: accepted ticks for the tick log, everything else for `ticks.dead`."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from conf.settings import Settings
from core.validate import REASONS
from jobs.recognise import ARCHIVE_SCHEMA, recognise
from jobs.ticks import identity, parse
from stores.schema import TICK_SCHEMA

Header = tuple[str, bytes]

RECORD_COLUMNS = ("key", "value", "partition", "offset", "timestamp")
_AMOUNTS = ("price", "size")
# Kafka's clients refuse a record of more than 1,000,000 bytes, headers included.
_MOST_VALUE, _MOST_KEY = 900_000, 50_000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record of `ticks`: key and value as they were, why, and where they stand."""

    key: bytes | None
    value: bytes | None
    reason: str
    partition: int
    offset: int


def archived(batch: DataFrame, settings: Settings) -> pa.Table:
    """The archive rows of a micro-batch of Kafka records, as ARCHIVE_SCHEMA has them.

    Spark looks at the records alone that `jobs.recognise` leaves to it: a second job where there are any.
    """
    records = batch.select(*RECORD_COLUMNS).toArrow()
    rows, left = recognise(records, settings.known_symbols, settings.future_tolerance_us)
    if not left.num_rows:
        return rows
    judged = archive_rows(parse(batch.sparkSession.createDataFrame(left), settings)).toArrow()
    return pa.concat_tables([rows, judged.cast(ARCHIVE_SCHEMA)])


def archive_rows(parsed: DataFrame) -> DataFrame:
    """The columns of ARCHIVE_SCHEMA: those of TICK_SCHEMA, and beside them what is null for a tick."""
    refused = F.col("reason").isNotNull()
    known = {
        "event_time": F.timestamp_micros("event_us"),
        "identity": identity(),
    }
    ticks = [_tick_column(name, known.get(name, F.col(name)), refused) for name in TICK_SCHEMA.names]
    return parsed.select(
        "reason",
        F.when(refused, F.col("key")).alias("key"),
        F.when(refused, F.col("value")).alias("value"),
        F.col("kafka_partition").alias("from_partition"),
        F.col("kafka_offset").alias("from_offset"),
        *ticks,
    ).where(refused | (F.col("kind") != "heartbeat"))


def _tick_column(name: str, column: Column, refused: Column) -> Column:
    if name not in _AMOUNTS:
        return F.when(~refused, column).alias(name)
    return F.when(~refused & F.col("kind").isin("trade", "correct"), column).cast("decimal(18,8)").alias(name)


def accepted_ticks(rows: pa.Table) -> pa.Table:
    """The ticks among archive rows, as a batch of TICK_SCHEMA."""
    return rows.filter(pc.is_null(rows["reason"])).select(TICK_SCHEMA.names).cast(TICK_SCHEMA)


def dead_letters(rows: pa.Table) -> list[DeadLetter]:
    """The refused records among archive rows."""
    dead = rows.filter(pc.is_valid(rows["reason"])).select(["key", "value", "reason", "from_partition", "from_offset"])
    return [DeadLetter(*row.values()) for row in dead.to_pylist()]


def dead_record(
    letter: DeadLetter, topic: str, stage: str = "archive"
) -> tuple[bytes | None, bytes | None, list[Header]]:
    """Key, value and headers of a refused record of `topic`, as `ticks.dead` has it.

    Key and value are unchanged, unless `ticks.dead` could not take them: they are then cut, and the headers `truncated`
    = "true" and `size`, how many bytes the value had, say so. The whole record stands at `partition` and `offset`.
    """
    key, value = _cut(letter.key, _MOST_KEY), _cut(letter.value, _MOST_VALUE)
    fields = {
        "reason": letter.reason,
        "detail": REASONS[letter.reason],
        "topic": topic,
        "partition": str(letter.partition),
        "offset": str(letter.offset),
        "stage": stage,
    }
    if (key, value) != (letter.key, letter.value):
        fields |= {"truncated": "true", "size": str(len(letter.value or b""))}
    return key, value, [(name, text.encode()) for name, text in fields.items()]


def _cut(data: bytes | None, most: int) -> bytes | None:
    return None if data is None else data[:most]


def slice_name(rows: pa.Table) -> str:
    """The slice of the topic that a batch is: a retry has the same name, no other slice does."""
    spans = rows.group_by("from_partition").aggregate([("from_offset", "min"), ("from_offset", "max")])
    parts = sorted(zip(*(spans[name].to_pylist() for name in spans.column_names), strict=True))
    return "_".join("-".join(str(value) for value in part) for part in parts)
