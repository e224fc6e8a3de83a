"""Counts what the API answers, and shows what its cache and its sockets count themselves."""

import time
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.caching import cache_stats
from api.ws.route import Sockets
from conf.settings import Settings
from metrics import serving
from metrics.pulled import Row
from metrics.serve import serve

NO_ROUTE = "none"
"""Route of what was refused before one was looked for, of what is not there, and of /openapi.json."""
_SOCKETS = {
    "clients": "connections",
    "waiting_frames": "waiting",
    "busy_clients": "busy",
    "connections_total": "connections_total",
    **{name: name for name in ("subscriptions", "streams", "redis_connected")},
    **{f"{name}_total": name for name in ("sent", "conflated", "dropped", "slow_closes", "resyncs", "refused")},
    "malformed_total": "malformed",
}
"""Short names of the metrics, and what the hub calls them."""


class Metering:
    """The outermost layer: what any other refuses is counted too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        serving.RUNNING.inc()
        try:
            await self._app(scope, receive, answer)
        finally:
            serving.RUNNING.dec()
            _count(scope, status, time.perf_counter() - began)


def install(app: FastAPI) -> None:
    """Around everything that the application has so far."""
    app.add_middleware(Metering)


def show(app: FastAPI, settings: Settings) -> None:
    """Show the metrics of this process, with what it counts anyway."""
    serving.SOCKETS.watch(lambda: _sockets(app.state.sockets))
    serving.CACHE.watch(_cache)
    serve("api", settings)


def _count(scope: Scope, status: int, seconds: float) -> None:
    """A status of 0 is an answer that never began: the client has gone."""
    method = scope["method"] if scope["method"] in serving.METHODS else "other"
    route = getattr(scope.get("route"), "path", NO_ROUTE)
    serving.REQUESTS.labels(method, route, str(status or 499)).inc()
    serving.SECONDS.labels(route).observe(seconds)


def _sockets(sockets: Sockets) -> list[Row]:
    stats: dict[str, Any] = sockets.hub.stats()
    numbers = {name: float(stats[counted]) for name, counted in _SOCKETS.items()}
    return [((), numbers | {"bytes_total": sockets.hub.counters.bytes})]


def _cache() -> list[Row]:
    held = cache_stats()
    counted = ("hits", "misses", "not_modified", "evicted")
    return [
        ((), {f"{name}_total": held[name] for name in counted} | {name: held[name] for name in ("bodies", "bytes")})
    ]
