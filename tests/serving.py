"""Servers on a real uvicorn in a thread, on a free port of loopback; the API among them, with a client for it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr

from api.app import create_app
from conf.settings import Settings
from core.clock import Clock

START_SECONDS = 20.0
STOP_SECONDS = 20.0
_TLS = httpx.create_ssl_context()  # unused here, yet a client without one reads every certificate there is


@contextmanager
def serving(settings: Settings, clock: Clock | None = None) -> Iterator[httpx.Client]:
    """A client of an API that runs as long as the block does."""
    server = uvicorn.Server(loopback(create_app(settings, clock)))
    with in_thread(server) as port, _client(port) as client:
        yield client


def _client(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=_TLS)


def loopback(app: Any, **more: Any) -> uvicorn.Config:
    """How a test runs an application."""
    return uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on", **more)


def without_database(settings: Settings) -> Settings:
    """The same, asking for no keys, with a database that refuses connections and is waited for as by default."""
    down = {"postgres_dsn": SecretStr("postgresql://postgres@127.0.0.1:1/x"), "api_store_seconds": 2, "api_auth": "off"}
    return settings.model_copy(update=down)


@contextmanager
def in_thread(server: uvicorn.Server) -> Iterator[int]:
    """The port of a server that runs as long as the block does."""
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    try:
        yield _port(server, thread)
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        assert not thread.is_alive(), "the server did not stop"


def _port(server: uvicorn.Server, thread: threading.Thread) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and thread.is_alive():
        if server.started:
            return int(server.servers[0].sockets[0].getsockname()[1])
        time.sleep(0.01)
    raise AssertionError("the server did not start")
