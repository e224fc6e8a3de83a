"""Ticks at rest, as canonical ticks: recorded files, the lake, the table."""

import atexit
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from tqdm import tqdm

from conf.settings import Settings
from core.auctions import AuctionSelector, Override
from core.errors import InputError
from core.records import SCALE
from core.rulesets import Ruleset
from core.validate import AMENDING
from jobs.folders import escaped, own_folder
from jobs.ticks import CANONICAL, canonical, condition_mask, corrected, given_id, identity, without_duplicates
from jobs.validate import first_reason, scaled_amounts
from producers.reading import TickFile
from stores.lake import make_lake
from stores.schema import TICK_SCHEMA
from stores.timescale_export import export_ticks

_OVERRIDE = pa.schema(
    [("symbol", pa.string()), ("source", pa.string())]
    + [(name, pa.int64()) for name in ("event_us", "seq", "to_event_us", "to_seq", "mark")]
)
TIMES = ("event_time", "recv_time")
_EXACT_BELOW = 10_000_000.0
_OFF_BY = 0.2
_MAX_US = 253_402_300_800_000_000


def read_lake(
    spark: SparkSession,
    settings: Settings,
    start_us: int = 0,
    end_us: int = _MAX_US,
    symbols: Sequence[str] | None = None,
) -> DataFrame:
    """Canonical ticks of the lake in `[start_us, end_us)` by event time, each trade once, as corrections left it.

    Corrections and cancels count whenever they came after `start_us`.
    """
    lake = make_lake(settings)
    if not lake.paths("ticks", start_us, end_us, symbols):
        raise InputError(f"the lake at {settings.lake_path} holds no ticks of that range")
    paths = lake.paths("ticks", start_us, _MAX_US, symbols)
    return corrected(without_duplicates(_between(_logged(spark.read.parquet(*paths)), start_us, end_us, symbols)))


def read_table(
    spark: SparkSession,
    settings: Settings,
    start_us: int = 0,
    end_us: int = _MAX_US,
    symbols: Sequence[str] | None = None,
) -> DataFrame:
    """Canonical ticks of the table in `[start_us, end_us)` by event time, each trade once, as corrections left it.

    Corrections and cancels count whenever they came. All pass through a file under `settings.data_path`, which
    executors must see; it is removed when Python ends.
    """
    until_the_end = ExitStack()
    atexit.register(until_the_end.close)
    path = until_the_end.enter_context(table_folder(settings)) / "ticks.parquet"
    dsn = settings.postgres_dsn.get_secret_value()
    with tqdm(desc="reading the table", unit=" ticks", unit_scale=True, disable=None) as bar:
        count = export_ticks(dsn, path, start_us, end_us, symbols, bar.update)
    if count == 0:
        raise InputError("the table ticks holds nothing of that range")
    return read_exported(spark, path)


def table_folder(settings: Settings) -> AbstractContextManager[Path]:
    """A new folder for ticks of the table, where executors see it, for as long as the context lasts.

    What a process has left that was killed is removed by the next one.
    """
    return own_folder(settings.data_path, "table-")


def read_exported(spark: SparkSession, path: Path) -> DataFrame:
    """Canonical ticks of a file of TICK_SCHEMA, each trade once, as corrections left it."""
    return corrected(without_duplicates(_logged(spark.read.parquet(str(path.resolve())))))


def read_files(spark: SparkSession, files: Sequence[TickFile], ruleset: Ruleset) -> DataFrame:
    """Canonical ticks of recorded files, each trade once and each print at its effective time; bad rows left out.

    Files of the lake are known by their `identity` column; anything else is the layout of ../shared/data.
    """
    rows = sum(file.rows for file in files)
    parts = [(part, _read_part(spark, part)) for part in alike(files)]
    logs = [(part, frame) for part, frame in parts if "identity" in frame.columns]
    if logs and len(logs) < len(parts):
        raise InputError(f"{logs[0][0][0].path} is of a tick log and others are not: read them by themselves")
    if logs:
        return corrected(without_duplicates(_together(_logged(frame) for _, frame in logs), rows=rows))
    timed = _at_effective_time(_together(_recorded_fields(frame, part) for part, frame in parts), ruleset)
    valid = canonical(timed.where(first_reason(scaled_amounts(), None, 0, None).isNull()))
    # Looked for before validation, so that this pass reads only the columns that make an identity.
    return without_duplicates(valid, among=timed, rows=rows)


