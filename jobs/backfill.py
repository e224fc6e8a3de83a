"""Bars in batch: ticks from recorded files, the lake or the table into the stores, or into Parquet."""

from conf.loading import loading

with loading():
    import argparse
    import sys
    import time
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Protocol

    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql import functions as F
    from tqdm import tqdm

    from conf.settings import Settings, load_settings
    from core import rulesets
    from core.clock import SystemClock
    from core.errors import InputError, TickstreamError
    from core.intervals import MINUTE_US, SECOND_US, Interval, parse_intervals
    from jobs.bars import as_final, bars
    from jobs.indicators import BatchIndicators
    from jobs.recorded import read_files, read_lake, read_table
    from jobs.session import session
    from jobs.sinks import Sinks
    from producers.reading import find_files

_EXAMPLES = """examples:
  ./spark-submit.sh jobs/backfill.py --ticks ../shared/data/us_equity_2013 --ruleset us-equity --out /tmp/bars
  ./spark-submit.sh jobs/backfill.py --ticks day1.parquet day2.csv           into the configured stores
  ./spark-submit.sh jobs/backfill.py --lake --intervals 1m                   from the tick log in the lake
  ./spark-submit.sh jobs/backfill.py --table --out /tmp/bars                 from the tick log in the database

Into the stores, a bar that is already there stays: a backfill fills gaps, it does not amend. From a tick log that was
written in the last ten minutes, the bars that a running stream has still open are left to it."""
_WRITTEN_US = 10 * MINUTE_US
_SPARE_US = MINUTE_US


class BarStores(Protocol):
    """Where bars go, and what is there of those before them."""

    def bars_before(self, bars: pa.Table, count: int) -> pa.Table: ...

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when done, 1 with one line on what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        intervals = parse_intervals(options.intervals or settings.intervals)
        ruleset = options.ruleset or settings.ruleset
        rulesets.load(ruleset)
        _check_out(options.out, options.overwrite)
        files = find_files([Path(path) for path in options.ticks or []]) if options.ticks else []
        spark = session("tickstream backfill")
        started = time.monotonic()
        if files:
            ticks = read_files(spark, files, rulesets.load(ruleset))
        else:
            ticks = (read_table if options.table else read_lake)(spark, settings)
        now_us = SystemClock().now_us()
        rows = batch_bars(ticks, intervals, ruleset, now_us)
        if options.out is None and not files:
            rows = closed_bars(rows, ticks, settings, now_us)
        count = _to_parquet(rows, options.out) if options.out else _to_stores(rows, settings, intervals)
        seconds = time.monotonic() - started
        read = sum(file.rows for file in files)
        pace = f" of {read:,} ticks ({read / seconds:,.0f} ticks/s)" if read else ""
        sys.stdout.write(f"backfill: {count:,} bars{pace} in {seconds:.1f} s -> {options.out or 'the stores'}\n")
    except TickstreamError as error:
        sys.stderr.write(f"backfill: {error}\n")
        return 1
    return 0


def batch_bars(ticks: DataFrame, intervals: tuple[Interval, ...], ruleset: str, processed_us: int) -> DataFrame:
    """Final bars of canonical ticks, each trade once."""
    return as_final(bars(ticks, intervals, rulesets.load(ruleset)), processed_us)


def closed_until(newest_event_us: int, newest_received_us: int, now_us: int, lateness_us: int) -> int | None:
    """Up to which end the bars of a tick log are closed, epoch microseconds; None when all are.

    A log that was written in the last ten minutes is taken for a running stream's. It closes a bar a lateness after its
    end, as its newest tick has it; a minute more is for what it has read and not yet done.
    """
    if now_us - newest_received_us > _WRITTEN_US:
        return None
    return newest_event_us - lateness_us - _SPARE_US


