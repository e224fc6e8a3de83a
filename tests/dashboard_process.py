"""What the dashboard's browser tests run on: stores with a tape, an API that can be killed, the dashboard itself."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import redis
from pydantic import SecretStr

from conf.settings import Settings
from core.intervals import MINUTE_US
from local.postgres import Postgres
from local.redis import Redis
from local.server import free_port
from tests.api_process import ROOT, ApiProcess, api_process, end_group
from tests.databases import fresh_database
from tests.supervised import environment
from tests.tape import LONGEST_MINUTES, Tape

START_SECONDS = 40.0
REDIS_DATABASE = 255  # the last one; those of single tests are counted from 1


class Rig:
    """A market of its own behind an API and a dashboard, each a process. Use as a context manager.

    `tape` trades; `url` is the dashboard's; `get` asks the API.
    """

    def __init__(self, postgres: Postgres, redis_server: Redis, folder: Path) -> None:
        self._postgres, self._folder = postgres, folder
        self._running, self._api = ExitStack(), ExitStack()
        self._redis_url = redis_server.url.removesuffix("0") + str(REDIS_DATABASE)
        self.api_port = free_port()

    def __enter__(self) -> Self:
        with self._running:
            self.settings = self._settings()
            # Both take seconds to start; the dashboard needs no API for that.
            dashboard = self._running.enter_context(dashboard_process(self.settings, self._folder / "dashboard.log"))
            self._running.callback(self._api.close)
            self.start_api()
            self.url = dashboard.wait_until_up()
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _settings(self) -> Settings:
        dsn = self._running.enter_context(fresh_database(self._postgres))
        self._flush()
        self._running.callback(self._flush)
        return Settings(
            postgres_dsn=SecretStr(dsn),
            redis_url=SecretStr(self._redis_url),
            data_path=self._folder,
            redis_ttl_seconds=3600,
            api_port=self.api_port,
            api_auth="off",
            dashboard_port=free_port(),
            dashboard_api_url=f"http://127.0.0.1:{self.api_port}",
        )

    def tape(self, symbols: tuple[str, ...], minutes: int, without: tuple[int, ...] = ()) -> Tape:
        """Trades of these symbols, so many minutes of them in the past; closed with the rig."""
        longest_us = LONGEST_MINUTES * MINUTE_US
        now_us = time.time_ns() // 1000
        start_us = now_us - now_us % longest_us - (minutes + LONGEST_MINUTES) // LONGEST_MINUTES * longest_us
        tape = Tape(self.settings, symbols, start_us)
        self._running.callback(tape.close)
        tape.history(minutes, without)
        return tape

    def start_api(self) -> None:
        arguments = (self.settings, self._folder / "api.log", "--port", str(self.api_port))
        self.api: ApiProcess = self._api.enter_context(api_process(*arguments))

    def kill_api(self) -> None:
        """As a crash would."""
        self._api.close()

    def get(self, path: str) -> Any:
        return httpx.get(f"http://127.0.0.1:{self.api_port}{path}", timeout=30).raise_for_status().json()

    def _flush(self) -> None:
        with redis.Redis.from_url(self._redis_url) as client:
            client.flushdb()


class DashboardProcess:
    """`python -m dashboard`, on its way up."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
        self.process, self._url, self._log = process, url, log

    def wait_until_up(self) -> str:
        """Its URL, as soon as it answers there."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self._url}/health/live").status_code == 200:
                    return self._url
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(self._log.read_text(errors="replace"))


@contextmanager
def dashboard_process(settings: Settings, log: Path) -> Iterator[DashboardProcess]:
    """A dashboard with these settings."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard"],
            cwd=ROOT,
            env=environment(settings),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield DashboardProcess(process, f"http://127.0.0.1:{settings.dashboard_port}", log)
    finally:
        end_group(process)