def alike(files: Sequence[TickFile]) -> list[list[TickFile]]:
    """The files by what their columns are: Spark takes the first one's for all that it reads at once, and then misreads
    nanoseconds beside microseconds, and leaves out what the first one lacks.

    Raises InputError for times that are numbers: of which unit, nobody says.
    """
    found: dict[tuple[str, ...], list[TickFile]] = {}
    for file in files:
        found.setdefault(_columns(file.path), []).append(file)
    return list(found.values())


def _columns(path: Path) -> tuple[str, ...]:
    """What sets a file apart from those that Spark may read along with it."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig") as lines:
            return ".csv", lines.readline().strip()
    schema = pq.read_schema(path)
    for name in (name for name in TIMES if name in schema.names):
        kind = schema.field(name).type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            raise InputError(f"{path}: {name} is {kind}, which does not say its unit: write timestamps, or text")
    return tuple(f"{field.name} {field.type}" for field in sorted(schema, key=lambda field: field.name))


def _read_part(spark: SparkSession, files: Sequence[TickFile]) -> DataFrame:
    paths = [escaped(file.path) for file in files]
    return spark.read.csv(paths, header=True) if files[0].path.suffix == ".csv" else spark.read.parquet(*paths)


def _together(parts: Iterable[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, parts)


def _recorded_fields(frame: DataFrame, files: Sequence[TickFile]) -> DataFrame:
    """The fields of the tick record, as `jobs.validate` expects them."""
    kinds = dict(frame.dtypes)
    # As in a URI, where a plus is a plus.
    name = F.url_decode(F.replace(F.col("_metadata.file_name"), F.lit("+"), F.lit("%2B")))
    stem = F.left(name, F.length(name) - F.lit(len(files[0].path.suffix)))
    prefix = files[0].source.removesuffix(files[0].path.stem)

    def optional(name: str, kind: str = "string") -> Column:
        if kind == "string" and kinds.get(name) in ("float", "double"):
            return _text_of_float(F.col(name))
        return F.col(name).cast(kind) if name in kinds else F.lit(None).cast(kind)

    event_us = _micros(frame, "event_time")
    suspicious = F.coalesce(optional("suspicious", "boolean"), F.lit(False))
    return frame.select(
        F.lit(1).alias("v"),
        "symbol",
        event_us.alias("event_us"),
        _units("price").alias("price"),
        _units("size").alias("size"),
        given_id(optional("trade_id")).alias("trade_id"),
        F.col("seq").cast("long").alias("seq"),
        F.concat(F.lit(prefix), stem).alias("source"),
        optional("exchange").alias("venue"),
        optional("conditions").alias("conditions"),
        F.lit("trade").alias("kind"),
        F.lit(None).cast("long").alias("reported_us"),
        F.coalesce(_micros(frame, "recv_time"), event_us).alias("received_us"),
        F.lit(None).cast("int").alias("kafka_partition"),
        F.lit(None).cast("long").alias("kafka_offset"),
        suspicious.alias("suspicious"),
        F.lit(True).alias("parsed"),
        F.lit(b"recorded").alias("value"),
    )


def _text_of_float(column: Column) -> Column:
    """Of an id beside missing ones, which pandas writes as a float: 17.0 is "17", NaN is none."""
    whole = column.cast("long")
    return F.when(column == whole, whole.cast("string")).when(~F.isnan(column), column.cast("string"))


def _micros(frame: DataFrame, name: str) -> Column:
    """Microseconds, from timestamps, text, or nanoseconds, which Spark reads as a plain number; null where absent."""
    kind = dict(frame.dtypes).get(name)
    if kind is None:
        return F.lit(None).cast("long")
    return F.expr(f"{name} div 1000") if kind == "bigint" else F.unix_micros(F.col(name).cast("timestamp"))


def _units(name: str) -> Column:
    """A double as a count of 1e-8, exactly: the double stands for its shortest decimal.

    Below 10 million, times 1e8 is off by less than a tenth of a unit, so rounding restores the decimal; above,
    Spark's own conversion by shortest digits does. Null for more than 8 decimals and for what is no number.
    """
    number = F.col(name).try_cast("double")
    units = number * F.lit(float(SCALE))
    near = F.rint(units)
    exact = F.when(F.abs(units - near) < _OFF_BY, near.cast("long"))
    large = (number.try_cast("decimal(18,8)") * F.lit(SCALE).cast("decimal(9,0)")).cast("long")
    return F.when((number >= 0) & (number < _EXACT_BELOW), exact).when(number >= _EXACT_BELOW, large)


def _at_effective_time(ticks: DataFrame, ruleset: Ruleset) -> DataFrame:
    """Moves auction prints where the ruleset says they belong, and marks them and suspicious ones."""
    if not ruleset.rules:
        return ticks
    marks = F.when(F.col("suspicious"), F.lit(ruleset.suspicious)).otherwise(F.lit(0)).cast("long")
    overrides = _overrides(ticks, ruleset)
    if overrides:
        # From Arrow: a list would start a Python worker a slot, seconds for a few hundred rows.
        table = pa.table(list(zip(*overrides, strict=True)), schema=_OVERRIDE)
        moved = F.broadcast(ticks.sparkSession.createDataFrame(table))
        ticks = ticks.join(moved, ["symbol", "source", "event_us", "seq"], "left")
        marks = marks.bitwiseOR(F.coalesce("mark", F.lit(0)))
        to = {"event_us": F.coalesce("to_event_us", "event_us"), "seq": F.coalesce("to_seq", "seq")}
        reported = F.when(F.col("mark").isNotNull(), F.col("event_us"))
        ticks = ticks.withColumn("reported_us", reported).withColumn("marks", marks).withColumns(to)
    else:
        ticks = ticks.withColumn("marks", marks)
    marked = F.lower(F.hex(condition_mask().bitwiseOR(F.col("marks"))))
    return ticks.withColumn("conditions", F.when(F.col("marks") != 0, marked).otherwise(F.col("conditions")))


def _overrides(ticks: DataFrame, ruleset: Ruleset) -> list[tuple[str, str, int, int, int, int, int]]:
    """The selected auction prints: candidates are few, so `core.auctions` walks them on the driver."""
    selector = AuctionSelector(ruleset)
    bits = selector.candidate_bits
    if not bits:
        return []
    candidates = ticks.where(condition_mask().bitwiseAND(F.lit(bits)) != 0).select(
        "symbol", "source", "venue", condition_mask().alias("mask"), "event_us", "seq"
    )
    found = []
    for row in sorted(candidates.collect(), key=lambda row: (row.symbol, row.event_us, row.seq)):
        override = selector.select(row.symbol, row.venue, row.mask, row.event_us, row.seq)
        if override is not None:
            found.append(_moved(row.symbol, row.source, row.event_us, row.seq, override))
    return found


def _moved(symbol: str, source: str, event_us: int, seq: int, to: Override) -> tuple[str, str, int, int, int, int, int]:
    return symbol, source, event_us, seq, to.event_us, to.seq, to.mark


def _logged(frame: DataFrame) -> DataFrame:
    """Canonical ticks from rows of TICK_SCHEMA."""
    missing = [name for name in TICK_SCHEMA.names if name not in frame.columns]
    if missing:
        raise InputError(f"not a tick log: {', '.join(missing)} missing")
    timed = frame.withColumn("event_us", F.unix_micros("event_time"))
    units = {name: (F.col(name) * F.lit(SCALE).cast("decimal(9,0)")).cast("long") for name in ("price", "size")}
    scaled = timed.withColumns(units)
    # A log may name a correction like its trade, as it did once.
    amending = F.when(F.col("kind").isin(*AMENDING), identity()).otherwise(F.col("identity"))
    return scaled.withColumn("identity", amending).select(*CANONICAL)


def _between(ticks: DataFrame, start_us: int, end_us: int, symbols: Sequence[str] | None) -> DataFrame:
    within = ticks.where(
        (F.col("event_us") >= start_us) & ((F.col("event_us") < end_us) | F.col("kind").isin(*AMENDING))
    )
    return within if symbols is None else within.where(F.col("symbol").isin(*symbols))
