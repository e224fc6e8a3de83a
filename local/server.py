"""What the three servers have in common: a folder, a remembered port, one process, start, stop and kill."""

import contextlib
import json
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import psutil

from local.errors import LocalError

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
TAIL_LINES = 15

# Below the range that Linux gives to outgoing connections: a client that keeps dialling the port of a dead server
# could otherwise be given that very port as its own end, connect to itself, and keep the server from coming back.
PORTS = range(20_000, 32_000)


class Server:
    """One server process in one folder, listening on the loopback interface only.

    A folder belongs to one server; starting again on it finds the data and the port. Subclasses say how to prepare
    the folder, what to run and how to ask whether it answers.
    """

    name = "server"
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = Path(folder).resolve()
        self.log = self.folder / "server.log"
        self._wanted_port = port
        self._memory = self.folder / "server.json"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port of this folder: the one asked for, else the remembered one, else a free one from now on."""
        return self._remembered("port", self._wanted_port)

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """The process id of the running server, None when it is not running."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> Self:
        """Start and wait until it answers.

        Raises LocalError, with the end of the log, when it does not, or when its port or folder is in use.
        """
        self._refuse_a_second()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._refuse_taken(self.port)
        self._prepare()
        with self.log.open("wb") as log:
            self._process = self._spawn(self._command(), log)
        self._remember({"pid": self._process.pid, "started": psutil.Process(self._process.pid).create_time()})
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End it as it wishes to be ended, by force after STOP_SECONDS; nothing to do when it is not running."""
        if self._process is None:
            return
        family = _family(self._process.pid)
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._bury(family)

    def kill(self) -> None:
        """SIGKILL the server and all its children at once, as a crash would."""
        if self._process is not None:
            self._bury(_family(self._process.pid))

    def running(self) -> psutil.Process | None:
        """The process that runs on this folder, whoever started it."""
        return alive(self._recall())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self) -> None:
        """Make the folder ready; called before every start."""

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        """Whether a client is served by now; any exception means no."""
        raise NotImplementedError

    def _spawn(self, command: list[str], log: Any) -> "subprocess.Popen[bytes]":
        # A session of its own: Ctrl-C in the terminal must not reach the servers before their clients are gone.
        return subprocess.Popen(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def _bury(self, family: list[psutil.Process]) -> None:
        kill_all(family)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _refuse_a_second(self) -> None:
        other = self.running()
        if other is not None:
            raise LocalError(
                f"{self.name} already runs on {self.folder} as process {other.pid}; stop it with `python -m local down`"
            )

    def _refuse_taken(self, port: int) -> None:
        if not port_is_free(port):
            raise LocalError(
                f"{self.name} cannot listen on {HOST}:{port}: the port is in use by another process; "
                f"end that process, or remove {self._memory} to get another port"
            )

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise LocalError(f"{self.name} ended while starting ({self._process.returncode}){self._tail()}")
            with contextlib.suppress(Exception):
                if self._answers():
                    return
            time.sleep(0.1)
        raise LocalError(f"{self.name} did not answer on port {self.port} within {START_SECONDS:.0f} s{self._tail()}")

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return f"; the end of {self.log}:\n" + "\n".join(f"    {line}" for line in lines)

    def _remembered(self, key: str, wanted: int | None) -> int:
        known = self._recall().get(key)
        port = wanted or known or free_port()
        if port != known:
            self._remember({key: port})
        return port

    def _recall(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._memory.read_text()))
        except (OSError, ValueError):
            return {}

    def _remember(self, facts: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._memory.write_text(json.dumps(self._recall() | facts))


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As the servers do: connections of a dead predecessor that linger in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody listens on. Raises LocalError when none is found."""
    for port in random.sample(PORTS, 200):
        if port_is_free(port):
            return port
    raise LocalError(f"no free port between {PORTS.start} and {PORTS.stop}")


def alive(record: dict[str, Any]) -> psutil.Process | None:
    """The process of a record of `pid` and `started`; None when it is gone or its number was given to another."""
    try:
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["started"]) < 1
    except (KeyError, psutil.Error):
        return None
    return process if same and not has_ended(process) else None


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more. A zombie has ended: in a container nobody may ever collect it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_ended(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until they have ended; returns those that have not by then."""
    deadline = time.monotonic() + seconds
    while left := [process for process in processes if not has_ended(process)]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.02)
    return []


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL them, those that are still there, and wait until they have ended."""
    victims = list(processes)
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_ended(victims, STOP_SECONDS)


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
