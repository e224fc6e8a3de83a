"""Runs the processes of the stack: one log prefix each, restarts, and a stop that leaves nothing behind.

honcho prints the lines; its own manager ends everything when one process ends, and here a feed may end and a
crashed process is started again, so the managing is ours.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil
from honcho.colour import get_colours
from honcho.printer import Message, Printer

from local.priority import stand_back
from local.server import has_ended, kill_all

TICK_SECONDS = 0.2


@dataclass(frozen=True)
class Patience:
    """How often and after how long a crashed program is started again, and how long one may take to stop."""

    restarts: int = 5
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 15.0
    rest_seconds: float = 60.0  # between the attempts at an optional program that keeps crashing
    steady_seconds: float = 60.0  # a program that ran so long starts with a clean slate
    grace_seconds: float = 20.0


@dataclass(frozen=True)
class Program:
    """A process to keep running; with `once` it runs to its end and is not started again."""

    name: str
    command: tuple[str, ...]
    once: bool = False
    nice: int = 0
    """How far it stands back, see `local.priority`."""
    optional: bool = False
    """Nobody waits for it: however often it crashes, it is tried again from time to time, and the rest goes on."""


@dataclass
class _Run:
    """One program's present: the process, and when it may be started again if it crashed."""

    program: Program
    colour: str
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    restarts: int = 0
    next_start: float | None = None
    sessions: set[int] = field(default_factory=set)


class Supervisor:
    """Starts the programs in order, watches them, stops them in reverse order."""

    def __init__(
        self,
        programs: list[Program],
        env: Mapping[str, str],
        cwd: Path,
        printer: Printer,
        patience: Patience = Patience(),
    ) -> None:
        self._patience = patience
        colours = get_colours()
        self._runs = [_Run(program, next(colours)) for program in programs]
        self._env = dict(env)
        self._cwd = cwd
        self._printer = printer
        self._printing = threading.Lock()
        printer.width = max([len("system"), *(len(program.name) for program in programs)])

    def say(self, text: str) -> None:
        """A line of the stack's own."""
        self._print("system", None, text.encode())

    def start(self) -> None:
        for run in self._runs:
            self._launch(run)

    def watch(self, stop: threading.Event, on_tick: Callable[[], None] = lambda: None) -> bool:
        """Return True when `stop` is set, False when a program failed more often than it may."""
        while not stop.wait(TICK_SECONDS):
            on_tick()
            for run in self._runs:
                if not self._look_after(run):
                    return False
        return True

    def stop(self) -> None:
        """SIGTERM to each process group, after a grace SIGKILL to whatever of their sessions is left."""
        for run in reversed(self._runs):
            if run.process is not None and run.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(run.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + self._patience.grace_seconds
        while any(self._members()) and time.monotonic() < deadline:
            time.sleep(0.05)
        left = list(self._members())
        if left:
            self.say(f"killing {len(left)} processes that did not end within {self._patience.grace_seconds:.0f} s")
            kill_all(left)

    def sessions(self) -> list[int]:
        """The session of every process ever started; what runs in one of them is ours."""
        return sorted(session for run in self._runs for session in run.sessions)

    def running(self) -> dict[str, int]:
        """The process of every program that has one, by name; it leads a session of its own."""
        return {run.program.name: run.process.pid for run in self._runs if run.process is not None}

    def _look_after(self, run: _Run) -> bool:
        now = time.monotonic()
        if run.next_start is not None:
            if now >= run.next_start:
                self._launch(run)
            return True
        if run.process is None or (code := run.process.poll()) is None:
            return True
        run.process = None
        if run.program.once:
            how = "has reached its end" if code == 0 else f"FAILED ({_ending(code)}), see above; it is not run twice"
            self.say(f"{run.program.name} {how}; the rest keeps running")
            return True
        return self._plan_restart(run, code, now)

    def _plan_restart(self, run: _Run, code: int, now: float) -> bool:
        patience = self._patience
        run.restarts = 1 if now - run.started > patience.steady_seconds else run.restarts + 1
        kill_all(in_sessions(run.sessions))
        if run.restarts > patience.restarts and run.program.optional:
            self.say(f"{run.program.name} DIED again ({_ending(code)}), see above; the rest keeps running")
            run.next_start = now + patience.rest_seconds
            return True
        if run.restarts > patience.restarts:
            self.say(f"{run.program.name} FAILED again ({_ending(code)}): giving up, stopping all")
            return False
        wait = min(patience.first_wait_seconds * 2 ** (run.restarts - 1), patience.longest_wait_seconds)
        again = f"restart {run.restarts} of {patience.restarts} in {wait:.0f} s"
        self.say(f"{run.program.name} DIED ({_ending(code)}), see above: {again}")
        run.next_start = now + wait
        return True

    def _launch(self, run: _Run) -> None:
        run.next_start = None
        run.started = time.monotonic()
        run.process = subprocess.Popen(
            run.program.command,
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stand_back(run.process.pid, run.program.nice)
        run.sessions.add(run.process.pid)
        threading.Thread(target=self._relay_lines, args=(run, run.process), daemon=True).start()

    def _relay_lines(self, run: _Run, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._print(run.program.name, run.colour, line)

    def _print(self, name: str, colour: str | None, line: bytes) -> None:
        with self._printing:
            self._printer.write(Message("line", line, datetime.now(), name, colour))

    def _members(self) -> Iterator[psutil.Process]:
        for run in self._runs:
            if run.process is not None:
                run.process.poll()  # reap it: a zombie is still listed
        return in_sessions(set(self.sessions()))


def in_sessions(sessions: set[int]) -> Iterator[psutil.Process]:
    """All live processes of these sessions: children that changed their group or lost their parent too."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) in sessions and not has_ended(process):
                yield process


def _ending(code: int) -> str:
    return f"exit {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
