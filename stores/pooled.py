"""What readers and tables of the database share on an event loop: a pool, one statement at a time, a limit of time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

from core.errors import StoreUnavailable
from stores.postgres import NAME, Pool, async_pool, connect_args, translated

T = TypeVar("T")
Values = Sequence[object] | Mapping[str, object]


class Pooled:
    """Statements on a pool of connections. Not bound to an event loop before `open`.

    Every call raises StoreUnavailable when the database has not answered within `timeout` seconds, and ConfigError when
    it has no such table yet. `options` are further settings of the session; `checked` asks the server before each use
    of a connection whether it is alive.
    """

    name = NAME

    def __init__(
        self, dsn: str, purpose: str, *, timeout: float, pool_size: int, options: str = "", checked: bool = True
    ) -> None:
        self._args = connect_args(dsn)
        self._args["options"] += f" -c statement_timeout={int(timeout * 1000)}{options}"
        self._purpose = purpose
        self._timeout = timeout
        self._pool_size = pool_size
        self._checked = checked
        self._pool: Pool | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._args.get('host', '')}:{self._args.get('port', '')})"

    async def open(self) -> None:
        """Start the pool; does not wait for the database, which may come up later."""
        if self._pool is None:
            self._pool = async_pool(self._args, self._purpose, self._pool_size, self._timeout, checked=self._checked)
            await self._pool.open()

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(timeout=self._timeout)

    async def _rows(self, sql: LiteralString | str, values: Values = ()) -> list[dict[str, Any]]:
        """The rows of a statement, none of one that gives none."""

        async def query() -> list[dict[str, Any]]:
            if self._pool is None:
                raise StoreUnavailable(NAME, f"the pool for {self._purpose} is not open")
            with translated():
                return await self._fetched(self._pool, sql, values)

        return await within(query, self._timeout)

    async def _fetched(self, pool: Pool, sql: LiteralString | str, values: Values) -> list[dict[str, Any]]:
        async with pool.connection() as connection:
            cursor = await connection.execute(sql.encode(), values)
            return await cursor.fetchall() if cursor.description else []


async def within(call: Callable[[], Awaitable[T]], seconds: float) -> T:
    """The result of `call`, or StoreUnavailable after `seconds`, without waiting for the call to notice.

    A server that is frozen rather than gone answers neither the query nor its cancellation.
    """
    task = asyncio.ensure_future(call())
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        task.add_done_callback(_forget)
        raise StoreUnavailable(NAME, f"no answer within {seconds:g} s")
    return task.result()


def _forget(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
