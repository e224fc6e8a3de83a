"""Processes of ours as a supervisor runs them: started again whenever they end, and killed like a crash would."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from conf.settings import Settings, variable

ROOT = Path(__file__).parent.parent
SUBMIT = str(ROOT / "spark-submit.sh")
RELAY = [sys.executable, "-m", "jobs.relay"]
TAIL_CHARACTERS = 6000


class Supervised:
    """One command in a process group of its own. `starts` counts how often it was started."""

    def __init__(
        self, command: Sequence[str], settings: Settings, log: Path, folder: Path = ROOT, **environ: str
    ) -> None:
        self._command = list(command)
        self._folder = folder
        self._environ = environment(settings) | environ
        self.log = log
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def keep_alive(self) -> None:
        """Start it when it is not running."""
        if self._process is None or self._process.poll() is not None:
            self.kill()  # what it may have left in its group
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, cwd=self._folder, env=self._environ, stdout=log, stderr=log, start_new_session=True
                )
            self.starts += 1

    def kill(self) -> None:
        """SIGKILL it and all its children at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self, seconds: float = 30) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGTERM)
        code = self._process.wait(seconds)
        self._process = None
        return code

    def tail(self) -> str:
        return f"--- {self.log.name}\n" + self.log.read_text(errors="replace")[-TAIL_CHARACTERS:]


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a process that is to have these settings."""
    wanted = {variable(name): getattr(settings, name) for name in settings.model_fields_set}
    texts = {
        name: value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        for name, value in wanted.items()
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TICKSTREAM_")}
    texts = {variable("metrics_port"): "0"} | texts
    return inherited | texts | {"SUBMIT_PYTHON": sys.executable, "SUBMIT_ARGS": "--driver-memory 1g"}


def wait_until(
    condition: Callable[[], object], seconds: float, processes: Sequence[Supervised] = (), what: str = "condition"
) -> None:
    """Poll until `condition` holds, restarting `processes` that end; fails with their logs when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("\n".join([f"{what}: not within {seconds:.0f} s", *(p.tail() for p in processes)]))
        for process in processes:
            process.keep_alive()
        time.sleep(0.5)


def run_to_end(
    command: Sequence[str], environ: Mapping[str, str], seconds: float = 200, folder: Path = ROOT
) -> subprocess.CompletedProcess:
    """Run a command to its end from the project's root, or another folder, output as text."""
    return subprocess.run(
        list(command), cwd=folder, env=dict(environ), capture_output=True, text=True, timeout=seconds, check=False
    )
