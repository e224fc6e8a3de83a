"""Builds the layers from settings and puts them around the application."""

from fastapi import FastAPI

from api.security import openapi
from api.security.access import Access, AccessLayer
from api.security.address import cors_origins
from api.security.bootstrap import Bootstrap
from api.security.cors import Cors
from api.security.envelope import Envelope
from api.security.gate import Gate
from api.security.keys import KeyRing
from api.security.limits import Limiter, Rate
from api.security.protocol import LIMITS
from api.security.shape import Body, Shape
from api.security.socket import SocketLayer, Sockets
from api.security.tokens import tokens_of
from conf.settings import Settings
from core.clock import Clock
from stores.access import AccessStore
from stores.buckets import Buckets

REQUEST_HEADERS = ("Authorization", "X-API-Key", "X-Request-ID", "If-Match", "If-None-Match")
ANSWER_HEADERS = ("ETag", "Link", "Location", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
                  "Retry-After", "X-Request-ID", "X-Tail", "X-Truncated")  # fmt: skip
READ_RATE, WRITE_RATE, SOCKET_RATE = 200.0, 5.0, 20.0
"""Defaults where keys are needed; on open loopback there are no limits unless they are set."""


class Security:
    """What guards one application. Raises ConfigError for settings that contradict each other."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        dsn, redis_url = settings.postgres_dsn.get_secret_value(), settings.redis_url.get_secret_value()
        self._store = AccessStore(dsn, timeout=settings.api_store_seconds)
        self._buckets = Buckets(redis_url)
        gate = Gate(settings, self._store)
        limiter = Limiter(self._buckets, rates_of(settings), closed=lambda: gate.closed)
        self._access = Access(settings, self._store, gate, KeyRing(self._store, clock), tokens_of(settings), limiter)
        self._sockets = Sockets(self._access, settings.api_sockets_per_key, settings.api_sockets_per_address)
        self._bootstrap = Bootstrap(settings, self._store)

    def install(self, app: FastAPI) -> None:
        """Put the layers around everything that the application has so far."""
        setattr(app.state, LIMITS, (self._settings.api_max_header_bytes, self._settings.api_read_seconds))
        openapi.install(app)
        app.add_middleware(Body, settings=self._settings)
        app.add_middleware(AccessLayer, access=self._access)
        app.add_middleware(SocketLayer, sockets=self._sockets)
        app.add_middleware(Shape, settings=self._settings)
        origins = cors_origins(self._settings)
        if origins:
            app.add_middleware(
                Cors,
                allow_origins=origins,
                allow_methods=("GET", "POST", "PUT", "DELETE"),
                allow_headers=REQUEST_HEADERS,
                expose_headers=ANSWER_HEADERS,
            )
        app.add_middleware(Envelope, seconds=self._settings.api_request_seconds)

    async def open(self) -> None:
        """Start what runs beside the requests; does not wait for a store."""
        await self._store.open()
        await self._buckets.open()
        await self._bootstrap.open()
        await self._sockets.open()

    async def close(self) -> None:
        await self._sockets.close()
        await self._bootstrap.close()
        await self._access.close()
        await self._buckets.close()
        await self._store.close()


def rates_of(settings: Settings) -> dict[str, Rate | None]:
    """Kind to rate; None for no limit."""
    asked = {
        "read": (settings.api_rate, READ_RATE, settings.api_burst),
        "write": (settings.api_write_rate, WRITE_RATE, settings.api_write_burst),
        "socket": (settings.api_socket_rate, SOCKET_RATE, None),
    }
    return {kind: _rate(*each) for kind, each in asked.items()}


def _rate(rate: float | None, default: float, burst: float | None) -> Rate | None:
    each = default if rate is None else rate
    return Rate(each, max(1.0, 2 * each) if burst is None else burst, default=rate is None) if each > 0 else None
