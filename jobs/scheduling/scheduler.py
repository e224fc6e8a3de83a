"""The process that begins what is due. It decides from `job_runs` alone, so a restart changes nothing."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from conf.schedule import Entry
from conf.settings import Settings
from core.clock import Clock
from core.errors import StoreUnavailable
from jobs.scheduling.runner import ALREADY_RUNS, INTERRUPTED, NO_STORE
from local.jars import ROOT
from stores.job_runs import JobRuns

LOOK_SECONDS = 5.0
AGAIN_SECONDS = 60.0
_HOUR_US = 3_600_000_000
_log = structlog.get_logger("jobs.schedule")

LastDue = Callable[[], dict[str, int]]
"""By job, when its last run was due, epoch microseconds. Raises StoreUnavailable."""
Begin = Callable[[Entry, int], "subprocess.Popen[bytes]"]


class Scheduler:
    """Looks every few seconds. A job that was due while it could not run, for whatever reason, runs once, late."""

    def __init__(
        self,
        entries: Sequence[Entry],
        settings: Settings,
        clock: Clock,
        last_due: LastDue | None = None,
        begin: Begin | None = None,
    ) -> None:
        self._entries = entries
        self._last_due = last_due or _stored(settings)
        self._missed_us = int(settings.schedule_missed_hours * _HOUR_US)
        self._clock = clock
        self._begin = begin or _begin
        self._began_us = clock.now_us()
        self._known: dict[str, int] | None = None
        """By job, when its last run was due."""
        self._running: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}
        self._not_before: dict[str, float] = {}

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping` is set; then its jobs are asked to end."""
        while not stopping.wait(LOOK_SECONDS):
            self.look()
        for _, process in self._running.values():
            process.terminate()
        for _, process in self._running.values():
            process.wait()

    def look(self) -> None:
        """Begin what is due, and see what has ended."""
        self._collect()
        try:
            known = self._known = self._last_due() if self._known is None else self._known
        except StoreUnavailable as error:
            _log.warning("cannot tell what has run, looking again", error=str(error))
            return
        now_us = self._clock.now_us()
        for entry in self._entries:
            if entry.name in self._running or time.monotonic() < self._not_before.get(entry.name, 0):
                continue
            since_us = max(known.get(entry.name, self._began_us), now_us - self._missed_us - 1)
            due_us = entry.newest_due(since_us, now_us)
            if due_us is not None:
                _log.info("due", job=entry.name, at=entry.local(due_us).isoformat())
                self._running[entry.name] = due_us, self._begin(entry, due_us)

    @property
    def running(self) -> list[str]:
        return sorted(self._running)

    def _collect(self) -> None:
        for name, (due_us, process) in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[name]
            if code in (NO_STORE, INTERRUPTED) or code < 0:  # below zero: a signal ended the runner
                _log.warning("the run may not count, asking job_runs", job=name, exit_code=code)
                self._not_before[name] = time.monotonic() + AGAIN_SECONDS
                self._known = None
                continue
            if self._known is not None:
                self._known[name] = due_us
            if code == ALREADY_RUNS:
                _log.warning("left out: it runs already", job=name)
            else:
                _log.info("ended", job=name, exit_code=code)


def _stored(settings: Settings) -> LastDue:
    def read() -> dict[str, int]:
        with JobRuns(settings.postgres_dsn.get_secret_value()) as runs:
            return {name: run.due_us for name, run in runs.newest().items()}

    return read


def _begin(entry: Entry, due_us: int) -> "subprocess.Popen[bytes]":
    # In our session: whoever ends us ends it.
    command = [sys.executable, "-u", "-m", "jobs.schedule", "--run", entry.name, "--due", str(due_us)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
