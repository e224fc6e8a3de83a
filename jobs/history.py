"""A history as the running system would have left it, from recorded files: tick log, final bars, amendments.

A bar is first made of the ticks that had come when it closed, then reconciled with the log. Offsets are made up: the
order of receipt, in one partition.
"""

from collections.abc import Sequence

import psycopg
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from core import rulesets
from core.clock import Clock
from core.intervals import INTERVALS, SECOND_US, Interval
from jobs.backfill import batch_bars
from jobs.indicators import BatchIndicators
from jobs.reconciler import Reconciler
from jobs.recorded import read_files, read_lake
from jobs.sinks import Sinks
from producers.reading import TickFile
from stores.lake import make_lake
from stores.schema import TICK_SCHEMA
from stores.timescale import make_timescale

WINDOW_US = max(interval.us for interval in INTERVALS.values())
_UNITS = "CAST(CAST({0} AS DECIMAL(19,0)) * CAST('0.00000001' AS DECIMAL(9,8)) AS DECIMAL(18,8)) AS {0}"


def load_history(spark: SparkSession, settings: Settings, files: Sequence[TickFile], clock: Clock) -> tuple[int, int]:
    """Fill empty stores, the lake and the topics of `settings` with recorded ticks and their bars.

    Gives how many bars became final, and how many of them were amended for ticks that came too late.
    """
    sinks = Sinks(settings)
    sinks.setup()
    try:
        _write_log(settings, _tick_rows(read_files(spark, files, rulesets.load(settings.ruleset))))
        lateness_us = int(settings.lateness_seconds * SECOND_US)
        shortest = min(settings.bar_intervals, key=lambda interval: interval.us)
        ticks = read_lake(spark, settings).persist()
        count = _write_bars(ticks, settings, sinks, clock, lateness_us)
        windows = late_windows(ticks, shortest, lateness_us)
        ticks.unpersist()
        _analyse(settings)
        reconciler = Reconciler(spark, settings, sinks, clock, final_here=False)
        return count, sum(_amended(reconciler, start_us) for start_us in windows)
    finally:
        sinks.close()


def on_time(ticks: DataFrame, interval: Interval, lateness_us: int) -> DataFrame:
    """The ticks that had been received when the bar that they belong to closed."""
    return ticks.where(f"{_after_end(interval)} <= {lateness_us}")


def late_windows(ticks: DataFrame, interval: Interval, lateness_us: int) -> list[int]:
    """The starts of the longest bars, ascending, in which ticks came after a bar of this interval had closed."""
    late = ticks.where(f"{_after_end(interval)} > {lateness_us}")
    starts = late.selectExpr(f"event_us - event_us % {WINDOW_US} AS start_us").distinct()
    return sorted(row.start_us for row in starts.collect())


def _after_end(interval: Interval) -> str:
    """How long after the end of its bar a tick was received."""
    return f"(received_us - (event_us - event_us % {interval.us} + {interval.us}))"


def _amended(reconciler: Reconciler, start_us: int) -> int:
    return len(reconciler.run_range(start_us, start_us + WINDOW_US).amended)


def _analyse(settings: Settings) -> None:
    """Tell the planner of the database what was just loaded."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("ANALYZE ticks, bars")


def _tick_rows(ticks: DataFrame) -> pa.Table:
    """Canonical ticks as TICK_SCHEMA, in the order of receipt, with offsets."""
    made = {"price": _UNITS.format("price"), "size": _UNITS.format("size")}
    rows = ticks.selectExpr(*(made.get(name, name) for name in TICK_SCHEMA.names), "event_us").toArrow()
    rows = rows.sort_by([("received_us", "ascending"), ("event_us", "ascending"), ("seq", "ascending")])
    numbers = {
        "kafka_partition": pa.array([0] * rows.num_rows, pa.int32()),
        "kafka_offset": pa.array(range(rows.num_rows), pa.int64()),
    }
    for name, column in numbers.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows.select(TICK_SCHEMA.names).cast(TICK_SCHEMA)


def _write_log(settings: Settings, rows: pa.Table) -> None:
    make_lake(settings).write_ticks(rows)
    table = make_timescale(settings)
    try:
        table.write_ticks(rows)
    finally:
        table.close()


def _write_bars(ticks: DataFrame, settings: Settings, sinks: Sinks, clock: Clock, lateness_us: int) -> int:
    parts = [
        batch_bars(on_time(ticks, interval, lateness_us), (interval,), settings.ruleset, clock.now_us()).toArrow()
        for interval in settings.bar_intervals
    ]
    rows = pa.concat_tables(parts)
    sinks.write_bars(rows, BatchIndicators(settings, settings.bar_intervals).rows(rows))
    return rows.num_rows
