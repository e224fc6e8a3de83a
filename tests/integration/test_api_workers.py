"""`python -m api` with workers, keys from the command line, and the addresses it refuses to listen on."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from pydantic import SecretStr
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from api.__main__ import main
from api.security.bootstrap import Bootstrap
from conf.settings import Settings
from stores.access import AccessStore, KeyTable
from stores.migrations import Retention, migrate
from tests.api_process import api_process, bearer, run_api
from tests.supervised import environment

BOOTSTRAP = "ts_bootstrap1_" + "b" * 48
DEADLINE_SECONDS = 20.0


@pytest.fixture
def settings(postgres_dsn: str, redis_url: str) -> Settings:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        migrate(connection, Retention(30, 365))
    return Settings(postgres_dsn=SecretStr(postgres_dsn), redis_url=SecretStr(redis_url))


@pytest.fixture
def environ(settings: Settings) -> Iterator[dict[str, str]]:
    yield {name: value for name, value in environment(settings).items() if name in ("POSTGRES_DSN", "REDIS_URL")}


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status(url: str, **options: Any) -> int | None:
    try:
        return httpx.get(url, timeout=5, **options).status_code
    except httpx.TransportError:
        return None


def test_killed_worker_is_replaced_others_serve_and_all_end_in_order(settings: Settings, tmp_path: Path) -> None:
    with api_process(settings, tmp_path / "api.log", "--workers", "2") as api:
        first = api.workers()
        assert len(first) == 2
        first[0].kill()
        eventually(lambda: len({worker.pid for worker in api.workers()} - {first[0].pid}) == 2)
        eventually(lambda: status(f"{api.url}/api/v1/symbols") == 200)
        workers = api.workers()
        assert api.stop() == 0 or api.process.returncode == -signal.SIGTERM
        eventually(lambda: not any(worker.is_running() for worker in workers))
        assert "Traceback" not in api.log, api.log


def test_worker_killed_while_its_parent_waits_for_an_answer_is_replaced_at_once(
    settings: Settings, tmp_path: Path
) -> None:
    with api_process(settings, tmp_path / "api.log", "--workers", "2") as api:
        silent = api.workers()[0]
        silent.suspend()
        time.sleep(2)  # the parent asks twice a second, and waits for an answer
        silent.kill()
        eventually(lambda: f"Child process [{silent.pid}] died" in api.log)  # sooner than the answer's WORKER_SECONDS
        eventually(lambda: len({worker.pid for worker in api.workers()} - {silent.pid}) == 2)


def test_workers_do_not_outlive_a_killed_parent(settings: Settings, tmp_path: Path) -> None:
    with api_process(settings, tmp_path / "api.log", "--workers", "2") as api:
        workers, port = api.workers(), api.port
        os.kill(api.process.pid, signal.SIGKILL)
        api.process.wait()
        try:
            eventually(lambda: not any(alive(worker) for worker in workers))
        finally:
            for worker in workers:
                if alive(worker):
                    worker.kill()
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))


def alive(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def test_public_address_without_a_key_exits_2_and_says_what_to_do(environ: dict[str, str]) -> None:
    for auth, says in (("auto", "python -m api keys create"), ("off", "loopback only")):
        answer = run_api("--host", "0.0.0.0", "--port", "0", **environ, TICKSTREAM_API_AUTH=auth)
        assert answer.returncode == 2 and says in answer.stderr and len(answer.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"TICKSTREAM_API_BOOTSTRAP_KEY": "hunter2"}, "TICKSTREAM_API_BOOTSTRAP_KEY"),
        ({"TICKSTREAM_API_JWT_SECRET": "hunter2"}, "TICKSTREAM_API_JWT"),
        ({"TICKSTREAM_API_TRUSTED_PROXIES": "proxy"}, "TICKSTREAM_API_TRUSTED_PROXIES"),
        ({"TICKSTREAM_API_CORS_ORIGINS": "charts"}, "TICKSTREAM_API_CORS_ORIGINS"),
        ({"TICKSTREAM_API_AUTH": "maybe"}, "TICKSTREAM_API_AUTH"),
    ],
)
def test_wrong_setting_exits_2_in_one_line_without_the_secret(
    environ: dict[str, str],
    fields: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in (environ | fields).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit:
        main([])
    said = capsys.readouterr().err
    assert exit.value.code == 2 and says in said and len(said.strip().splitlines()) == 1
    assert "hunter2" not in said


def test_first_key_from_settings_opens_a_closed_api_and_a_revoked_one_stays_so(
    settings: Settings, tmp_path: Path
) -> None:
    with api_process(settings, tmp_path / "api.log", TICKSTREAM_API_BOOTSTRAP_KEY=BOOTSTRAP) as api:
        url = f"{api.url}/api/v1/symbols"
        assert status(url) == 401
        eventually(lambda: status(url, headers=bearer(BOOTSTRAP)) == 200)
        assert BOOTSTRAP not in api.log
        KeyTable(settings.postgres_dsn.get_secret_value()).revoke("bootstrap1")
        eventually(lambda: status(url, headers=bearer(BOOTSTRAP)) == 401)
    with_key = settings.model_copy(update={"api_bootstrap_key": SecretStr(BOOTSTRAP)})
    asyncio.run(start_again(with_key))
    (row,) = KeyTable(settings.postgres_dsn.get_secret_value()).all()
    assert row.id == "bootstrap1" and row.revoked_us is not None


async def start_again(settings: Settings) -> None:
    """What a start does about the first key, to its end."""
    store = AccessStore(settings.postgres_dsn.get_secret_value())
    await store.open()
    bootstrap = Bootstrap(settings, store)
    await bootstrap.open()
    assert bootstrap._task is not None
    await bootstrap._task
    await store.close()


def test_keys_are_created_listed_revoked_and_the_demo_closes_with_the_first(
    settings: Settings, environ: dict[str, str], tmp_path: Path
) -> None:
    with api_process(settings, tmp_path / "api.log") as api:
        url = f"{api.url}/api/v1/symbols"
        assert status(url) == 200
        assert status(url, headers={"Host": "evil.example"}) == 403
        assert status(f"{api.url}/health") == 200
        assert status(f"{api.url}/health", headers={"X-Forwarded-For": "6.6.6.6"}) == 403
        with connect(f"{api.url.replace('http', 'ws')}/ws") as opened:
            made = run_api("keys", "create", "dashboard", "--scopes", "read,stream", "--expires", "30d", **environ)
            text = made.stdout.strip()
            assert made.returncode == 0 and text.startswith("ts_") and text not in made.stderr
            eventually(lambda: status(url) == 401)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    opened.recv(DEADLINE_SECONDS)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        assert status(url, headers=bearer(text)) == 200
        listed = run_api("keys", "list", **environ).stdout
        key_id = text.split("_")[1]
        assert key_id in listed and "dashboard" in listed and "read,stream" in listed and "good" in listed
        assert text.split("_", 2)[2] not in listed
        assert run_api("keys", "revoke", key_id, **environ).returncode == 0
        eventually(lambda: status(url, headers=bearer(text)) == 401)
        assert status(url) == 401, "a revoked key does not open it again"
        assert "revoked" in run_api("keys", "list", **environ).stdout
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        assert text not in json.dumps(connection.execute("SELECT * FROM api_keys").fetchall(), default=str)


def test_keys_command_says_what_is_wrong(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as exit:
            main(["keys", *arguments])
        return exit.value.code, *capsys.readouterr()

    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    code, out, _ = run("--help")
    assert code == 0 and "revoke" in out and "stream" in out
    for arguments, says in (
        (("revoke", "nobody"), "no key nobody"),
        (("create", "x", "--scopes", "everything"), "there are read"),
        (("create", "x", "--expires", "soon"), "30d"),
        (("create", "\x00"), "printable"),
    ):
        code, _, error = run(*arguments)
        assert code != 0 and says in error
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://u:hunter2@127.0.0.1:1/x")
    code, _, error = run("list")
    assert code == 1 and error.startswith("error:") and "hunter2" not in error
