"""Bars in batch: ticks from recorded files, the lake or the table into the stores, or into Parquet."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from tqdm import tqdm

from conf.settings import Settings, load_settings
from core import rulesets
from core.clock import SystemClock
from core.errors import InputError, TickstreamError
from core.intervals import Interval, parse_intervals
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

Into the stores, a bar that is already there stays: a backfill fills gaps, it does not amend."""


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
        rows = batch_bars(ticks, intervals, ruleset, SystemClock().now_us())
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


def _to_parquet(rows: DataFrame, out: Path) -> int:
    rows.write.mode("overwrite").parquet(str(out))
    return rows.sparkSession.read.parquet(str(out)).count()


def _to_stores(rows: DataFrame, settings: Settings, intervals: tuple[Interval, ...]) -> int:
    """Write bars and indicators day by day, so that the driver holds one day of bars at a time."""
    sinks = Sinks(settings, states_published=False)
    sinks.setup()
    indicators = BatchIndicators(settings, intervals)
    held = rows.persist()
    try:
        days = [row.day for row in held.select(F.to_date("start").alias("day")).distinct().orderBy("day").collect()]
        count = 0
        for day in tqdm(days, desc="writing", unit="day", disable=None):
            batch = held.where(F.to_date("start") == F.lit(day)).toArrow()
            if not count:
                indicators.rows(sinks.bars_before(batch, indicators.warm_up))
            sinks.write_bars(batch, indicators.rows(batch))
            count += batch.num_rows
        return count
    finally:
        held.unpersist()
        sinks.close()


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
