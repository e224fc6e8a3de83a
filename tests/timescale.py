"""A real TimescaleDB for tests: a PostgreSQL with the extension that this machine has, or has in a folder beside it.

`.ci/run` makes that folder, a small Debian that is new enough to have the package, where it may. The server runs in it
by chroot, with its data there too.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from local.errors import LocalError
from local.server import HOST, Server

FOLDER = Path(os.environ.get("TIMESCALE_ROOT", "/var/lib/tickstream-timescale"))
_CONTROL = "usr/share/postgresql/*/extension/timescaledb.control"
_OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_locks_per_transaction": "256",  # a lock for each chunk that a statement touches
    "dynamic_shared_memory_type": "mmap",  # /dev/shm of a folder is nobody's
    "fsync": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    # Its schedulers look into every database, and one that is looked into cannot be copied.
    "timescaledb.max_background_workers": "0",
}


class Timescale(Server):
    """A server that has the extension and creates it in no database by itself. `url` is a superuser's."""

    name = "timescale"
    stop_signal = signal.SIGINT

    def __init__(self, root: Path, folder: Path) -> None:
        super().__init__(folder)
        self._root = root
        self._data = folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    def _prepare(self) -> None:
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self._data, "nobody", "nogroup")
        init = self._inside("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D")
        done = subprocess.run([*init, self._path], capture_output=True, text=True, cwd="/")
        if done.returncode != 0:
            raise LocalError(f"timescale: initdb failed: {(done.stderr or done.stdout).strip()}")

    def _command(self) -> list[str]:
        options = [part for key, value in _OPTIONS.items() for part in ("-c", f"{key}={value}")]
        return self._inside("postgres", "-D", self._path, "-p", str(self.port), *options)

    def _answers(self) -> bool:
        with psycopg.connect(self.url, connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)

    @property
    def _path(self) -> str:
        """The data's folder as it is called in there."""
        return "/" + str(self._data.relative_to(self._root))

    def _inside(self, program: str, *arguments: str) -> list[str]:
        (version,) = _versions(self._root)
        command = [f"/usr/lib/postgresql/{version}/bin/{program}", *arguments]
        # PostgreSQL refuses to run as root.
        return ["chroot", "--userspec=nobody:nogroup", str(self._root), *command] if os.geteuid() == 0 else command


def root() -> Path | None:
    """Where a PostgreSQL with the extension is: `/`, or a folder that chroot is allowed to enter."""
    roots = (Path("/"), FOLDER) if os.geteuid() == 0 else (Path("/"),)
    return next((each for each in roots if _versions(each)), None)


@contextmanager
def timescale(root: Path) -> Iterator[Timescale]:
    """A server on a new folder that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="tickstream-timescale-", dir=root / "tmp"))
    folder.chmod(0o711)
    try:
        with Timescale(root, folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _versions(root: Path) -> list[str]:
    """The newest version of PostgreSQL that has it, or none."""
    return sorted((path.parents[1].name for path in root.glob(_CONTROL)), key=int)[-1:]
