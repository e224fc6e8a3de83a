"""Seconds from a `kill -9` of the Spark drivers, under load, to the first right live and final bars."""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from benchmarks.bars import Bars, compare, of_database, of_parquet
from benchmarks.errors import BenchmarkError
from benchmarks.live import Live, live_system, pause, wait_for_rows, watching
from benchmarks.load import Load, read_ticks, start_load, wait_until_quiet
from benchmarks.measure import MINUTE_US, Seen, TickLog, last_rows, latencies_us, missing
from benchmarks.options import count, names_of, positive
from benchmarks.report import Result, say
from benchmarks.servers import Bench
from conf.settings import Settings
from core.intervals import INTERVALS, SECOND_US

HELP = "seconds from kill -9 of the drivers to the first right bars"
EXAMPLES = """examples:
  python -m benchmarks recovery --json recovery.json
      the whole stack at 1,000 ticks/s; the driver of live, the one of final and archive, and both are killed: some
      seven minutes
  python -m benchmarks recovery --json r.json --live-checkpoint-seconds 30
      a shorter checkpoint interval: less to read again after a crash
  python -m benchmarks recovery --json quick.json --quick
      one crash at 200 ticks/s

The drivers are started again at once, as the supervisor of `make up` does after a second. Every live row after a crash
and every final bar is checked against the ticks; one that counts a tick twice, or ends wrong, is an error."""

KILLED = {"live": ["live"], "stores": ["stores"], "both": ["live", "stores"]}
RECOVER_SECONDS = 180.0
BEFORE_DUE_SECONDS = 0.5
REST_SECONDS = 20.0  # at least this long between a recovery and the next crash
CAUGHT_UP_US = 1_000_000


