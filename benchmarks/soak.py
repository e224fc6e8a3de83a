"""An hour under load: does memory stay flat, does p99 stay, does anything end, how fast do disks fill?"""

import argparse
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import watch
from benchmarks.errors import BenchmarkError
from benchmarks.live import DRAIN_SECONDS, Live, Window, live_system, pause, wait_for_rows, watching
from benchmarks.load import Load, read_ticks, start_load, wait_until_quiet
from benchmarks.measure import MINUTE_US, Seen
from benchmarks.options import count, positive
from benchmarks.processes import usage
from benchmarks.report import Result, say
from benchmarks.servers import Bench
from benchmarks.tenths import Samples, by_hour, changed, memory_rows
from core.intervals import SECOND_US

HELP = "memory, p99, restarts and disk growth over an hour of load"
EXAMPLES = """examples:
  python -m benchmarks soak --json soak.json --whole-stack
      an hour at 10,000 ticks/s with final, archive, reconciling and the API: 70 minutes in all; have 40 GB of disk free
  python -m benchmarks soak --json soak.json --minutes 60 --rate 10000
      broker, live query, relay and Redis alone
  python -m benchmarks soak --json quick.json --quick
      under two minutes: shows that it works; its numbers mean nothing

Latency is measured in the first and in the last tenth, memory every few seconds from the end of the warm-up on. Beside
the JSON lies a picture of the memory (--plot). Exit code 1 when a process ended, when ticks were lost or counted twice,
or when the generator fell behind; whether memory is flat and p99 stayed is told in words."""

