"""The backfill over a part, from the files as they were recorded or from a tick log in any order."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from jobs.backfill import batch_bars
from jobs.indicators import BatchIndicators
from jobs.recorded import read_files
from jobs.ticks import SEPARATOR
from jobs.verifying.comparing import bars_of_tables
from jobs.verifying.outcome import Outcome
from jobs.verifying.recording import Part
from jobs.verifying.schedules import Schedule, arrange
from producers.reading import TickFile, find_files
from stores.schema import AMOUNT, BAR_SCHEMA, TICK_SCHEMA, TIME


def batch(spark: SparkSession, part: Part, schedule: Schedule, files: Sequence[TickFile], folder: Path) -> Outcome:
    """Bars by `jobs.backfill`: without partitions of the recorded `files`, else of a log cut into that many."""
    of = part.of
    spark.conf.set("spark.sql.shuffle.partitions", str(schedule.shuffles))
    if of.renumbered:
        schedule = replace(schedule, partitions=max(1, schedule.partitions))
    if schedule.partitions:
        ticks = read_files(spark, find_files([_write_log(part, schedule, folder)]), of.ruleset)
    else:
        ticks = _of_part(read_files(spark, files, of.ruleset), part)
    rows = batch_bars(ticks, of.settings.bar_intervals, of.settings.ruleset, 1).toArrow().cast(BAR_SCHEMA)
    indicators = BatchIndicators(of.settings, of.settings.bar_intervals).rows(rows)
    return Outcome(bars_of_tables(rows, indicators))


def log_table(
    ticks: pd.DataFrame, received_us: np.ndarray, partition: int | None = None, first_offset: int = 0
) -> pa.Table:
    """Ticks as TICK_SCHEMA, with offsets in this order where a partition is given."""
    size = len(ticks)
    columns = {
        name: pa.array(ticks[name], pa.string(), from_pandas=True)
        for name in ("symbol", "trade_id", "source", "venue", "conditions", "kind")
    }
    columns |= {name: pa.array(ticks[name], pa.string(), from_pandas=True).cast(AMOUNT) for name in ("price", "size")}
    columns |= {
        "event_time": pa.array(ticks["event_us"].to_numpy(np.int64)).cast(TIME),
        "seq": pa.array(ticks["seq"].to_numpy(np.int64)),
        "reported_us": pa.array(ticks["reported_us"], pa.int64(), from_pandas=True),
        "received_us": pa.array(received_us.astype(np.int64)),
        "kafka_partition": pa.array([partition] * size, pa.int32()),
        "kafka_offset": pa.array([None if partition is None else first_offset + n for n in range(size)], pa.int64()),
        "identity": pa.array(_identities(ticks), pa.string()),
    }
    return pa.table([columns[name] for name in TICK_SCHEMA.names], schema=TICK_SCHEMA)


def _of_part(ticks: DataFrame, part: Part) -> DataFrame:
    """Files may hold more than was asked for."""
    start_us, end_us = part.window
    within = (ticks["event_us"] >= start_us) & (ticks["event_us"] < end_us)
    return ticks.where(within & ticks["symbol"].isin(sorted(part.symbols)))


def _write_log(part: Part, schedule: Schedule, folder: Path) -> Path:
    arrivals = arrange(part.ticks, schedule, part.of.lateness_us)
    folder = folder / "log"
    folder.mkdir(parents=True)
    table = log_table(part.ticks, part.ticks["event_us"].to_numpy())
    received = table.schema.get_field_index("received_us")
    for number in range(schedule.partitions):
        own = np.flatnonzero(arrivals.partition == number)
        if len(own):
            rows = table.take(pa.array(arrivals.row[own]))
            rows = rows.set_column(received, TICK_SCHEMA.field("received_us"), pa.array(arrivals.received_us[own]))
            pq.write_table(rows, folder / f"part-{number:02}.parquet", row_group_size=10_000)
    return folder


def _identities(ticks: pd.DataFrame) -> list[str]:
    """`jobs.ticks.identity` of each row."""
    found = []
    names = ("symbol", "venue", "trade_id", "source", "event_us", "seq", "kind", "price", "size")
    for row in zip(*(ticks[name].astype(object).where(ticks[name].notna(), None) for name in names), strict=True):
        symbol, venue, trade_id, source, event_us, seq, kind, price, size = row
        parts = [symbol, "seq", source, str(event_us), str(seq)]
        if trade_id is not None:
            parts = [symbol, "id", venue or "", trade_id]
        if kind != "trade":
            parts += [kind, str(event_us), price or "", size or ""]
        found.append(SEPARATOR.join(parts))
    return found
