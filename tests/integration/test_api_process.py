"""`python -m api` as a process: help, wrong settings, a busy port, and an orderly end."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30.0
NOBODY = {"POSTGRES_DSN": "postgresql://postgres@127.0.0.1:1/postgres", "REDIS_URL": "redis://127.0.0.1:1/0"}


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "api", *arguments]
    env = os.environ | NOBODY | environ
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def running(log: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """The process on a free port, and the URL that it says it listens on."""
    with log.open("wb") as out:
        command = [sys.executable, "-m", "api", "--port", "0"]
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | NOBODY, stdout=out, stderr=out)
    try:
        yield process, _url(process, log)
    finally:
        process.kill()
        process.wait()


def _url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"http://[\d.]+:\d+", log.read_text())
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_help_names_the_options() -> None:
    answer = run("--help")
    assert answer.returncode == 0
    assert "--host" in answer.stdout and "--port" in answer.stdout


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"TICKSTREAM_API_PORT": "99999"}, "TICKSTREAM_API_PORT"),
        ({"TICKSTREAM_API_PROT": "80"}, "TICKSTREAM_API_PORT"),
        ({"POSTGRES_DSN": "postgresql://u:hunter2@[::"}, "POSTGRES_DSN"),
        ({"REDIS_URL": "http://u:hunter2@localhost"}, "REDIS_URL"),
    ],
)
def test_settings_wrong_one_line_and_exit_2(environ: dict[str, str], says: str) -> None:
    answer = run(**environ)
    assert answer.returncode == 2
    assert says in answer.stderr and len(answer.stderr.strip().splitlines()) == 1
    assert "hunter2" not in answer.stderr


def test_port_in_use_exits_non_zero_and_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = run("--port", str(taken.getsockname()[1]))
    assert answer.returncode != 0 and "in use" in answer.stderr


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_process_without_stores_serves_on_loopback_and_ends_in_order(tmp_path: Path, ending: signal.Signals) -> None:
    log = tmp_path / "api.log"
    with running(log) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/health/live").json() == {"status": "ok"}
        process.send_signal(ending)
        process.wait(DEADLINE_SECONDS)
        text = log.read_text()
        assert "Application shutdown complete" in text and "Traceback" not in text, text
