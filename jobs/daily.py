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
from pyspark.sql import DataFrame
from pyspark.sql.types import DoubleType, StructField, StructType

from conf.settings import load_settings
from core.errors import InputError, TickstreamError
from core.indicators import columns_of, compute, parse_all
from core.intervals import DAILY
from core.sessions import ALWAYS_OPEN
from jobs.daily_frames import FILE, REQUIRED, START, check_bars, keys_of, read_bars
from jobs.folders import escaped, own_folder, put, recover
from jobs.session import session

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
        out = options.out.resolve()
        _check_out(out, options.overwrite, options.bars)
        spark, started = session("tickstream daily"), time.monotonic()
        bars = read_bars(spark, options.bars)
        rows = with_indicators(bars, specs, settings.calendar)
        check_bars(bars)
        count, seconds = _write(rows, out), time.monotonic() - started
        sys.stdout.write(f"daily: {count:,} bars with {specs} in {seconds:.1f} s -> {options.out}\n")
    except TickstreamError as error:
        sys.stderr.write(f"daily: {error}\n")
        return 1
    return 0


def with_indicators(bars: DataFrame, specs: str, calendar: str = ALWAYS_OPEN) -> DataFrame:
    """The rows of `bars` and a double column per output of the indicators; order of rows is not kept."""
    names = [name for each in parse_all(specs) for name in columns_of(each)]
    taken = sorted(set(names) & set(bars.columns))
    if taken:
        raise InputError(f"the bars have columns of these names already: {', '.join(taken)}")
    schema = StructType([*bars.drop(START, FILE).schema.fields, *(StructField(name, DoubleType()) for name in names)])

    def of_history(history: pd.DataFrame) -> pd.DataFrame:
        inputs = {name: history[name].astype("float64") for name in REQUIRED[1:]} | {"start": history[START]}
        if "notional" in history and history["notional"].notna().any():  # another file may have it, and this one not
            inputs["notional"] = history["notional"].astype("float64")
        return pd.concat([history.drop(columns=START), compute(pd.DataFrame(inputs), specs, calendar)], axis=1)

    return bars.drop(FILE).groupBy(*keys_of(bars)).applyInPandas(of_history, schema)


def _check_out(out: Path, overwrite: bool, bars: Sequence[Path]) -> None:
    recover(out)
    held = next((path for path in bars if path.resolve().is_relative_to(out)), None)
    if held is not None:
        raise InputError(f"{out} holds {held}, which is read: choose another path")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists; choose another path or add --overwrite")


def _write(rows: DataFrame, out: Path) -> int:
    """Let the rows take the place of what is at `out`, once they are all written; how many."""
    try:
        with own_folder(out.parent, f".{out.name}.making-") as own:
            made = own / out.name
            rows.write.parquet(str(made))
            count = rows.sparkSession.read.schema(rows.schema).parquet(escaped(made)).count()
            put(made, out)
            return count
    except OSError as error:
        raise InputError(f"{error.filename or out}: {error.strerror or error}") from None


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
