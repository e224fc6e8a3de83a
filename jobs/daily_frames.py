"""Bars at rest as one Spark frame: what files hold, and one line about what in them cannot be right."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, NumericType, StringType, StructField, StructType

from core.errors import InputError
from jobs.folders import escaped

REQUIRED = ("symbol", "open", "high", "low", "close", "volume")
# What sets histories apart that are in the same file: the sides of a quote, two publishers of one symbol.
KEYS = ("symbol", "interval", "kind", "source")
TIMES = ("start", "date")
START, FILE = "__start", "__file"
"""Columns that reading adds: when a bar begins, epoch microseconds, and the path that it comes from."""
_NUMBERS = (*REQUIRED[1:], "notional")


def read_bars(spark: SparkSession, paths: Sequence[Path]) -> DataFrame:
    """The rows of all files, by name of column, with START and FILE. Raises InputError naming the file."""
    first, *others = (_read(spark, path) for path in paths)
    for other in others:
        first = first.unionByName(other, allowMissingColumns=True)
    return first


def check_bars(bars: DataFrame) -> None:
    """Raise InputError for a row without symbol or time, and for a bar that is there twice."""
    keys = keys_of(bars)
    found = (
        bars.groupBy(*keys, START)
        .agg(F.count("*").alias("rows"), F.sort_array(F.collect_set(FILE)).alias("files"), F.first(_shown(bars), True))
        .toDF(*keys, START, "rows", "files", "time")
        .where((F.col("rows") > 1) | F.col(START).isNull() | F.col("symbol").isNull())
        .orderBy(*keys, START)
        .first()
    )
    if found is not None:
        raise InputError(_told(found, keys))


def keys_of(bars: DataFrame) -> list[str]:
    """The columns that name a history."""
    return [name for name in KEYS if name in bars.columns]


def _told(row: Row, keys: Sequence[str]) -> str:
    files = " and ".join(row.files)
    if row.symbol is None:
        return f"{files}: a row without a symbol, of {row.time}"
    name = " ".join(str(row[key]) for key in keys if row[key] is not None)
    if row[START] is None and row.time is None:
        return f"{files}: {name} has a row without a time"
    if row[START] is None:
        return f"{files}: {name} has the time {row.time!r}, which is not one such as 2024-03-05"
    said = "there twice" if row.rows == 2 else f"there {row.rows} times"
    advice = "leave one out" if len(row.files) > 1 else "keep one of them"
    return f"{files}: {name} {row.time} is {said}: {advice}, or set publishers apart by a column `source`"


def _shown(bars: DataFrame) -> Column:
    """The time of a row as its file has it."""
    return F.coalesce(*(F.col(name).cast("string") for name in TIMES if name in bars.columns))


def _read(spark: SparkSession, path: Path) -> DataFrame:
    if not path.exists():
        raise InputError(f"no such file: {path}")
    frame = _csv(spark, path) if path.suffix == ".csv" else _parquet(spark, path)
    lacking = [name for name in REQUIRED if name not in frame.columns]
    if not set(TIMES) & set(frame.columns):
        lacking.append("date or start")
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}")
    numbers = _numbers(frame, path)
    times = [_micros(frame.schema[name], path) for name in TIMES if name in frame.columns]
    return numbers.withColumns({START: F.coalesce(*times), FILE: F.lit(str(path))})


def _csv(spark: SparkSession, path: Path) -> DataFrame:
    """Keys stay text: the symbols 000001 and TRUE are neither a number nor a truth."""
    place = escaped(path)
    guessed = spark.read.csv(place, header=True, inferSchema=True).schema
    schema = [StructField(each.name, StringType()) if each.name in KEYS else each for each in guessed]
    return spark.read.csv(place, header=True, schema=StructType(schema))


def _parquet(spark: SparkSession, path: Path) -> DataFrame:
    """Nanoseconds, which Spark has no type for, as microseconds."""
    schemas = _schemas(path)
    frame = spark.read.parquet(escaped(path))
    for name in frame.columns:
        kinds = {schema.field(name).type for schema in schemas if name in schema.names}
        nanos = {pa.types.is_timestamp(kind) and kind.unit == "ns" for kind in kinds}
        if nanos == {True}:
            frame = frame.withColumn(name, F.timestamp_micros(F.expr(f"`{name}` div 1000")))
        elif True in nanos:  # Spark would read the one as numbers of the other
            told = ", ".join(sorted(map(str, kinds)))
            raise InputError(f"{path}: {name} is of several types in its files, {told}: name the files one by one")
    return frame


def _schemas(path: Path) -> list[pa.Schema]:
    files = [path] if path.is_file() else sorted(path.rglob("[!._]*.parquet"))
    if not files:
        raise InputError(f"{path} holds no Parquet file")
    found = []
    for file in files:
        try:
            found.append(pq.read_schema(file))
        except (pa.ArrowInvalid, OSError):
            raise InputError(f"{file} is neither CSV nor Parquet") from None
    return found


def _numbers(frame: DataFrame, path: Path) -> DataFrame:
    """Amounts that are text as doubles. Raises InputError with the first that is no number."""
    for name in (name for name in _NUMBERS if name in frame.columns):
        kind = frame.schema[name].dataType
        if isinstance(kind, StringType):
            number = F.col(name).try_cast("double")
            wrong = frame.where(F.col(name).isNotNull() & number.isNull()).select("symbol", _shown(frame), name).first()
            if wrong is not None:
                raise InputError(f"{path}: {wrong[0]} {wrong[1]}: {name} is {wrong[2]!r}, which is not a number")
            frame = frame.withColumn(name, number)
        elif not isinstance(kind, NumericType):
            raise InputError(f"{path}: {name} is {kind.simpleString()}, which is not a number")
    return frame


def _micros(field: StructField, path: Path) -> Column:
    """Epoch microseconds of a time or a date; a text that is none gives null, one without a zone is UTC."""
    if isinstance(field.dataType, NumericType | BooleanType):
        kind = field.dataType.simpleString()
        raise InputError(f"{path}: {field.name} is {kind}, which does not say its unit: write a date or a timestamp")
    return F.unix_micros(F.col(field.name).try_cast("timestamp"))
