"""Ticks a second: the final and archive queries draining a backlog, and the batch backfill of the same ticks."""

import argparse
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.bars import Bars, compare, of_database, of_parquet, ticks_of_database
from benchmarks.errors import BenchmarkError
from benchmarks.load import Backlog
from benchmarks.options import count, names_of, positive
from benchmarks.processes import Meter, Program, python, submit
from benchmarks.report import Result, say
from benchmarks.servers import Bench
from conf.settings import Settings

HELP = "ticks a second of final + archive, and of the backfill"
EXAMPLES = """examples:
  python -m benchmarks throughput --json throughput.json
      two million ticks of 20 symbols: about five minutes
  python -m benchmarks throughput --json t.json --ticks 5000000 --set max_ticks_per_batch=800000
      more ticks, larger batches
  python -m benchmarks throughput --json long.json --runs parquet --ticks 20000000
      the pace of a long backfill, of which starting Spark is a small part
  python -m benchmarks throughput --json quick.json --quick
      50,000 ticks: shows that it works; start-up is all that it measures

The bars of every run are compared with those that the generator says must come out; a difference is an error."""

RUNS = ("drain", "parquet", "stores")
PARTS = ("final", "archive", "lake")
POLL_SECONDS = 0.5
_BACKFILL = re.compile(r"backfill: ([\d,]+) bars of ([\d,]+) ticks \(([\d,]+) ticks/s\) in ([\d.]+) s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks throughput`."""
    parser.add_argument("--ticks", type=count, metavar="N", help="size of the backlog (default: 2000000)")
    parser.add_argument("--runs", type=names_of(RUNS), default=list(RUNS), metavar="R,…",
                        help="of drain, parquet (backfill to Parquet) and stores (default: all)")  # fmt: skip
    parser.add_argument("--symbols", type=count, default=20, metavar="N", help="how many symbols (default: 20)")
    parser.add_argument("--history-rate", type=count, default=2000, metavar="N",
                        help="ticks per second of event time: fewer make more bars (default: 2000)")  # fmt: skip
    parser.add_argument("--timeout", type=positive, default=1800.0, metavar="S", help="for each job (default: 1800)")
    parser.add_argument("--quick", action="store_true", help="50,000 ticks")


def overrides(_: argparse.Namespace) -> dict[str, str]:
    """No option of this benchmark changes a setting."""
    return {}


def complete(options: argparse.Namespace) -> None:
    options.ticks = options.ticks or (50_000 if options.quick else 2_000_000)


def run(options: argparse.Namespace, bench: Bench) -> Result:
    """Fill the topic, drain it, then backfill the same ticks into Parquet and into the stores."""
    result = Result(tables={"throughput": [], "queries of the drain": [], "processes": []})
    backlog = Backlog(options.ticks, options.symbols, options.history_rate, _yesterday_us())
    expected_path, recorded = bench.folder / "expected.parquet", bench.folder / "ticks.parquet"
    with bench.system() as settings:
        _fill(backlog, settings, expected_path)
        expected = of_parquet(expected_path)
        if "drain" in options.runs:
            _drain(result, options, bench, settings)
            _check(result, "drain", expected, of_database(settings))
            _check_ticks(result, backlog.ticks, settings)
    if {"parquet", "stores"}.isdisjoint(options.runs):
        return result
    say("writing the same ticks to Parquet")
    backlog.write_parquet(recorded)
    with bench.system() as settings:
        if "parquet" in options.runs:
            out = settings.data_path / "bars"
            _backfill(result, "backfill to Parquet", options, bench, settings, recorded, "--out", str(out))
            _check(result, "backfill to Parquet", expected, of_parquet(out))
        if "stores" in options.runs:
            _backfill(result, "backfill to stores", options, bench, settings, recorded)
            _check(result, "backfill to stores", expected, of_database(settings))
    return result


def _yesterday_us() -> int:
    """Yesterday, 14:30 UTC: the open of the market, and in the past as a whole."""
    day = datetime.now(UTC) - timedelta(days=1)
    return int(day.replace(hour=14, minute=30, second=0, microsecond=0).timestamp()) * 1_000_000


def _fill(backlog: Backlog, settings: Settings, expected: Path) -> None:
    say(f"filling the topic with {backlog.ticks:,} ticks")
    options = (*backlog.command, "--expect", str(expected))
    with python("fill", "producers", "simulate", *options, settings=settings, folder=settings.data_path) as fill:
        fill.wait(900)
        say(fill.last_line())


def _drain(result: Result, options: argparse.Namespace, bench: Bench, settings: Settings) -> None:
    say("draining it with final + archive")
    command = ("jobs/stream.py", "--queries", "final,archive", "--available-now")
    started = time.time()
    with submit("stream", *command, settings=settings, folder=settings.data_path) as stream:
        used = _run_to_end(stream, bench, options.timeout)
    whole = time.time() - started
    spans = {part: _span(settings.checkpoint_path / part) for part in PARTS}
    queries = max(end for _, end in spans.values()) - min(start for start, _ in spans.values())
    _record(result, "drain", options.ticks, queries, whole, used)
    for part, (start, end) in spans.items():
        row = {"query": part, "seconds": round(end - start, 2), "ticks_per_s": round(options.ticks / (end - start))}
        result.tables["queries of the drain"].append(row)


def _span(checkpoint: Path) -> tuple[float, float]:
    """When a query began, and when it committed its last batch, by its checkpoint's own files."""
    commits = [path.stat().st_mtime for path in (checkpoint / "commits").glob("*") if path.name.isdigit()]
    if not commits:
        raise BenchmarkError(f"the query {checkpoint.name} committed nothing")
    return (checkpoint / "metadata").stat().st_mtime, max(commits)


def _backfill(
    result: Result,
    name: str,
    options: argparse.Namespace,
    bench: Bench,
    settings: Settings,
    recorded: Path,
    *more: str,
) -> None:
    say(name)
    command = ("jobs/backfill.py", "--ticks", str(recorded), *more)
    started = time.time()
    with submit("backfill", *command, settings=settings, folder=settings.data_path) as job:
        used = _run_to_end(job, bench, options.timeout)
    whole = time.time() - started
    told = _BACKFILL.search(job.log.read_text(errors="replace"))
    if told is None:
        raise BenchmarkError(f"backfill did not tell its pace: {job.last_line()}")
    _record(result, name, int(told[2].replace(",", "")), float(told[4]), whole, used)


def _run_to_end(job: Program, bench: Bench, timeout: float) -> dict[str, dict[str, float]]:
    """Wait for the job; what each process used. Its last half second is not in it."""
    meter = Meter(bench.sessions() | {job.name: job.session})
    deadline = time.monotonic() + timeout
    while not job.ended and time.monotonic() < deadline:
        meter.sample()
        time.sleep(POLL_SECONDS)
    job.wait(1)
    return meter.result()


def _record(result: Result, name: str, ticks: int, seconds: float, whole: float, used: dict[str, Any]) -> None:
    row = {
        "run": name,
        "ticks": ticks,
        "seconds": round(seconds, 2),
        "ticks_per_s": round(ticks / seconds),
        "seconds_with_start_up": round(whole, 2),
        "ticks_per_s_with_start_up": round(ticks / whole),
    }
    result.tables["throughput"].append(row)
    say(f"{name}: {row['ticks_per_s']:,} ticks/s ({row['ticks_per_s_with_start_up']:,} with start-up)")
    result.tables["processes"] += [{"run": name, "process": process} | usage for process, usage in used.items()]


def _check(result: Result, name: str, expected: Bars, found: Bars) -> None:
    """Bars against the generator's own."""
    problem = compare(expected, found)
    if problem:
        result.wrong.append(f"{name}: {problem}")
    else:
        result.remarks.append(f"{name}: all {len(expected):,} bars right, volume {sum_of_volumes(found)}")


def sum_of_volumes(bars: Bars) -> str:
    """The traded size, counted once: that of the 1-minute bars."""
    return f"{sum(values['volume'] for key, values in bars.items() if key[1] == '1m'):,.4f}"


def _check_ticks(result: Result, ticks: int, settings: Settings) -> None:
    found = ticks_of_database(settings)
    if found != ticks:
        result.wrong.append(f"drain: the table ticks has {found:,} rows of {ticks:,}")
