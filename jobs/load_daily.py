"""Years of daily bars into the historical tier: raw prices and corporate actions; factors are made on read."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from conf.settings import load_settings
from core.adjustment import Action
from core.errors import TickstreamError
from jobs.action_files import read_actions
from jobs.daily_cells import kind_of
from jobs.daily_files import DaysOfFiles, History, as_table, check_raw, read_histories, unexplained
from stores.daily_bars import DAILY_SCHEMA, DailyStore, Loaded

Actions = list[tuple[str, str, Action]]
"""By symbol and source."""
Batch = tuple[pa.Table, Actions]
_SHOWN = 5
_EXAMPLES = """examples:
  python -m jobs.load_daily ../shared/data/daily/us_equity_1998_2021.parquet \\
                            ../shared/data/daily/us_equity_1998_2021_factors.parquet
  python -m jobs.load_daily --kind bid ../shared/data/daily/fx_EURUSD_daily.parquet
  python -m jobs.load_daily --dry-run my_bars.csv my_splits_and_dividends.csv
then:
  curl 'http://127.0.0.1:8000/api/v1/bars/AAPL?interval=1d&adjustment=all&start=2014-05-01&end=2014-07-01'

files, Parquet or CSV, told apart by their columns:
  bars     symbol, date, open, high, low, close; volume, source, kind, dividend, split_ratio, adj_close if there are
           any. Prices as they traded: a file whose prices are adjusted already is refused.
  factors  symbol, date, price_factor, split_factor, reference_price: cumulative, up to and including the date
  actions  symbol, ex_date, kind (split or dividend), ratio (7, or 3:2: new shares for old), amount (cash per share)

All files are loaded, or nothing. A load may be repeated: what is there stays, what the same source says differently
becomes a new revision, and what another source has loaded is kept unless you say --replace."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when done, 1 with one line on what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        _load(options)
    except TickstreamError as error:
        sys.stderr.write(f"load_daily: {error}\n")
        return 1
    return 0


def _load(options: argparse.Namespace) -> None:
    started = time.monotonic()
    store = DailyStore(load_settings().postgres_dsn.get_secret_value())
    kinds = {path: kind_of(path) for path in options.files}
    stated: dict[str, list[Action]] = {}
    by_file: list[Actions] = []
    for path, kind in kinds.items():
        found = {} if kind == "bars" else read_actions(path, kind)
        for symbol, actions in found.items():
            stated.setdefault(symbol, []).extend(actions)
        source = options.source or path.stem
        by_file.append([(symbol, source, action) for symbol, actions in found.items() for action in actions])
    batches = _read([path for path, kind in kinds.items() if kind == "bars"], stated, store, options)
    # One at a time: of two files that name one event, the second meets what the first has loaded.
    batches += [(DAILY_SCHEMA.empty_table(), actions) for actions in by_file]
    bars, made = Loaded(), Loaded()
    if not options.dry_run:
        with store.loading() as load:
            for table, actions in batches:
                one, other = load.write(table, actions, replace=options.replace)
                bars, made = _sum(bars, one), _sum(made, other)
    seconds = time.monotonic() - started
    if options.dry_run:
        sys.stdout.write(f"load_daily: nothing written; all of it could be ({seconds:.1f} s)\n")
        return
    sys.stdout.write(f"load_daily: bars {_told(bars)}; corporate actions {_told(made)} ({seconds:.1f} s)\n")
    if bars.kept or made.kept:
        sys.stdout.write("  kept: what another source has loaded before; --replace puts this one in its place\n")


def _read(
    files: Sequence[Path], stated: dict[str, list[Action]], store: DailyStore, options: argparse.Namespace
) -> list[Batch]:
    """The bars of files, checked, and the actions that they state; what is `stated` grows by these."""
    batches: list[Batch] = []
    days = DaysOfFiles()
    for path in tqdm(files, desc="reading", unit="file", disable=None):
        histories = read_histories(path, options.kind, options.source)
        days.add(path, histories)
        held = {} if options.dry_run else store.actions_of([each.symbol for each in histories])
        _check(histories, stated, held, options.prices == "raw")
        own = [(each.symbol, each.source, action) for each in histories for action in each.actions]
        batches.append((as_table(histories), own))
        for symbol, _, action in own:
            stated.setdefault(symbol, []).append(action)
    return batches


def _check(
    histories: Sequence[History],
    stated: Mapping[str, Sequence[Action]],
    held: Mapping[str, Sequence[Action]],
    declared: bool,
) -> None:
    for history in histories:
        known = [*history.actions, *stated.get(history.symbol, ()), *held.get(history.symbol, ())]
        check_raw(history, known, declared)
        for line in unexplained(history, known)[:_SHOWN]:
            tqdm.write(f"warning: {line}", sys.stderr)
        first, last = history.days[0], history.days[-1]
        tqdm.write(f"{history.symbol}: {len(history.days):,} days, {first} to {last}, from {history.source}")


def _sum(one: Loaded, other: Loaded) -> Loaded:
    names = Loaded.__slots__
    return Loaded(*(getattr(one, name) + getattr(other, name) for name in names))


def _told(loaded: Loaded) -> str:
    counts = {name: getattr(loaded, name) for name in Loaded.__slots__}
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "none"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.load_daily",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="bars, factors or actions")
    parser.add_argument("--kind", metavar="KIND", help="which rows of a file with several kinds: bid, ask, trade")
    parser.add_argument("--source", metavar="NAME", help="who says so (default: the column source, or the file's name)")
    parser.add_argument("--prices", choices=["raw"], help="promise that prices are raw where the file cannot show it")
    parser.add_argument("--replace", action="store_true", help="put these rows in the place of another source's")
    parser.add_argument("--dry-run", action="store_true", help="read and check, write nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
