"""Indicators of bars at rest, days or any other length: Parquet or CSV in, the same rows with a column per output, out.

One call of `core.indicators.compute` per symbol, spread over the cores or the cluster, so the values are those of the
stream, bit for bit.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, StructField, StructType

from conf.settings import load_settings
from core.errors import InputError, TickstreamError
from core.indicators import columns_of, compute, parse_all
from core.intervals import DAILY
from core.sessions import ALWAYS_OPEN
from jobs.session import session

REQUIRED = ("symbol", "open", "high", "low", "close", "volume")
# What sets histories apart that are in the same file: the sides of a quote, two publishers of one symbol.
KEYS = ("symbol", "interval", "kind", "source")
_START = "__start"
_EXAMPLES = """examples:
  ./spark-submit.sh jobs/daily.py --bars ../shared/data/daily/us_equity_1998_2021.parquet --out /tmp/daily
      the configured set of indicators, TICKSTREAM_INDICATORS (1d=sma:200 is for daily bars only)
  ./spark-submit.sh jobs/daily.py --bars a.parquet b.csv --indicators "rsi:14 macd:12,26,9" --out /tmp/daily

files: symbol, open, high, low, close, volume, and `date` or `start`; further columns are kept as they are. Rows of
one symbol that differ in interval, kind or source are histories of their own. NaN: an indicator is not ready yet."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when done, 1 with one line on what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        specs = options.indicators or " ".join(each.spec for each in settings.indicators_of(DAILY))
        parse_all(specs)
        if options.out.exists() and not options.overwrite:
            raise InputError(f"{options.out} exists; choose another path or add --overwrite")
        spark, started = session("tickstream daily"), time.monotonic()
        rows = with_indicators(read_bars(spark, options.bars), specs, settings.calendar)
        rows.write.mode("overwrite").parquet(str(options.out))
        count, seconds = spark.read.parquet(str(options.out)).count(), time.monotonic() - started
        sys.stdout.write(f"daily: {count:,} bars with {specs} in {seconds:.1f} s -> {options.out}\n")
    except TickstreamError as error:
        sys.stderr.write(f"daily: {error}\n")
        return 1
    return 0


def read_bars(spark: SparkSession, paths: Sequence[Path]) -> DataFrame:
    """The rows of all files, by name of column. Raises InputError naming the file and what it lacks."""
    frames = [_read(spark, path) for path in paths]
    first, *others = frames
    for other in others:
        first = first.unionByName(other, allowMissingColumns=True)
    return first


def _read(spark: SparkSession, path: Path) -> DataFrame:
    if not path.exists():
        raise InputError(f"no such file: {path}")
    is_csv = path.suffix == ".csv"
    frame = spark.read.csv(str(path), header=True, inferSchema=True) if is_csv else spark.read.parquet(str(path))
    lacking = [name for name in REQUIRED if name not in frame.columns]
    if not {"date", "start"} & set(frame.columns):
        lacking.append("date or start")
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}")
    return frame


def with_indicators(bars: DataFrame, specs: str, calendar: str = ALWAYS_OPEN) -> DataFrame:
    """The rows of `bars` and a double column per output of the indicators; order of rows is not kept."""
    names = [name for each in parse_all(specs) for name in columns_of(each)]
    taken = sorted(set(names) & set(bars.columns))
    if taken:
        raise InputError(f"the bars have columns of these names already: {', '.join(taken)}")
    start = "start" if "start" in bars.columns else "date"
    timed = bars.withColumn(_START, F.unix_micros(F.col(start).cast("timestamp")))
    keys = [name for name in KEYS if name in bars.columns]
    schema = StructType([*bars.schema.fields, *(StructField(name, DoubleType()) for name in names)])

    def of_history(history: pd.DataFrame) -> pd.DataFrame:
        inputs = {name: history[name].astype("float64") for name in REQUIRED[1:]} | {"start": history[_START]}
        if "notional" in history:
            inputs["notional"] = history["notional"].astype("float64")
        return pd.concat([history.drop(columns=_START), compute(pd.DataFrame(inputs), specs, calendar)], axis=1)

    return timed.groupBy(*keys).applyInPandas(of_history, schema)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./spark-submit.sh jobs/daily.py",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bars", nargs="+", type=Path, required=True, metavar="PATH", help="Parquet or CSV of bars")
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help="write Parquet here")
    parser.add_argument("--overwrite", action="store_true", help="replace what is at --out")
    parser.add_argument("--indicators", metavar="SPECS", help="such as 'sma:50 rsi:14' (default: the setting)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
