"""`python -m api` as a process on a free port, with what a test asks of it: its URL, its log, its workers, its keys."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from api.security.keys import new_key
from conf.settings import Settings
from stores.access import KeyTable, StoredKey
from tests.supervised import environment

ROOT = Path(__file__).parents[1]
START_SECONDS = 90.0  # the workers' imports, on a busy machine
STOP_SECONDS = 30.0


class ApiProcess:
    """A running API. `url` is where it listens."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log
        self.url = ""

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def workers(self) -> list[psutil.Process]:
        """Its worker processes that run; multiprocessing's own helper is none."""
        return [child for child in psutil.Process(self.process.pid).children() if _works(child)]

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"running on (http://[\d.]+:\d+)", self.log)
            if found:
                self.url = found[1]
                if _alive(self.url):
                    return
            time.sleep(0.05)
        raise AssertionError(self.log)

    def stop(self, ending: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(ending)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def api_process(settings: Settings, log: Path, *arguments: str, **environ: str) -> Iterator[ApiProcess]:
    """The API with these settings, on a free port."""
    command = [sys.executable, "-m", "api", "--port", "0", *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(settings) | environ, stdout=out, stderr=out, start_new_session=True
        )
    api = ApiProcess(process, log)
    try:
        api.wait_until_up()
        yield api
    finally:
        end_group(process)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process of ours with all that it started."""
    for child in _family(process.pid):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.kill()
    process.wait()


def add_key(settings: Settings, scopes: Iterable[str], expires_us: int | None = None) -> tuple[str, StoredKey]:
    """A key of these scopes in the database, and its text."""
    text, key = new_key("test", scopes, expires_us)
    KeyTable(settings.postgres_dsn.get_secret_value()).add(key)
    return text, key


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def run_api(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """`python -m api …` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "api", *arguments],
        cwd=ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _works(process: psutil.Process) -> bool:
    try:
        return "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie is one too
        return False


def _alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
