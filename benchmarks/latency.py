"""Milliseconds from a tick's stamp to its bar: in `bars.live`, and at a subscriber of Redis."""

import argparse
import itertools
from collections.abc import Iterator
from typing import Any

from benchmarks.live import MODES, Live, Window, live_system, measure_window
from benchmarks.load import Load
from benchmarks.options import counts, names_of, positive
from benchmarks.report import Result, say
from benchmarks.servers import Bench
from core.errors import InputError

HELP = "milliseconds from tick to bar, and to a subscriber of Redis"
EXAMPLES = """examples:
  python -m benchmarks latency --json latency.json
      2 rates x 2 numbers of symbols x 3 modes: about half an hour
  python -m benchmarks latency --json r.json --rates 10000 --symbols 20 --modes realtime --live-checkpoint-seconds 30
      real-time mode alone, with a checkpoint every 30 s: compare whole with between_checkpoints
  python -m benchmarks latency --json whole.json --whole-stack --rates 2000 --symbols 20
      with the final and archive queries, PostgreSQL and the API running too
  python -m benchmarks latency --json search.json --whole-stack --rates 2000 --symbols 20 --search
      and the highest rate at which p99 in bars.live stays within --limit-ms
  python -m benchmarks latency --json quick.json --quick
      seconds instead of minutes: shows that it works; its numbers mean nothing (the JIT is cold)

modes: realtime (the product), microbatch (the same query, trigger 0), plain (one Python process with a dict)."""

