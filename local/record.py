"""The file by which `down`, `status` and a second `up` find the stack that runs on a data folder."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from local.errors import LocalError
from local.server import Server, alive, kill_all, wait_ended
from local.supervisor import in_sessions

STOP_SECONDS = 90.0


class StackRecord:
    """Who runs the stack of one data folder, and in which sessions its processes live."""

    def __init__(self, folder: Path) -> None:
        self._file = folder.resolve() / "stack.json"

    def leader(self) -> psutil.Process | None:
        """The `up` that runs on this folder."""
        return alive(self._read())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Claim the folder for this process. Raises LocalError when another stack runs on it."""
        leader = self.leader()
        if leader is not None:
            raise LocalError(
                f"a stack already runs on {self._file.parent} (process {leader.pid}); `python -m local down` stops it"
            )
        own = psutil.Process()
        self._write({"pid": own.pid, "started": own.create_time(), "sessions": []})
        try:
            yield
        finally:
            self._file.unlink(missing_ok=True)

    def note_sessions(self, sessions: list[int]) -> None:
        """Remember where the processes live, for a `down` after this process was killed.

        Tried again with the next call where it cannot be written: a full disk must not end what still runs.
        """
        known = self._read()
        if known.get("sessions") != sessions:
            with contextlib.suppress(OSError):
                self._write(known | {"sessions": sessions})

    def stop_leader(self) -> bool:
        """Ask a running `up` to stop and wait for it; whether there was one. Raises LocalError when it does not."""
        leader = self.leader()
        if leader is None:
            return False
        leader.terminate()
        if wait_ended([leader], STOP_SECONDS):
            raise LocalError(f"the stack (process {leader.pid}) did not stop within {STOP_SECONDS:.0f} s")
        return True

    def reap(self, servers: list[Server]) -> int:
        """End what a killed `up` left behind, the servers last and gently; how many processes that were."""
        if self.leader() is not None:
            return 0
        known = self._read()
        left = list(_started_since(known.get("started", float("inf")), in_sessions(set(known.get("sessions", [])))))
        kill_all(left)
        orphans = []
        for server in servers:
            process = server.running()
            if process is not None:
                process.send_signal(server.stop_signal)
                orphans.append(process)
        kill_all(wait_ended(orphans, STOP_SECONDS))
        self._file.unlink(missing_ok=True)
        return len(left) + len(orphans)

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._file.read_text()))
        except (OSError, ValueError):
            return {}

    def _write(self, facts: dict[str, Any]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(facts))
        fresh.replace(self._file)


def _started_since(since: float, processes: Iterator[psutil.Process]) -> Iterator[psutil.Process]:
    """Those not older than the stack: after a reboot the numbers of its sessions may belong to others."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.create_time() >= since:
                yield process
