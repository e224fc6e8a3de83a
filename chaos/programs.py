"""The programs of a run: those of `make up` that carry data, under the same supervisor, and how to kill one."""

import os
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from honcho.printer import Printer
from pydantic import SecretStr

from conf.settings import Settings, variable
from local.jars import ROOT
from local.programs import Feed, programs
from local.server import kill_all
from local.supervisor import Patience, Supervisor, in_sessions

CARRYING = ("live", "stores", "relay", "ticks", "api")
# A crash is what is wanted here: it is not a reason to give up, and the next one must not have to wait.
_PATIENCE = Patience(restarts=1_000_000, longest_wait_seconds=3.0, steady_seconds=5.0)


class Programs:
    """Runs them from a thread of its own; output goes to a file. Use as a context manager."""

    def __init__(self, settings: Settings, log: Path, everything: bool = False) -> None:
        listed = [each for each in programs(Feed(), settings.ruleset) if each.name != "feed"]
        self.names = [each.name for each in listed if everything or each.name in CARRYING]
        self._log = log.open("w", buffering=1)
        chosen = [each for each in listed if each.name in self.names]
        self._supervisor = Supervisor(chosen, environment(settings), ROOT, Printer(self._log), _PATIENCE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._supervisor.watch, args=(self._stop, self._note), daemon=True)
        self._seen: dict[str, set[int]] = defaultdict(set)

    def __enter__(self) -> "Programs":
        self._supervisor.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._supervisor.stop()
        self._log.close()

    def kill(self, *names: str) -> list[str]:
        """SIGKILL these programs with all their children; those that ran."""
        running = self._supervisor.running()
        found = [name for name in names if name in running]
        kill_all(list(in_sessions({running[name] for name in found})))
        return found

    def starts(self) -> dict[str, int]:
        """How often each was started."""
        return {name: len(self._seen[name]) for name in self.names}

    def _note(self) -> None:
        for name, pid in self._supervisor.running().items():
            self._seen[name].add(pid)


def environment(settings: Settings) -> Mapping[str, str]:
    """The environment of a program that is to have exactly these settings."""
    texts = {variable(name): _text(getattr(settings, name)) for name in settings.model_fields_set}
    ours = {variable(name) for name in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    driver = {"SUBMIT_PYTHON": sys.executable, "SUBMIT_ARGS": "--driver-memory 1500m"}
    # The empty ones keep a `.env` out.
    return inherited | dict.fromkeys(ours, "") | texts | driver


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
