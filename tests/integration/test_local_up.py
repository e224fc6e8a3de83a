"""`python -m local up`: what it starts, and that no process is left, however it ends."""

import json
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from local.jars import ROOT
from local.kafka import Kafka
from local.postgres import Postgres
from local.redis import Redis
from local.server import free_port, has_ended, kill_all, wait_ended
from tests.browser import executable

LAST_EXPORT = r"export REDIS_URL=\S+"


class Up:
    """A running `up`, what it printed so far, and every process seen under it."""

    def __init__(self, folder: Path, *arguments: str, **env: str) -> None:
        self.folder = folder
        self.output = ""
        self.family: set[psutil.Process] = set()
        self.env = {**os.environ, **dict.fromkeys(("KAFKA_BOOTSTRAP", "POSTGRES_DSN", "REDIS_URL", "FEED", "DATA"), "")}
        self.env |= {"TICKSTREAM_DATA_PATH": str(folder), "PYTHONUNBUFFERED": "1"} | env
        command = [sys.executable, "-m", "local", "up", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )

    def wait_for(self, pattern: str, seconds: float = 90) -> re.Match[str]:
        """The first match in the output."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output)):
            assert time.monotonic() < deadline, f"no {pattern!r} within {seconds} s:\n{self.output[-4000:]}"
            assert self._read(0.5) or self.process.poll() is None, f"ended without {pattern!r}:\n{self.output[-4000:]}"
        self.look()
        return found

    def look(self) -> None:
        """Remember who lives under it."""
        with suppress(psutil.NoSuchProcess):
            self.family |= set(psutil.Process(self.process.pid).children(recursive=True))

    def end(self, number: int) -> int:
        """Send a signal, read to the end; the exit code."""
        self.look()
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        assert self.process.stdout is not None
        deadline = time.monotonic() + 60
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running:\n{self.output[-4000:]}"
            self._read(0.2)
        return self.process.returncode

    def command(self, name: str) -> "subprocess.CompletedProcess[str]":
        """Another command of the local stack on the same folder."""
        command = [sys.executable, "-m", "local", name]
        return subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=120)

    def survivors(self) -> list[psutil.Process]:
        return wait_ended(sorted(self.family, key=lambda process: process.pid), 5)

    def _read(self, seconds: float) -> bool:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return False
            text = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
            self.output += text
            return bool(text)


@contextmanager
def up(folder: Path, *arguments: str, **env: str) -> Iterator[Up]:
    """Start it; whatever the test finds, nothing stays behind."""
    stack = Up(folder, *arguments, **env)
    try:
        yield stack
    finally:
        if stack.process.poll() is None:
            stack.look()
        kill_all([*stack.family, *([psutil.Process(stack.process.pid)] if stack.process.poll() is None else [])])
        stack.process.wait()
        assert stack.process.stdout is not None
        stack.process.stdout.close()


@pytest.fixture
def folder(servers_folder: Path, tmp_path: Path) -> Path:
    return servers_folder / f"up-{tmp_path.name}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_the_servers_and_leaves_no_process(folder: Path, number: int) -> None:
    with up(folder, "--servers-only") as stack:
        stack.wait_for(LAST_EXPORT)
        names = {process.name() for process in stack.family}
        assert {"java", "postgres"} <= names and names & {"redis-server", "valkey-server"}
        assert stack.end(number) == 0
        assert stack.survivors() == []
        assert not (folder / "stack.json").exists()


def test_second_up_on_the_folder_is_refused_and_down_stops_the_first(folder: Path, kafka_server: Kafka) -> None:
    with up(folder, "--servers-only", KAFKA_BOOTSTRAP=kafka_server.url) as first:  # those above start one
        first.wait_for(LAST_EXPORT)
        assert first.family
        addresses = folder / "servers.env"
        shell = f". {shlex.quote(str(addresses))} && {shlex.quote(sys.executable)} -m stores migrate --check"
        beside = subprocess.run(
            ["sh", "-c", shell], cwd=ROOT, env=first.env, capture_output=True, text=True, timeout=60
        )
        assert beside.returncode == 1 and "pending" in beside.stdout, "found without a word about where"
        second = first.command("up")
        assert second.returncode == 1
        assert re.fullmatch(rf"error: a stack already runs on .* \(process {first.process.pid}\).*\n", second.stderr)
        assert f"process {first.process.pid}" in first.command("status").stdout
        assert first.command("down").stdout == "stopped\n"
        assert first.wait() == 0
        assert first.survivors() == []
        assert not addresses.exists()
        assert first.command("down").stdout == "nothing runs here\n"


def test_killed_up_leaves_servers_that_down_ends(folder: Path) -> None:
    with up(folder, "--servers-only") as stack:
        stack.wait_for(LAST_EXPORT)
        stack.end(signal.SIGKILL)
        assert not all(has_ended(process) for process in stack.family)
        assert stack.command("down").stdout == "ended 3 left-over processes\n"
        assert stack.survivors() == []


def test_killed_up_is_succeeded_by_the_next_on_the_same_ports(folder: Path) -> None:
    with up(folder, "--servers-only") as first:
        first.wait_for(LAST_EXPORT)
        first.end(signal.SIGKILL)
        with up(folder, "--servers-only") as second:
            second.wait_for(LAST_EXPORT)
            assert "ended 3 processes that an earlier stack left behind" in second.output
            assert re.findall("export .*", second.output) == re.findall("export .*", first.output)
            assert first.survivors() == []
            assert second.end(signal.SIGINT) == 0
            assert second.survivors() == []


def test_given_servers_are_used_and_left_alone(
    folder: Path, kafka_server: Kafka, postgres_server: Postgres, redis_server: Redis
) -> None:
    urls = {"KAFKA_BOOTSTRAP": kafka_server.url, "POSTGRES_DSN": postgres_server.url, "REDIS_URL": redis_server.url}
    with up(folder, "--servers-only", **urls) as stack:
        stack.wait_for(LAST_EXPORT)
        assert re.findall(r"export (\w+)=(.*)", stack.output) == list(urls.items())
        assert stack.family == set()
        assert stack.end(signal.SIGINT) == 0
        assert None not in (kafka_server.pid, postgres_server.pid, redis_server.pid)


def test_given_server_that_does_not_answer_stops_up_before_it_starts_any(folder: Path) -> None:
    url = f"redis://:hidden@127.0.0.1:{free_port()}/0"
    with up(folder, "--servers-only", REDIS_URL=url) as stack:
        assert stack.wait() == 1
        stack.wait_for(r"error: REDIS_URL is set to redis://:\*\*\*@127.0.0.1:\d+/0, which does not answer: .*\n")
        assert "hidden" not in stack.output
        assert "started" not in stack.output


def test_interrupt_while_starting_leaves_no_process(folder: Path) -> None:
    with up(folder, "--servers-only") as stack:
        stack.wait_for("kafka: started on")
        assert stack.end(signal.SIGINT) == 0
        assert "redis: started" not in stack.output
        assert stack.survivors() == []


@pytest.mark.slow
@pytest.mark.skipif(executable() is not None, reason="test_dashboard_stack.py sees the same of the stack that it needs")
def test_whole_stack_moves_bars_and_ends_on_interrupt_with_no_process_left(folder: Path) -> None:
    with up(folder, TICKSTREAM_API_PORT=str(free_port())) as stack:
        stack.wait_for("health +http://127.0.0.1", 120)
        stack.wait_for(r"bars are moving, \d+ s after the start: bar:\S+", 180)
        sessions = json.loads((folder / "stack.json").read_text())["sessions"]
        assert len(sessions) >= 4
        assert stack.end(signal.SIGINT) == 0
        assert stack.survivors() == []
        assert left_in(sessions) == []


def left_in(sessions: Collection[int]) -> list[int]:
    """The ids of processes that still live in sessions of a stack."""
    return [process.pid for process in psutil.process_iter() if _session(process) in sessions]


def _session(process: psutil.Process) -> int | None:
    try:
        return None if has_ended(process) else os.getsid(process.pid)
    except OSError:
        return None