SETTLE_SECONDS = 15.0  # between the steps of a search: the JIT is warm, the queues need a moment
SEARCH_CEILING = 100_000
SEARCH_STEPS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks latency`."""
    parser.add_argument("--rates", type=counts, metavar="N,…", help="ticks/s (default: 1000,10000; whole stack: 2000)")
    parser.add_argument("--symbols", type=counts, metavar="N,…", help="how many symbols (default: 20,500)")
    parser.add_argument("--modes", type=names_of(MODES), metavar="M,…",
                        help="of realtime, microbatch, plain (default: all; whole stack: realtime)")  # fmt: skip
    parser.add_argument("--warmup", type=positive, metavar="S", help="seconds before measuring (default: 75)")
    parser.add_argument("--seconds", type=positive, metavar="S", help="seconds of measuring (default: 60)")
    parser.add_argument("--linger-ms", type=float, default=2.0, metavar="MS",
                        help="linger of the load generator (default: 2)")  # fmt: skip
    parser.add_argument(
        "--linger", type=int, metavar="MS", help="linger of the live query's sink (default: the setting)"
    )
    parser.add_argument("--live-checkpoint-seconds", type=int, metavar="S",
                        help="between checkpoints of the live query (default: the setting)")  # fmt: skip
    parser.add_argument("--whole-stack", action="store_true", help="run final, archive and the API too")
    parser.add_argument("--search", action="store_true", help="then look for the highest rate within --limit-ms")
    parser.add_argument("--limit-ms", type=positive, default=50.0, metavar="MS", help="p99 of --search (default: 50)")
    parser.add_argument("--quick", action="store_true", help="10 s of warm-up, 10 s of measuring, one small scenario")


def overrides(options: argparse.Namespace) -> dict[str, str]:
    """The settings that the options change."""
    given = {"live_checkpoint_seconds": options.live_checkpoint_seconds, "live_linger_ms": options.linger}
    return {name: str(value) for name, value in given.items() if value is not None}


def complete(options: argparse.Namespace) -> None:
    """Fill in the defaults that depend on other options. Raises InputError when options contradict each other."""
    quick, whole = options.quick, options.whole_stack
    options.rates = options.rates or ([500] if quick else [2000] if whole else [1000, 10000])
    options.symbols = options.symbols or ([20] if quick or whole else [20, 500])
    options.modes = options.modes or (["realtime"] if whole else list(MODES))
    options.warmup = options.warmup or (10.0 if quick else 75.0)
    options.seconds = options.seconds or (10.0 if quick else 60.0)
    if whole and "plain" in options.modes:
        raise InputError("--whole-stack: the plain baseline has no other queries; use --modes realtime,microbatch")
    if options.search and options.modes != ["realtime"]:
        raise InputError("--search: give --modes realtime")


def run(options: argparse.Namespace, bench: Bench) -> Result:
    """Every scenario after the other, each on a fresh system."""
    result = Result(tables={"latency in ms": [], "processes": [], "search": []})
    scenarios = list(itertools.product(options.rates, options.symbols, options.modes))
    for number, (rate, symbols, mode) in enumerate(scenarios, 1):
        load = Load(rate, symbols, options.linger_ms)
        say(f"scenario {number} of {len(scenarios)}: {mode}, {rate:,} ticks/s, {symbols} symbols")
        with live_system(bench, mode, options.whole_stack) as live:
            window = measure_window(live, load, options.warmup, options.seconds)
            _record(result, window, {"mode": mode, "rate": rate, "symbols": symbols}, options.seconds)
            if options.search:
                _search(live, load, options, result)
    result.remarks += _ratios(result.tables["latency in ms"])
    return result


def _record(result: Result, window: Window, scenario: dict[str, Any], seconds: float) -> None:
    for row in window.rows():
        result.tables["latency in ms"].append(scenario | row | {"checkpoints": len(window.checkpoints_us)})
        if row["unseen"]:
            result.wrong.append(f"{_named(scenario)}: {row['unseen']:,} ticks never came out at {row['path']}")
        if row.get("double"):
            result.wrong.append(f"{_named(scenario)}: {row['double']:,} rows at {row['path']} count a tick twice")
    for name, used in window.usage.items():
        result.tables["processes"].append(scenario | {"process": name} | used)
    reached = len(window.ticks.offset) / seconds
    if reached < 0.98 * scenario["rate"]:
        result.wrong.append(f"{_named(scenario)}: the generator reached only {reached:,.0f} ticks/s")
    if not window.drained:
        result.wrong.append(f"{_named(scenario)}: the queue had not drained a minute after the load ended")


def _named(scenario: dict[str, Any]) -> str:
    return f"{scenario['mode']}, {scenario['rate']:,} ticks/s, {scenario['symbols']} symbols"


def _search(live: Live, load: Load, options: argparse.Namespace, result: Result) -> None:
    """Double the rate until p99 is over the limit, then halve the gap a few times."""

    def holds(rate: int) -> bool:
        window = measure_window(live, Load(rate, load.symbols, load.linger_ms), settle, options.seconds)
        row = next(row for row in window.rows() if row["path"] == "kafka" and row["span"] == "whole")
        reached = len(window.ticks.offset) / options.seconds
        held = not row["unseen"] and row.get("p99", float("inf")) <= options.limit_ms and reached >= 0.98 * rate
        step = {"rate": rate, "symbols": load.symbols, "held": held, "reached": round(reached)}
        result.tables["search"].append(step | row)
        say(f"{rate:,} ticks/s: p99 {row.get('p99')} ms, {'held' if held else 'over the limit'}")
        return held

    settle = min(SETTLE_SECONDS, options.warmup)
    best = highest(load.rate, holds)
    found = f"{best:,} ticks/s" if best else f"less than {load.rate:,} ticks/s"
    result.remarks.append(f"highest rate with p99 <= {options.limit_ms:g} ms, {load.symbols} symbols: {found}")


def highest(first: int, holds: Any, ceiling: int = SEARCH_CEILING, steps: int = SEARCH_STEPS) -> int:
    """The highest rate that was seen to hold, 0 for none: doubled from `first`, then narrowed down `steps` times.

    >>> highest(1000, lambda rate: rate <= 5500)
    5500
    """
    best, rate = 0, first
    while rate <= ceiling and holds(rate):
        best, rate = rate, rate * 2
    if best == 0 or rate > ceiling:
        return best
    for _ in range(steps):
        middle = (best + rate) // 2
        best, rate = (middle, rate) if holds(middle) else (best, middle)
    return best


def _ratios(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Each mode's p99 in `bars.live` against real-time mode's, in the same scenario."""
    p99 = {
        (row["rate"], row["symbols"], row["mode"]): row["p99"]
        for row in rows
        if row["path"] == "kafka" and row["span"] == "whole" and row.get("p99")
    }
    for (rate, symbols, mode), value in p99.items():
        base = p99.get((rate, symbols, "realtime"))
        if mode != "realtime" and base is not None:
            yield f"p99 {mode} / realtime at {rate:,} ticks/s, {symbols} symbols: {value / base:.2f}"
