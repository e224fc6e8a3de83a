"""Amend bars that differ from the tick log: late ticks, filled gaps, corrections, cancels, other rules.

Runs beside the final query (`jobs/stream.py --queries final,archive,reconcile`), or once for any range.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from tqdm import tqdm

from conf.logs import configure_logs
from conf.settings import load_settings
from core import rulesets
from core.clock import SystemClock
from core.errors import InputError, TickstreamError
from jobs.amend import Amendment
from jobs.reconciler import Reconciler
from jobs.session import session
from jobs.sinks import Sinks

_EXAMPLES = """examples:
  ./spark-submit.sh jobs/reconcile.py --from 2024-03-04T14:00 --to 2024-03-04T15:00 --symbols AAPL,MSFT
  ./spark-submit.sh jobs/reconcile.py --from 2024-03-04 --to 2024-03-05 --dry-run      say what differs, change nothing

Times are UTC unless they say otherwise; --to is excluded. Only bars that are closed, and of which the tick log in the
database has trades, are looked at. docs/reconcile.md tells what becomes of a bar that differs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when done, 1 with one line on what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        if options.since >= options.until:
            raise InputError("--from is not before --to")
        settings = load_settings()
        configure_logs(settings.log_format)
        rulesets.load(settings.ruleset)
        sinks = Sinks(settings)
        sinks.setup()
        reconciler = Reconciler(session("tickstream reconcile"), settings, sinks, SystemClock(), final_here=False)
        try:
            with tqdm(desc="reconciling", unit=" windows", disable=None) as bar:
                run = reconciler.run_range(
                    options.since, options.until, options.symbols, dry_run=options.dry_run, progress=bar.update
                )
        finally:
            sinks.close()
        for line in _lines(run.amended):
            sys.stdout.write(line + "\n")
        done = "would be amended" if options.dry_run else "amended"
        sys.stdout.write(f"reconcile: {run.checked:,} bars checked, {len(run.amended):,} {done}\n")
        if run.behind:
            sys.stdout.write(f"reconcile: {run.behind:,} left: the tick log lacks ticks that they were made of\n")
    except TickstreamError as error:
        sys.stderr.write(f"reconcile: {error}\n")
        return 1
    return 0


def _lines(amended: Sequence[Amendment]) -> Iterator[str]:
    for each in amended:
        bar, held = each.bar, each.held
        before = "none" if held is None else f"rev {held['rev']}: {_amounts(held)}"
        yield (
            f"{bar['symbol']} {bar['interval']} {bar['start']:%Y-%m-%dT%H:%MZ} {bar['reason']}:"
            f" {before} -> rev {bar['rev']}: {_amounts(bar)}"
        )


def _amounts(bar: dict[str, object]) -> str:
    return " ".join(f"{name[0].upper()} {bar[name]}" for name in ("open", "high", "low", "close", "volume"))


def _moment(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a time such as 2024-03-04T14:00: {text!r}") from None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return round(aware.timestamp()) * 1_000_000


def _symbols(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("no symbol")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./spark-submit.sh jobs/reconcile.py",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--from", dest="since", type=_moment, required=True, metavar="TIME", help="first start of a bar"
    )
    parser.add_argument("--to", dest="until", type=_moment, required=True, metavar="TIME", help="end of the range")
    parser.add_argument("--symbols", type=_symbols, metavar="A,B", help="these alone (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be amended, change nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
