"""A running system and one window of measurement on it."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import plain, watch
from benchmarks.errors import BenchmarkError
from benchmarks.load import Load, read_ticks, rows_written, start_load, wait_until_quiet
from benchmarks.measure import MINUTE_US, Seen, TickLog, checkpoints_us, latencies_us, missing, outside, summary
from benchmarks.processes import Meter, Program, python, submit
from benchmarks.report import say
from benchmarks.servers import Bench
from conf.settings import Settings
from local import priority
from local.server import free_port

STREAM = "jobs/stream.py"
START_SECONDS = 180.0
FIRST_ROW_SECONDS = 60.0
DRAIN_SECONDS = 60.0
MODES = ("realtime", "microbatch", "plain")


@dataclass
class Live:
    """The processes between `ticks` and Redis; `programs` by name, all running."""

    settings: Settings
    bench: Bench
    mode: str
    whole: bool
    """Whether final, archive and the API run too."""
    programs: dict[str, Program] = field(default_factory=dict)

    def check(self) -> None:
        for program in self.programs.values():
            program.check()

    def start_drivers(self, names: Sequence[str] | None = None) -> None:
        """All drivers, or these; returns when they have said that they started."""
        asked = self.drivers if names is None else names
        for name in asked:
            self.programs[name] = self._start_stores() if name == "stores" else self._start_live()
        for name in asked:
            self.programs[name].wait_for_line(plain.READY, START_SECONDS)

    @property
    def drivers(self) -> list[str]:
        """Those that `local.programs` has."""
        return ["live", "stores"] if self.whole else ["live"]

    def _start_stores(self) -> Program:
        at: dict[str, Any] = {"settings": self.settings, "folder": self.settings.data_path}
        return submit("stores", STREAM, "--queries", "final,archive,reconcile", **at, nice=priority.STORES)

    def _start_live(self) -> Program:
        """The live query, or the plain baseline."""
        at: dict[str, Any] = {"settings": self.settings, "folder": self.settings.data_path}
        if self.mode == "plain":
            return python("live", "benchmarks.plain", **at)
        return submit("live", STREAM, "--queries", "live", "--live-trigger", self.mode, **at)

    def stop_drivers(self) -> None:
        for name in self.drivers:
            if name in self.programs:
                self.programs[name].stop()

    def sessions(self) -> dict[str, int]:
        own = {name: program.session for name, program in self.programs.items()}
        return self.bench.sessions() | own

    def checkpoints_us(self, start_us: int, end_us: int) -> list[int]:
        """When the live queries committed in real-time mode; a micro-batch commits all the time."""
        if self.mode != "realtime":
            return []
        folders = sorted(self.settings.checkpoint_path.glob("live-*/commits"))
        return sorted(moment for folder in folders for moment in checkpoints_us(folder, start_us, end_us))


@contextlib.contextmanager
def live_system(bench: Bench, mode: str = "realtime", whole: bool = False, api: bool = False) -> Iterator[Live]:
    """Drivers and relay on a fresh system, the API too when all queries run or with `api`; stopped at the end."""
    with bench.system(api_port=free_port()) as settings, contextlib.ExitStack() as running:
        live = Live(settings, bench, mode, whole)
        at: dict[str, Any] = {"settings": settings, "folder": settings.data_path}
        live.programs["relay"] = running.enter_context(python("relay", "jobs.relay", **at, nice=priority.RELAY))
        if whole or api:
            live.programs["api"] = running.enter_context(python("api", "api", **at))
        running.callback(live.stop_drivers)
        live.start_drivers()
        yield live


@contextlib.contextmanager
def watching(live: Live, what: str) -> Iterator[Path]:
    """A watcher beside the system; the file that it writes when the block ends."""
    path = live.settings.data_path / f"{what}.{time.time_ns()}.npz"
    with python(
        f"watch {what}", "benchmarks.watch", what, str(path), settings=live.settings, folder=live.settings.data_path
    ) as watcher:
        watcher.wait_for_line(watch.READY, START_SECONDS)
        live.programs[watcher.name] = watcher
        try:
            yield path
        finally:
            del live.programs[watcher.name]


@dataclass(frozen=True)
class Window:
    """What was seen in one window. `log` holds its ticks and those before, from the beginning of its first minute."""

    log: TickLog
    ticks: TickLog
    seen: dict[str, Seen]
    checkpoints_us: list[int]
    usage: dict[str, dict[str, float]]
    drained: bool

    def rows(self) -> list[dict[str, Any]]:
        """Percentiles by path (`kafka`, `redis`) and span (`whole`, `between_checkpoints`)."""
        found = []
        calm = outside(self.ticks.event_us, self.checkpoints_us)
        for path, seen in self.seen.items():
            gaps = missing(self.log, seen)
            latency = latencies_us(self.ticks, seen, gaps == 0)
            rows = {"rows": len(gaps), "overtaking": int((gaps > 0).sum()), "double": int((gaps < 0).sum())}
            found.append({"path": path, "span": "whole", **summary(latency), **rows})
            if self.checkpoints_us:
                found.append({"path": path, "span": "between_checkpoints", **summary(latency[calm])})
        return found


def measure_window(live: Live, load: Load, warmup: float, seconds: float) -> Window:
    """Load the system, wait out the warm-up, measure; returns with the load stopped and the queue drained."""
    with contextlib.ExitStack() as running:
        files = {what: running.enter_context(watching(live, what)) for what in watch.WATCHERS}
        before = rows_written(live.settings)
        generator = running.enter_context(start_load(load, live.settings, live.settings.data_path))
        live.programs["load"] = generator
        running.callback(live.programs.pop, "load")
        wait_for_rows(live, before)
        pause(live, warmup, "warm-up")
        start_us, meter = time.time_ns() // 1000, Meter(live.sessions())
        pause(live, seconds, "measuring", meter)
        end_us, used = time.time_ns() // 1000, meter.result()
        generator.stop()
        drained = wait_until_quiet(live.settings, DRAIN_SECONDS)
    minute_us = start_us - start_us % MINUTE_US
    seen = {what: Seen.load(path).since(minute_us) for what, path in files.items()}
    log = read_ticks(live.settings, minute_us)
    ticks = log.between(start_us, end_us)
    return Window(log, ticks, seen, live.checkpoints_us(start_us, end_us), used, drained)


def wait_for_rows(live: Live, before: int) -> None:
    """Wait until `bars.live` has more than `before` rows."""
    deadline = time.monotonic() + FIRST_ROW_SECONDS
    while rows_written(live.settings) <= before:
        live.check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"no bar came within {FIRST_ROW_SECONDS:.0f} s of the first tick")
        time.sleep(0.5)


def pause(live: Live, seconds: float, what: str, meter: Meter | None = None) -> None:
    """Wait, looking once a second whether all processes still run."""
    say(f"{what} for {seconds:g} s")
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(1.0, left))
        live.check()
        if meter is not None:
            meter.sample()
