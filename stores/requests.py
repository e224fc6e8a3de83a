"""Requests to providers, counted in the database: every process that asks a provider shares its quota.

A request is a row of `provider_requests` at the time it may be made. Turns are handed out under a lock of the provider,
each at the first moment at which the quota allows one more, so that waiting is in the order of asking; a process that
is killed leaves its rows behind, and the next one goes on counting from them.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, Self

import psycopg
import structlog

from core.errors import StoreUnavailable
from stores.postgres import connect_args, translated
from stores.retry import pause_before

MARGIN_SECONDS = 0.25
"""How much longer than the provider's own the window is: a request arrives some time after its turn."""
_LOCK = 7_203_146  # first key of the advisory locks; the second is the provider's
_log = structlog.get_logger(__name__)

_NEXT = """
    SELECT greatest(clock_timestamp(), (SELECT made_at FROM provider_requests WHERE provider = %(provider)s
                                        ORDER BY made_at DESC OFFSET %(before)s LIMIT 1) + %(window)s)
"""
_TODAY = """
    SELECT count(*) FROM provider_requests WHERE provider = %(provider)s AND made_at >= date_trunc('day', %(at)s)
"""
_TAKE = "INSERT INTO provider_requests (provider, made_at) VALUES (%(provider)s, %(at)s)"
# A day is kept where a day is counted; otherwise only what the window can reach.
_FORGET = """
    DELETE FROM provider_requests WHERE provider = %(provider)s
    AND made_at < CASE WHEN %(daily)s THEN date_trunc('day', now()) ELSE now() END - 2 * %(window)s
"""
_WAIT = "SELECT extract(epoch FROM %(at)s - clock_timestamp())::float8"


class Allowance(Protocol):
    """A quota: so many requests in any so many seconds, and in a UTC day, None for no limit."""

    @property
    def requests(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def daily(self) -> int | None: ...


class SharedTurns:
    """Turns of all processes on one database. For one event loop; connects at the first use.

    `exhausted(provider, quota, epoch seconds)` makes the error for a day that has no request left.
    `patience` is how long the database may be away, in seconds, before StoreUnavailable is raised.
    """

    def __init__(self, dsn: str, exhausted: Callable[[str, Any, int], Exception], *, patience: float = 30.0) -> None:
        self._args = connect_args(dsn)
        self._exhausted = exhausted
        self._patience = patience
        self._connection: psycopg.AsyncConnection | None = None
        self._lock = asyncio.Lock()

    async def take(self, provider: str, quota: Allowance) -> None:
        """Wait until one more request is allowed, and count it.

        Raises the error of `exhausted`, StoreUnavailable, and ConfigError where the tables are not there.
        """
        async with self._lock:
            wait = await self._reserved_patiently(provider, quota)
        await asyncio.sleep(wait)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _reserved_patiently(self, provider: str, quota: Allowance) -> float:
        loop = asyncio.get_running_loop()
        deadline, attempt = loop.time() + self._patience, 0
        while True:
            try:
                with translated():
                    return await self._reserve(provider, quota)
            except StoreUnavailable as error:
                await self.close()
                left = deadline - loop.time()
                if left <= 0:
                    raise
                pause = min(pause_before(attempt, error.retry_after), left)
                _log.warning("cannot count a request", provider=provider, error=str(error), retry_in=round(pause, 2))
            await asyncio.sleep(pause)
            attempt += 1

    async def _reserve(self, provider: str, quota: Allowance) -> float:
        """Seconds until the turn that was written down."""
        asked: dict[str, Any] = {
            "provider": provider,
            "before": quota.requests - 1,
            "window": timedelta(seconds=quota.seconds + MARGIN_SECONDS),
            "daily": quota.daily is not None,
        }
        connection = await self._connected()
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCK, provider])
            asked["at"] = await _one(connection, _NEXT, asked)
            if quota.daily is not None and await _one(connection, _TODAY, asked) >= quota.daily:
                raise self._exhausted(provider, quota, int(asked["at"].timestamp()))
            await connection.execute(_TAKE, asked)
            await connection.execute(_FORGET, asked)
        return max(0.0, float(await _one(connection, _WAIT, asked)))

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(**self._args, autocommit=True)
        return self._connection


async def _one(connection: psycopg.AsyncConnection, query: str, asked: dict[str, Any]) -> Any:
    row = await (await connection.execute(query.encode(), asked)).fetchone()
    assert row is not None
    return row[0]
