"""The processes under test: each in a session of its own, its output in a file, its CPU and memory counted."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
from pydantic import SecretStr

from benchmarks.errors import BenchmarkError
from benchmarks.machine import ROOT
from conf.settings import Settings, variable
from local.priority import stand_back
from local.server import kill_all, wait_ended
from local.supervisor import in_sessions

STOP_SECONDS = 30.0


class Program:
    """One command with `settings` as its environment, started at once. Use as a context manager."""

    def __init__(self, name: str, command: Sequence[str], settings: Settings, folder: Path, nice: int = 0) -> None:
        self.name = name
        self.log = folder / f"{name.replace(' ', '-')}.{time.time_ns()}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        stand_back(self._process.pid, nice)

    @property
    def session(self) -> int:
        """The session that it and all its children run in."""
        return self._process.pid

    def check(self) -> None:
        """Raises BenchmarkError when it has ended."""
        code = self._process.poll()
        if code is not None:
            raise BenchmarkError(f"{self.name} ended ({code}): {self.last_line()}")

    def wait(self, seconds: float) -> None:
        """Wait for a good end. Raises BenchmarkError for a bad one or none."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"{self.name} did not end within {seconds:.0f} s") from None
        if code != 0:
            raise BenchmarkError(f"{self.name} failed ({code}): {self.last_line()}")

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait_for_line(self, text: str, seconds: float) -> None:
        """Wait until its output holds `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.log.read_text(errors="replace"):
            self.check()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{self.name} did not say {text!r} within {seconds:.0f} s: {self.last_line()}")
            time.sleep(0.2)

    def last_line(self) -> str:
        """The end of its output, in one line."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def kill(self) -> None:
        """SIGKILL it and all its children at once, as a crash would."""
        kill_all(in_sessions({self.session}))
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left after a while."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.session, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        kill_all(wait_ended(list(in_sessions({self.session})), 5.0))
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def python(name: str, module: str, *arguments: str, settings: Settings, folder: Path, nice: int = 0) -> Program:
    """`python -m module arguments`."""
    return Program(name, (sys.executable, "-u", "-m", module, *arguments), settings, folder, nice)


def submit(name: str, job: str, *arguments: str, settings: Settings, folder: Path, nice: int = 0) -> Program:
    """`./spark-submit.sh job arguments`."""
    return Program(name, ("./spark-submit.sh", job, *arguments), settings, folder, nice)


def environment(settings: Settings) -> dict[str, str]:
    """An environment with exactly these settings: neither `.env` nor the caller's own variables shine through."""
    fields = {variable(name): _text(getattr(settings, name)) for name in Settings.model_fields}
    return {**os.environ, **fields, "SUBMIT_PYTHON": sys.executable}


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@dataclass(frozen=True)
class Usage:
    """CPU seconds since the processes began, and resident bytes now, shared pages counted once."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0


def usage(sessions: Mapping[str, int]) -> dict[str, Usage]:
    """The present usage by name; a session with a JVM in it is told apart as "name jvm" and "name python"."""
    found: dict[str, Usage] = {}
    for label, processes in _by_label(sessions).items():
        cpu, own, shared = 0.0, 0, 0
        for process in processes:
            with contextlib.suppress(psutil.Error):
                cpu += sum(process.cpu_times()[:4])  # user, system, and those of children that have ended
                memory = process.memory_info()
                own += memory.rss - memory.shared
                shared = max(shared, memory.shared)
        found[label] = Usage(cpu, own + shared)
    return found


def _by_label(sessions: Mapping[str, int]) -> dict[str, list[psutil.Process]]:
    names = {session: name for name, session in sessions.items()}
    found: dict[str, list[psutil.Process]] = defaultdict(list)
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            process = psutil.Process(pid)
            # PostgreSQL gives each of its children a session of its own.
            name = names.get(os.getsid(pid)) or names.get(process.ppid())
            if name is not None and not _forking(process):
                found[_label(name, process)].append(process)
    return found


def _forking(process: psutil.Process) -> bool:
    """A child of a JVM that is about to become another program: the memory it shows is its parent's."""
    return process.name() != "java" and Path(process.exe()).name == "java"


def _label(name: str, process: psutil.Process) -> str:
    if name not in JVM_AND_PYTHON:
        return name
    return f"{name} jvm" if process.name() == "java" else f"{name} python"


JVM_AND_PYTHON = ("live", "stores", "backfill")


class Meter:
    """CPU seconds and peak memory of sessions, from its making on; `sample` as often as peaks matter."""

    def __init__(self, sessions: Mapping[str, int]) -> None:
        self._sessions = dict(sessions)
        self._started = time.monotonic()
        self._first = usage(sessions)
        self._last = dict(self._first)
        self._peak: dict[str, int] = {}
        self.sample()

    def sample(self) -> None:
        now = usage(self._sessions)
        self._last.update(now)
        for label, used in now.items():
            self._peak[label] = max(self._peak.get(label, 0), used.memory_bytes)

    def result(self) -> dict[str, dict[str, float]]:
        """By name: `cpu_seconds` and `cores` up to the last sample, `peak_mb`."""
        seconds = time.monotonic() - self._started
        spent = {label: used.cpu_seconds - self._first.get(label, Usage()).cpu_seconds for label, used in
                 self._last.items()}  # fmt: skip
        return {
            label: {
                "cpu_seconds": round(cpu, 2),
                "cores": round(cpu / seconds, 3),
                "peak_mb": round(self._peak[label] / 1e6),
            }
            for label, cpu in sorted(spent.items())
            if label in self._peak
        }
