"""A server in a network namespace of its own, at the end of a cable (a veth pair) that can be pulled.

Everything behind the cable is one thread and what it starts: it takes the server's own code as it is, which listens on
the loopback interface of its namespace. A forwarder there answers at the cable's end. The namespace has no name and is
gone with its last process, whatever becomes of us. Needs root and `ip`.
"""

import contextlib
import ctypes
import os
import random
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from chaos.errors import ChaosError
from chaos.proxy import Mode, Proxy

T = TypeVar("T")
_NEWNET = 0x40000000  # CLONE_NEWNET of sched.h
_INSIDE = "eth0"
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """Use as a context manager; raises ChaosError where this account or this machine cannot have one."""

    def __init__(self, number: int) -> None:
        self._outside = f"tsc{os.getpid() % 100_000}-{number}"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="namespace")
        self._path = Path()
        self.address = ""
        """Of the server's end of the cable; of ours it is the one before."""

    def __enter__(self) -> "Namespace":
        try:
            self._path = self.run(_leave)
            self._lay()
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            raise ChaosError(f"no network namespace: {_words(error)}") from None
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            subprocess.run(["ip", "link", "del", self._outside], capture_output=True)
        self._thread.shutdown(wait=True)

    def run(self, work: Callable[[], T]) -> T:
        """Do something on the server's side; what it starts stays there."""
        return self._thread.submit(work).result()

    def join(self) -> None:
        """Take the calling thread, for the rest of its life, to the server's side."""
        with self._path.open() as file:
            _checked(_libc.setns(file.fileno(), _NEWNET))

    def cut(self, is_cut: bool) -> None:
        """Pull the cable at the server's end, or plug it in."""
        self.run(lambda: _ip("link", "set", _INSIDE, "down" if is_cut else "up"))

    def _lay(self) -> None:
        ours, self.address = _free_pair()
        thread = self._path.parts[4]
        _ip("link", "add", self._outside, "type", "veth", "peer", "name", _INSIDE, "netns", thread)
        _ip("address", "add", f"{ours}/30", "dev", self._outside)
        _ip("link", "set", self._outside, "up")
        self.run(lambda: _ip("address", "add", f"{self.address}/30", "dev", _INSIDE))
        for name in ("lo", _INSIDE):
            self.run(lambda name=name: _ip("link", "set", name, "up"))


class Cable:
    """The way to a server that listens on loopback of a namespace. Use as a context manager."""

    how = "a veth pair between namespaces"

    def __init__(self, space: Namespace, port: int) -> None:
        self._space = space
        self._forwarder = Proxy(port, port, space.address, space.join)
        self.host, self.port = space.address, port

    def __enter__(self) -> "Cable":
        self._forwarder.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._forwarder.__exit__()

    def set(self, mode: Mode) -> None:
        """`silent`: no packet passes. `refuse`: the server's side resets what is open and what comes."""
        self._space.cut(mode == "silent")
        self._forwarder.set("refuse" if mode == "refuse" else "open")


class Behind:
    """A server of `local` whose process is started on the other side."""

    def __init__(self, server: Any, space: Namespace) -> None:
        self._server, self._space = server, space

    @property
    def pid(self) -> int | None:
        pid: int | None = self._server.pid
        return pid

    def start(self) -> object:
        return self._space.run(self._server.start)

    def stop(self) -> None:
        self._space.run(self._server.stop)

    def kill(self) -> None:
        self._server.kill()


def _leave() -> Path:
    """Take this thread to a new namespace; where that is to be found."""
    _checked(_libc.unshare(_NEWNET))
    return Path(f"/proc/self/task/{threading.get_native_id()}/ns/net")


def _free_pair() -> tuple[str, str]:
    """Two neighbours of the link-local range, which nobody routes, that nobody here has."""
    taken = _ip("-4", "-o", "address")
    while True:
        third, fourth = random.randint(1, 100), 4 * random.randint(1, 60)
        network = f"169.254.{third}."
        if network not in taken:
            return f"{network}{fourth + 1}", f"{network}{fourth + 2}"


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _words(error: OSError | subprocess.CalledProcessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"{' '.join(error.cmd[:3])}: {str(error.stderr).strip()}"
    return f"{error.filename or ''} {error.strerror}".strip()
