"""The archive query's rows: accepted ticks for the tick log, everything else for `ticks.dead`."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from conf.settings import Settings
from core.validate import PRICED, REASONS
from jobs.recognise import ARCHIVE_SCHEMA, recognise
from jobs.ticks import identity, parse
from stores.schema import TICK_SCHEMA

Header = tuple[str, bytes]

LONGEST = 1024  # bytes of a record; its own fields bound a tick of usual writing to some 700
MOST_LEFT = 10_000  # records, of at most LONGEST bytes, that are handed back to Spark
_AMOUNTS = ("price", "size")
_LETTER = ["key", "value", "reason", "from_partition", "from_offset", "key_bytes", "value_bytes"]
# Kafka's clients refuse a record of more than 1,000,000 bytes, headers included.
_MOST_VALUE, _MOST_KEY = 900_000, 50_000
LONG_BYTES = 128 << 20  # what the driver takes of the long records of a micro-batch


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record of `ticks`: key and value as they were, why, and where they stand.

    `key_bytes` and `value_bytes` say how long they were, where they may be cut already.
    """

    key: bytes | None
    value: bytes | None
    reason: str
    partition: int
    offset: int
    key_bytes: int | None = None
    value_bytes: int | None = None


def archived(batch: DataFrame, settings: Settings) -> pa.Table:
    """The archive rows of a micro-batch of Kafka records, as ARCHIVE_SCHEMA has them.

    Spark looks only at the records that `jobs.recognise` leaves to it, in a second job; or at all of them, where these
    are too many or too long to be handed back.
    """
    size = F.coalesce(F.length("key"), F.lit(0)) + F.coalesce(F.length("value"), F.lit(0))
    told = [F.when(size <= LONGEST, F.col(name)).alias(name) for name in ("key", "value")]
    records = batch.select(*told, "partition", "offset", "timestamp", size.alias("size")).toArrow()
    rows, left = recognise(records.drop_columns("size"), settings.known_symbols, settings.future_tolerance_us)
    if not left.num_rows:
        return rows
    long = pc.sum(pc.greater(records["size"], LONGEST)).as_py()
    if left.num_rows > MOST_LEFT or long:
        return archive_rows(parse(batch, settings), most_of(long)).toArrow().cast(ARCHIVE_SCHEMA)
    judged = archive_rows(parse(batch.sparkSession.createDataFrame(left), settings)).toArrow()
    return pa.concat_tables([rows, judged.cast(ARCHIVE_SCHEMA)])


def most_of(long: int) -> int:
    """Bytes that the key, and the value, of a refused record may have in a micro-batch with so many long records.

    What ends in the driver is bounded, and with it what a producer gone wild can do to it.
    """
    return min(_MOST_VALUE, max(LONGEST, LONG_BYTES // max(long, 1)))


def archive_rows(parsed: DataFrame, most: int = _MOST_VALUE) -> DataFrame:
    """The columns of ARCHIVE_SCHEMA: those of TICK_SCHEMA, and beside them what is null for a tick.

    Keys and values are cut to `most` bytes, a key to _MOST_KEY at most.
    """
    refused = F.col("reason").isNotNull()
    known = {
        "event_time": F.timestamp_micros("event_us"),
        "identity": identity(),
    }
    ticks = [_tick_column(name, known.get(name, F.col(name)), refused) for name in TICK_SCHEMA.names]
    return parsed.select(
        "reason",
        F.when(refused, F.substring("key", 1, min(most, _MOST_KEY))).alias("key"),
        F.when(refused, F.substring("value", 1, most)).alias("value"),
        *(F.when(refused, F.length(name)).alias(f"{name}_bytes") for name in ("key", "value")),
        F.col("kafka_partition").alias("from_partition"),
        F.col("kafka_offset").alias("from_offset"),
        *ticks,
    ).where(refused | (F.col("kind") != "heartbeat"))


def _tick_column(name: str, column: Column, refused: Column) -> Column:
    if name not in _AMOUNTS:
        return F.when(~refused, column).alias(name)
    return F.when(~refused & F.col("kind").isin(*PRICED), column).cast("decimal(18,8)").alias(name)


def accepted_ticks(rows: pa.Table) -> pa.Table:
    """The ticks among archive rows, as a batch of TICK_SCHEMA."""
    return rows.filter(pc.is_null(rows["reason"])).select(TICK_SCHEMA.names).cast(TICK_SCHEMA)


def dead_letters(rows: pa.Table) -> list[DeadLetter]:
    """The refused records among archive rows."""
    dead = rows.filter(pc.is_valid(rows["reason"])).select(_LETTER)
    return [DeadLetter(*row.values()) for row in dead.to_pylist()]


def dead_record(
    letter: DeadLetter, topic: str, stage: str = "archive"
) -> tuple[bytes | None, bytes | None, list[Header]]:
    """Key, value and headers of a refused record of `topic`, as `ticks.dead` has it.

    Key and value are unchanged, unless `ticks.dead`, or the driver, could not take them: they are then cut, and the
    headers `truncated` = "true" and `size`, how many bytes the value had, say so. The whole record stands at
    `partition` and `offset`.
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
    had = _bytes(letter.key, letter.key_bytes), _bytes(letter.value, letter.value_bytes)
    if had != (_bytes(key), _bytes(value)):
        fields |= {"truncated": "true", "size": str(had[1])}
    return key, value, [(name, text.encode()) for name, text in fields.items()]


def _bytes(data: bytes | None, known: int | None = None) -> int:
    """How long it is, or is known to have been."""
    return len(data or b"") if known is None else known


def _cut(data: bytes | None, most: int) -> bytes | None:
    return None if data is None else data[:most]


def slice_name(rows: pa.Table) -> str:
    """The slice of the topic that a batch is: a retry has the same name, no other slice does."""
    spans = rows.group_by("from_partition").aggregate([("from_offset", "min"), ("from_offset", "max")])
    parts = sorted(zip(*(spans[name].to_pylist() for name in spans.column_names), strict=True))
    return "_".join("-".join(str(value) for value in part) for part in parts)
