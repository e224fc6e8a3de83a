"""An alerter in a test: its rules, its targets, itself in a thread or as a process, and what it has told."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.rows import dict_row
from pydantic import SecretStr

from alerts.rules import parse_rule
from alerts.server import Server
from conf.settings import Settings
from stores.alerts import AlertStore
from tests.receivers import Hook, until
from tests.supervised import environment


def told(settings: Settings, **targets: str) -> Settings:
    """Settings with these targets; `name__warning` is one for warnings only."""
    text = " ".join(f"{name.replace('__', '[') + ']' if '__' in name else name}={url}" for name, url in targets.items())
    fields = settings.model_fields_set | {"alert_targets"}
    made = settings.model_copy(update={"alert_targets": SecretStr(text)})
    made.__pydantic_fields_set__.update(fields)
    return made


def keep(settings: Settings, *rules: dict[str, Any]) -> None:
    """Make rules, or put them in the place of others of their names."""
    store = AlertStore(settings.postgres_dsn.get_secret_value())
    for rule in rules:
        store.put_rule(str(uuid4()), rule["name"], parse_rule(rule).model_dump(mode="json"))
    store.close()


def rows(settings: Settings, statement: str) -> list[dict[str, Any]]:
    """What the database answers."""
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), row_factory=dict_row) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@contextmanager
def running(settings: Settings, following: bool = True) -> Iterator[Server]:
    """An alerter in a thread."""
    server = Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert not following or server.following.wait(30)
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def process(settings: Settings, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`python -m alerts serve`, following."""
    with log.open("wb") as output:
        command = [sys.executable, "-u", "-m", "alerts", "serve"]
        started = subprocess.Popen(command, env=environment(settings), stdout=output, stderr=output)
    try:
        until(lambda: b"alerts follow the topics" in log.read_bytes() or started.poll() is not None, "start", 40)
        assert started.poll() is None, log.read_text()
        yield started
    finally:
        started.kill()
        started.wait()


def said(hook: Hook, text: str) -> bool:
    """Whether a message that it took has this in its title or its text."""
    return any(text in each["title"] + each["message"] for each in list(hook.messages))