WARMUP_SECONDS = 120.0
SAMPLE_SECONDS = 10.0
DISK_SECONDS = 60.0
ARRIVING_SECONDS = 5.0
P99_CHANGE = 0.10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks soak`."""
    parser.add_argument("--minutes", type=positive, metavar="N", help="of load after the warm-up (default: 60)")
    parser.add_argument("--rate", type=count, metavar="N", help="ticks/s (default: 10000)")
    parser.add_argument("--symbols", type=count, default=20, metavar="N", help="how many symbols (default: 20)")
    parser.add_argument("--whole-stack", action="store_true", help="run final, archive, reconciling and the API too")
    parser.add_argument("--warmup", type=positive, metavar="S", help="seconds before the hour (default: 120)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="the picture (default: beside the JSON, .png)")
    parser.add_argument("--quick", action="store_true", help="40 seconds at 300 ticks/s after 10 of warm-up")


def overrides(options: argparse.Namespace) -> dict[str, str]:  # noqa: ARG001
    """The settings are those of the product."""
    return {}


def complete(options: argparse.Namespace) -> None:
    """Fill in the defaults that `--quick` changes."""
    quick = options.quick
    options.minutes = options.minutes or (2 / 3 if quick else 60.0)
    options.rate = options.rate or (300 if quick else 10_000)
    options.warmup = options.warmup or (10.0 if quick else WARMUP_SECONDS)
    options.plot = options.plot or options.json.with_suffix(".png")


@dataclass(frozen=True)
class Measured:
    """A window of the load, and how many seconds it had."""

    window: Window
    seconds: float


@dataclass
class Course:
    """What is taken down on the way; `ended` says which process ended, empty while none has."""

    live: Live
    sample_seconds: float
    disk_seconds: float
    memory: Samples = field(default_factory=list)
    disk: Samples = field(default_factory=list)
    ended: str = ""
    _began: float = field(default_factory=time.monotonic)

    def run_for(self, seconds: float, what: str) -> None:
        """Sample until the time is over, or a process has ended."""
        say(f"{what} for {seconds:.0f} s")
        until = time.monotonic() + seconds
        self._look()
        while not self.ended and (left := until - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            self._look()

    def _look(self) -> None:
        at = time.monotonic() - self._began
        try:
            self.live.check()
            # One that is gone has no session any more; the servers are not asked by `check`.
            if len(self.live.bench.sessions()) < 3:
                raise BenchmarkError("a server ended")
        except BenchmarkError as error:
            self.ended = str(error)
            return
        if not self.memory or at >= self.memory[-1][0] + self.sample_seconds:
            used = usage(self.live.sessions())
            own = {name: each.memory_bytes for name, each in used.items() if not name.startswith("watch")}
            self.memory.append((at, own))
        if not self.disk or at >= self.disk[-1][0] + self.disk_seconds:
            self.disk.append((at, sizes(self.live)))


def run(options: argparse.Namespace, bench: Bench) -> Result:
    """Load the system for the whole time, with a window of measuring at either end."""
    seconds = options.minutes * 60
    result = Result(tables={"memory in MB": [], "latency in ms": [], "disk in MB": [], "course": []})
    with live_system(bench, "realtime", options.whole_stack) as live:
        load = Load(options.rate, options.symbols)
        with start_load(load, live.settings, live.settings.data_path) as generator:
            live.programs["load"] = generator
            wait_for_rows(live, 0)
            pause(live, options.warmup, "warm-up")
            sampling = min(SAMPLE_SECONDS, seconds / 40)
            course = Course(live, sampling, min(DISK_SECONDS, seconds / 20))
            first = _window(course, seconds / 10, "first tenth")
            course.run_for(seconds * 0.8, "soaking")
            last = _window(course, seconds / 10, "last tenth")
            generator.stop()
            del live.programs["load"]
        drained = wait_until_quiet(live.settings, DRAIN_SECONDS)
    _tell(result, course, {"first": first, "last": last}, options, drained)
    _plot(course.memory, options.plot)
    return result


def _window(course: Course, seconds: float, what: str) -> Measured | None:
    """Latencies of so many seconds of the load, which goes on; None when a process ended."""
    live = course.live
    with contextlib.ExitStack() as running:
        files = {name: running.enter_context(watching(live, name)) for name in watch.WATCHERS}
        start_us = time.time_ns() // 1000
        course.run_for(seconds, what)
        end_us = time.time_ns() // 1000
        course.run_for(ARRIVING_SECONDS, "waiting for the last rows")
    if course.ended:
        return None
    minute_us = start_us - start_us % MINUTE_US
    seen = {name: Seen.load(path).since(minute_us) for name, path in files.items()}
    log = read_ticks(live.settings, minute_us)
    ticks = log.between(start_us, end_us)
    window = Window(log, ticks, seen, live.checkpoints_us(start_us, end_us), {}, True)
    return Measured(window, (end_us - start_us) / SECOND_US)


def sizes(live: Live) -> dict[str, int]:
    """Bytes on disk of each store, of what it keeps for the query and of its logs of changes."""
    bench, settings = live.bench, live.settings
    wal = on_disk(bench.postgres.folder / "data" / "pg_wal")
    return {
        "kafka": on_disk(bench.kafka.folder),
        "postgres": on_disk(bench.postgres.folder) - wal,
        "postgres wal": wal,
        "redis": on_disk(bench.redis.folder),
        "checkpoints": on_disk(settings.checkpoint_path),
        "lake": on_disk(settings.lake_path),
    }


def on_disk(folder: Path) -> int:
    """Bytes that the files below a folder take; what goes away meanwhile counts as nothing."""
    total = 0
    for path in _files(folder):
        with contextlib.suppress(OSError):
            total += path.stat().st_blocks * 512
    return total


def _files(folder: Path) -> Iterator[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            yield from _files(entry)
        elif entry.is_file():
            yield entry


def _tell(
    result: Result, course: Course, windows: dict[str, Measured | None], options: argparse.Namespace, drained: bool
) -> None:
    result.tables["memory in MB"] = memory_rows(course.memory)
    result.tables["disk in MB"] = by_hour(course.disk)
    p99: dict[str, list[float]] = {}
    for tenth, measured in windows.items():
        for row in [] if measured is None else measured.window.rows():
            result.tables["latency in ms"].append({"tenth": tenth} | row)
            if row["span"] == "whole":
                p99.setdefault(row["path"], []).append(row.get("p99", float("nan")))
                if row["unseen"] or row["double"]:
                    result.wrong.append(
                        f"{tenth} tenth, {row['path']}: {row['unseen']:,} ticks unseen, {row['double']:,} counted twice"
                    )
        if measured is not None:
            reached = len(measured.window.ticks.offset) / measured.seconds
            result.tables["course"].append({"tenth": tenth, "ticks_per_second": round(reached)})
            if reached < 0.98 * options.rate:
                result.wrong.append(f"{tenth} tenth: the generator reached only {reached:,.0f} ticks/s")
    if course.ended:
        result.wrong.append(f"after {course.memory[-1][0] if course.memory else 0:.0f} s: {course.ended}")
    elif not drained:
        result.wrong.append("the queue had not drained a minute after the load ended")
    result.remarks += [*_verdicts(p99, result), _row(p99, result, options, course)]


def _verdicts(p99: dict[str, list[float]], result: Result) -> Iterator[str]:
    for path, values in p99.items():
        if len(values) == 2:
            more = changed(*values)
            said = "within" if more <= P99_CHANGE else "NOT within"
            both = f"{values[0]:.2f} ms in the first tenth, {values[1]:.2f} ms in the last"
            yield f"p99 at {path}: {both}, {more:+.1%}: {said} 10 %"
    growing = [row["process"] for row in result.tables["memory in MB"] if not row["flat"]]
    yield f"memory is NOT flat: {', '.join(growing)}" if growing else "memory is flat in every process"


def _row(p99: dict[str, list[float]], result: Result, options: argparse.Namespace, course: Course) -> str:
    """The line for the table of README.md."""
    latency = "; ".join(f"{path} {' → '.join(f'{value:.1f}' for value in values)}" for path, values in p99.items())
    flat = sum(row["flat"] for row in result.tables["memory in MB"])
    disk = ", ".join(f"{row['store']} {row['mb_per_hour']:,.0f}" for row in result.tables["disk in MB"])
    stack = "whole stack" if options.whole_stack else "live alone"
    return (
        f"| {options.minutes:.0f} min, {options.rate:,} ticks/s, {stack} | {latency} |"
        f" flat in {flat} of {len(result.tables['memory in MB'])} | {'1' if course.ended else '0'} ended | {disk} |"
    )


def _plot(memory: Samples, path: Path) -> None:
    """A line for each process."""
    if len(memory) < 2:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 5))
    for name in sorted({name for _, used in memory for name in used}):
        points = [(at / 60, used[name] / 1e6) for at, used in memory if name in used]
        axes.plot(*zip(*points, strict=True), label=name, linewidth=1.2)
    axes.set(xlabel="minutes", ylabel="resident memory, MB", ylim=(0, None), title="Memory by process under load")
    axes.grid(visible=True, linewidth=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)
    say(f"drawn: {path}")