def closed_bars(rows: DataFrame, ticks: DataFrame, settings: Settings, now_us: int) -> DataFrame:
    """The final bars of a tick log, less those that are for a running stream to make final; says so on stderr."""
    newest = ticks.agg(F.max("event_us").alias("event_us"), F.max("received_us").alias("received_us")).first()
    if newest is None or newest.event_us is None:
        return rows
    lateness_us = int(settings.lateness_seconds * SECOND_US)
    until_us = closed_until(newest.event_us, newest.received_us, now_us, lateness_us)
    if until_us is None:
        return rows
    seconds = (newest.event_us - until_us) // SECOND_US
    told = f"bars that end in its last {seconds} s or later are left to the stream"
    sys.stderr.write(f"backfill: the log is being written; {told}\n")
    return rows.where(F.unix_micros("end") <= until_us)


def _to_parquet(rows: DataFrame, out: Path) -> int:
    rows.write.mode("overwrite").parquet(str(out))
    return rows.sparkSession.read.parquet(str(out)).count()


def _to_stores(rows: DataFrame, settings: Settings, intervals: tuple[Interval, ...]) -> int:
    sinks = Sinks(settings, states_published=False)
    sinks.setup()
    held = rows.persist()
    try:
        return write_days(_days(held), sinks, BatchIndicators(settings, intervals))
    finally:
        held.unpersist()
        sinks.close()


def _days(rows: DataFrame) -> Iterator[pa.Table]:
    """The bars day by day, so that the driver holds one day of bars at a time."""
    days = [row.day for row in rows.select(F.to_date("start").alias("day")).distinct().orderBy("day").collect()]
    for day in tqdm(days, desc="writing", unit="day", disable=None):
        yield rows.where(F.to_date("start") == F.lit(day)).toArrow()


def write_days(days: Iterable[pa.Table], sinks: BarStores, indicators: BatchIndicators) -> int:
    """Write bars, in order of time, and their indicators; how many bars.

    The indicators of a series go on from the stored bars before those of a day, the ones between two days included.
    """
    count = 0
    for bars_of_day in days:
        _catch_up(bars_of_day, sinks, indicators)
        sinks.write_bars(bars_of_day, indicators.rows(bars_of_day))
        count += bars_of_day.num_rows
    return count


def _catch_up(bars_of_day: pa.Table, sinks: BarStores, indicators: BatchIndicators) -> None:
    """Take in the stored bars before those of a day, of the series that have any which were not taken in."""
    behind = _not_taken_in(sinks.bars_before(bars_of_day, 1), indicators)
    if not behind.num_rows:
        return
    keys = set(_series(behind))
    own = bars_of_day.filter(pa.array([key in keys for key in _series(bars_of_day)], pa.bool_()))
    indicators.rows(_not_taken_in(sinks.bars_before(own, indicators.warm_up), indicators))


def _not_taken_in(stored: pa.Table, indicators: BatchIndicators) -> pa.Table:
    return stored.filter(pa.array(~indicators.taken_in(stored)))


def _series(bars: pa.Table) -> list[tuple[str, str]]:
    return list(zip(bars["symbol"].to_pylist(), bars["interval"].to_pylist(), strict=True))


def _check_out(out: Path | None, overwrite: bool) -> None:
    if out is not None and out.exists() and not overwrite and any(out.iterdir() if out.is_dir() else [out]):
        raise InputError(f"{out} exists; choose another path or add --overwrite")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./spark-submit.sh jobs/backfill.py",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ticks", nargs="+", metavar="PATH", help="Parquet or CSV files of ticks, or folders of them")
    source.add_argument("--lake", action="store_true", help="read the tick log of the lake")
    source.add_argument("--table", action="store_true", help="read the tick log of the database, all that it keeps")
    parser.add_argument("--out", type=Path, metavar="PATH", help="write Parquet here instead of into the stores")
    parser.add_argument("--overwrite", action="store_true", help="replace what is at --out")
    parser.add_argument("--intervals", metavar="1m,5m,15m", help="bar intervals (default: the setting)")
    parser.add_argument(
        "--ruleset", metavar="NAME", help=f"one of {', '.join(rulesets.names())} (default: the setting)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
