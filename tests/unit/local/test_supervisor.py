"""The supervisor, on real processes of a few lines."""

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from honcho.printer import Printer

from local.server import has_ended
from local.supervisor import Patience, Program, Supervisor, in_sessions

QUICK = Patience(restarts=2, first_wait_seconds=0.05, rest_seconds=0.1, grace_seconds=2)
FOREVER = "import time; print('up', flush=True); time.sleep(600)"


class Stage:
    """A supervisor that watches in a thread, and what it printed."""

    def __init__(self, folder: Path, *programs: Program) -> None:
        self.folder = folder
        self._output = io.StringIO()
        self.stop = threading.Event()
        self.supervisor = Supervisor(list(programs), os.environ, folder, Printer(self._output), QUICK)
        self.results: list[bool] = []
        self._thread = threading.Thread(target=lambda: self.results.append(self.supervisor.watch(self.stop)))

    @property
    def printed(self) -> str:
        return self._output.getvalue()

    @contextmanager
    def running(self) -> Iterator["Stage"]:
        self.supervisor.start()
        self._thread.start()
        try:
            yield self
        finally:
            self.stop.set()
            self._thread.join(30)
            self.supervisor.stop()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, f"not within the deadline; printed:\n{self.printed}"
            time.sleep(0.02)


def python(name: str, code: str, once: bool = False, optional: bool = False) -> Program:
    return Program(name, (sys.executable, "-c", code), once, optional=optional)


def left(stage: Stage) -> list[psutil.Process]:
    return list(in_sessions(set(stage.supervisor.sessions())))


def test_lines_of_each_program_carry_its_name(tmp_path: Path) -> None:
    code = "import sys, time; print('out'); print('err', file=sys.stderr); sys.stdout.flush(); time.sleep(600)"
    with Stage(tmp_path, python("a", code), python("longer", code)).running() as stage:
        stage.wait_for(lambda: all(f"{n:<6} | {w}" in stage.printed for n in ("a", "longer") for w in ("out", "err")))


def test_crashed_program_is_started_again_and_said_loudly(tmp_path: Path) -> None:
    code = "import pathlib, sys, time\np = pathlib.Path('ran')\n"
    code += "if p.exists(): print('second', flush=True); time.sleep(600)\np.touch(); sys.exit(3)"
    with Stage(tmp_path, python("relay", code)).running() as stage:
        stage.wait_for(lambda: "second" in stage.printed)
        assert "relay DIED (exit 3), see above: restart 1 of 2" in stage.printed
        assert stage.results == []


def test_program_that_keeps_crashing_ends_the_watch_after_the_bound(tmp_path: Path) -> None:
    code = "open('runs', 'a').write('x'); raise SystemExit(1)"
    with Stage(tmp_path, python("relay", code), python("other", FOREVER)).running() as stage:
        stage.wait_for(lambda: stage.results != [])
        assert stage.results == [False]
        assert (tmp_path / "runs").read_text() == "xxx"
        assert "relay FAILED again (exit 1): giving up, stopping all" in stage.printed
    assert left(stage) == []


def test_optional_program_that_keeps_crashing_is_tried_again_and_ends_nothing(tmp_path: Path) -> None:
    code = "open('runs', 'a').write('x'); raise SystemExit(1)"
    with Stage(tmp_path, python("predictor", code, optional=True), python("api", FOREVER)).running() as stage:
        stage.wait_for(lambda: (tmp_path / "runs").exists() and len((tmp_path / "runs").read_text()) >= 5)
        assert "predictor DIED again (exit 1), see above; the rest keeps running" in stage.printed
        stage.wait_for(lambda: "api       | up" in stage.printed)
        assert stage.results == []
    assert stage.results == [True] and left(stage) == []


@pytest.mark.parametrize(("code", "said"), [(0, "feed has reached its end"), (4, "feed FAILED (exit 4)")])
def test_once_program_that_ends_leaves_the_rest_running(tmp_path: Path, code: int, said: str) -> None:
    ending = f"open('runs', 'a').write('x'); raise SystemExit({code})"
    with Stage(tmp_path, python("api", FOREVER), python("feed", ending, once=True)).running() as stage:
        stage.wait_for(lambda: said in stage.printed)
        stage.wait_for(lambda: "api    | up" in stage.printed)
        assert [process.status() for process in left(stage)] == [psutil.STATUS_SLEEPING]
        assert stage.results == []
    assert stage.results == [True]
    assert (tmp_path / "runs").read_text() == "x"


def test_program_that_stands_back_does_so_with_its_children(tmp_path: Path) -> None:
    child = "import os, pathlib; group = pathlib.Path('/proc/self/autogroup');"
    child += "print('niceness', os.nice(0), group.read_text().split()[-1] if group.exists() else 15, flush=True)"
    parent = f"import subprocess, sys, time; time.sleep(0.2); subprocess.run([sys.executable, '-c', {child!r}])"
    ours = os.nice(0)
    program = Program("stores", (sys.executable, "-c", parent), once=True, nice=15)
    with Stage(tmp_path, program).running() as stage:
        stage.wait_for(lambda: "niceness" in stage.printed)
    assert "niceness 15 15" in stage.printed
    assert os.nice(0) == ours


def test_stop_ends_children_that_left_their_group_or_ignore_the_signal(tmp_path: Path) -> None:
    # As PySpark's worker daemon does: its own process group, and deaf to SIGTERM.
    stubborn = "import os, signal, time; os.setpgid(0, 0); signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    stubborn += "print('ready', flush=True); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stubborn!r}])"
    with Stage(tmp_path, python("stream", parent)).running() as stage:
        stage.wait_for(lambda: "ready" in stage.printed)
        family = left(stage)
        assert len(family) == 2
    assert all(has_ended(process) for process in family)
    assert "killing 1 processes" in stage.printed


def test_stop_lets_a_program_clean_up_first(tmp_path: Path) -> None:
    code = "import signal, sys, time\ndef end(*_): open('clean', 'w').write('x'); sys.exit()\n"
    code += "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
    with Stage(tmp_path, python("api", code)).running() as stage:
        stage.wait_for(lambda: "ready" in stage.printed)
    assert (tmp_path / "clean").exists()
    assert "killing" not in stage.printed