@dataclass(frozen=True)
class Crash:
    """Moments in epoch microseconds; `final_us` is when the first final bar after it was in PostgreSQL."""

    which: str
    """Of KILLED."""
    killed_us: int
    started_us: int
    final_us: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks recovery`."""
    parser.add_argument("--rate", type=count, metavar="N", help="ticks/s (default: 1000)")
    parser.add_argument("--symbols", type=count, default=20, metavar="N", help="how many symbols (default: 20)")
    parser.add_argument("--killed", type=names_of(list(KILLED)), default=list(KILLED), metavar="D,…",
                        help=f"of {', '.join(KILLED)}: the drivers of each crash (default: all three)")  # fmt: skip
    parser.add_argument("--times", type=count, metavar="N", help="how many times each (default: 1)")
    parser.add_argument("--warmup", type=positive, metavar="S", help="seconds before the first (default: 75)")
    parser.add_argument("--live-checkpoint-seconds", type=count, metavar="S",
                        help="between checkpoints of the live query (default: the setting)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one crash at 200 ticks/s after 10 s")


def overrides(options: argparse.Namespace) -> dict[str, str]:
    """The settings that the options change."""
    seconds = options.live_checkpoint_seconds
    return {} if seconds is None else {"live_checkpoint_seconds": str(seconds)}


def complete(options: argparse.Namespace) -> None:
    """Fill in the defaults that `--quick` changes."""
    options.rate = options.rate or (200 if options.quick else 1000)
    options.times = options.times or 1
    options.killed = ["both"] if options.quick else options.killed
    options.warmup = options.warmup or (10.0 if options.quick else 75.0)


def run(options: argparse.Namespace, bench: Bench) -> Result:
    """Crash the drivers a few times under load; then look at every row and bar that came out."""
    result = Result(tables={"recovery in s": []})
    with live_system(bench, whole=True) as live:
        expected_path = live.settings.data_path / "expected.parquet"
        with watching(live, "kafka") as path:
            crashes, ended_us = _crashes(live, options, expected_path)
        seen, ticks = Seen.load(path), read_ticks(live.settings, 0)
        expected, found = of_parquet(expected_path), of_database(live.settings)
        _check_final(result, expected, found, ended_us, live.settings)
    until = [crash.killed_us for crash in crashes[1:]] + [ended_us]
    gaps = missing(ticks, seen)
    unfinished = int((gaps[last_rows(seen)] != 0).sum())
    if unfinished:
        result.wrong.append(f"live bars: the last row of {unfinished} bars is not right")
    for number, (crash, end_us) in enumerate(zip(crashes, until, strict=True), 1):
        row = timings(crash, end_us, ticks, seen, gaps)
        result.tables["recovery in s"].append({"crash": number, "killed": crash.which} | row)
        if row["double"] or row["unseen_ticks"]:
            double, unseen = row["double"], row["unseen_ticks"]
            result.wrong.append(f"crash {number}: {double} live rows count a tick twice, {unseen} ticks unseen")
    return result


def _crashes(live: Live, options: argparse.Namespace, expected: Path) -> tuple[list[Crash], int]:
    """The crashes, and when the load ended."""
    load = Load(options.rate, options.symbols)
    with start_load(load, live.settings, live.settings.data_path, expected) as generator:
        live.programs["load"] = generator
        wait_for_rows(live, 0)
        pause(live, options.warmup, "warm-up")
        crashes = [_crash(live, which) for _ in range(options.times) for which in options.killed]
        pause(live, REST_SECONDS, "running on")
        del live.programs["load"]
    ended_us = time.time_ns() // 1000
    wait_until_quiet(live.settings, RECOVER_SECONDS)
    return crashes, ended_us


def _crash(live: Live, which: str) -> Crash:
    """Kill drivers just before a bar is due, so that nothing but the recovery delays the next final one."""
    pause(live, _seconds_until_due(live.settings), f"waiting for the moment to kill {which}")
    killed_us = time.time_ns() // 1000
    for name in KILLED[which]:
        live.programs[name].kill()
    say(f"{which} killed; starting again")
    live.start_drivers(KILLED[which])
    started_us = time.time_ns() // 1000
    final_us = _wait_for_final(live, killed_us)
    say(f"{which}: first final bar after {(final_us - killed_us) / SECOND_US:.1f} s")
    return Crash(which, killed_us, started_us, final_us)


def _seconds_until_due(settings: Settings) -> float:
    """From now to half a second before the watermark passes the end of a minute, at least a rest from now."""
    due = settings.lateness_seconds - BEFORE_DUE_SECONDS
    return REST_SECONDS + (due - time.time() - REST_SECONDS) % 60


def _wait_for_final(live: Live, killed_us: int) -> int:
    deadline = time.monotonic() + RECOVER_SECONDS
    with psycopg.connect(live.settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        while time.monotonic() < deadline:
            found = connection.execute("SELECT 1 FROM bars WHERE processed_us > %s LIMIT 1", (killed_us,)).fetchone()
            if found:
                return time.time_ns() // 1000
            live.check()
            time.sleep(0.1)
    raise BenchmarkError(f"no final bar within {RECOVER_SECONDS:.0f} s of the crash")


def timings(crash: Crash, end_us: int, ticks: TickLog, seen: Seen, gaps: np.ndarray) -> dict[str, Any]:
    """What one crash cost, in seconds from the kill; `end_us` is the next crash, or the end of the load.

    `gaps` is what `missing` found.
    """

    def since(moment_us: Any) -> float | None:
        return None if moment_us is None else round((int(moment_us) - crash.killed_us) / SECOND_US, 2)

    # What the dead drivers had already sent may still arrive for a moment.
    after = (seen.arrival_us > crash.killed_us + SECOND_US // 2) & (seen.arrival_us < end_us)
    # Ticks of the last second before the next crash may be seen by its successor only.
    fresh = ticks.between(crash.killed_us, end_us - SECOND_US)
    latency = latencies_us(fresh, seen, gaps == 0)
    arrivals = (fresh.event_us + latency)[latency >= 0]
    slow = fresh.event_us[latency >= CAUGHT_UP_US]
    return {
        "drivers_started": since(crash.started_us),
        "first_right_live_row": since(_first(seen.arrival_us[after & (gaps == 0)])),
        "first_new_tick_live": since(arrivals.min() if len(arrivals) else None),
        "live_within_1s_again": since(slow.max() if len(slow) else crash.killed_us),
        "first_final_bar": since(crash.final_us),
        "rows": int(after.sum()),
        "overtaking": int((after & (gaps > 0)).sum()),
        "double": int((after & (gaps < 0)).sum()),
        "unseen_ticks": int((latency < 0).sum()),
    }


def _first(values: np.ndarray) -> Any:
    return values[0] if len(values) else None


def _check_final(result: Result, expected: Bars, found: Bars, ended_us: int, settings: Settings) -> None:
    """Every bar that was due while the load ran is there and right in every field; no other is."""
    due_us = ended_us - int(settings.lateness_seconds * SECOND_US) - 2 * SECOND_US
    due = {key: bar for key, bar in expected.items() if key[2] + INTERVALS[key[1]].us <= due_us}
    problem = compare(due, {key: bar for key, bar in found.items() if key in due or key not in expected})
    if problem:
        result.wrong.append(f"final bars: {problem}")
    minutes = len({key[2] // MINUTE_US for key in due if key[1] == "1m"})
    result.remarks.append(f"final bars: {len(due):,} of {minutes} minutes compared with the generator's")
