"""How `python -m api` runs: one process, or several workers on one port under a parent that replaces those that die."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import multiprocess

from api import metering
from api.app import create_app
from api.security.protocol import GuardedProtocol
from api.security.redact import log_config
from api.ws.protocol import SocketProtocol
from conf import logs
from conf.settings import load_settings

SHUTDOWN_SECONDS = 10  # what running requests get after the first Ctrl-C or SIGTERM
# A new worker answers its parent only when it has imported the application, which takes a busy machine many seconds.
WORKER_SECONDS = 30
PARENT = "_TICKSTREAM_API_PARENT"
PARENT_CHECK_SECONDS = 1.0


def serve(app: FastAPI, workers: int, log_form: logs.Format = "text", **options: Any) -> None:
    """Serve until SIGINT or SIGTERM. Workers build the application for themselves, from the environment."""
    target: Any = app
    if workers > 1:
        multiprocess.Process = _Child  # type: ignore[misc]  # there is no other way to tell uvicorn
        os.environ[PARENT] = str(os.getpid())
        target = "api.workers:worker_app"
    uvicorn.run(
        target,
        factory=workers > 1,
        workers=workers,
        http=GuardedProtocol,
        ws=SocketProtocol,
        ws_max_size=1 << 20,
        ws_per_message_deflate=False,  # a window for each client, and milliseconds
        log_config=log_config(log_form),
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_worker_healthcheck=WORKER_SECONDS,
        proxy_headers=False,  # uvicorn believes X-Forwarded-For from loopback; ours believes whom settings name
        server_header=False,
        **options,
    )


class _Child(multiprocess.Process):
    """A worker as its parent sees it: alone in holding its end of their pipe.

    A parent that holds that end too does not notice that a killed worker hangs up: it waits `WORKER_SECONDS` for the
    answer, and meanwhile neither replaces the worker nor hears SIGTERM.
    """

    def start(self) -> None:
        super().start()
        self.child_conn.close()


def worker_app() -> Any:
    """The application of one worker, which does not outlive its parent."""
    settings = load_settings()
    logs.configure_logs(settings.log_format)
    app = create_app(settings)
    metering.show(app, settings)
    return _Worker(app, int(os.environ[PARENT]))


class _Worker:
    """Watches, from its lifespan on, whether the parent is there: an orphan would hold the port for ever."""

    def __init__(self, app: FastAPI, parent: int) -> None:
        self._app = app
        self._parent = parent
        self._watch: asyncio.Task[None] | None = None
        self.state = app.state

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            self._watch = asyncio.create_task(self._watching())
        await self._app(scope, receive, send)

    async def _watching(self) -> None:
        while os.getppid() == self._parent:
            await asyncio.sleep(PARENT_CHECK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
