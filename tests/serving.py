"""The API on a real uvicorn in a thread, on a free port, with a client for it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn

from api.app import create_app
from conf.settings import Settings
from core.clock import Clock

START_SECONDS = 20.0
STOP_SECONDS = 20.0


@contextmanager
def serving(settings: Settings, clock: Clock | None = None) -> Iterator[httpx.Client]:
    """A client of an API that runs as long as the block does."""
    config = uvicorn.Config(create_app(settings, clock), host="127.0.0.1", port=0, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="api", daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{_port(server, thread)}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        assert not thread.is_alive(), "the API did not shut down"


def _port(server: uvicorn.Server, thread: threading.Thread) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and thread.is_alive():
        if server.started:
            return int(server.servers[0].sockets[0].getsockname()[1])
        time.sleep(0.01)
    raise AssertionError("the API did not start")
