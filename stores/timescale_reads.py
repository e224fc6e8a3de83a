"""Reads of ticks, bars and indicators for the API: asynchronous, bounded in rows and in time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, LiteralString, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from core.errors import StoreUnavailable
from core.records import BAR_COLUMNS
from stores.postgres import NAME, connect_args, to_time, translated
from stores.schema import values_of

T = TypeVar("T")
Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

_EPOCH_US = '(extract(epoch FROM "{0}") * 1000000)::bigint AS "{1}"'
_BARS = ", ".join(_EPOCH_US.format(c, c) if c in ("start", "end") else f'"{c}"' for c in BAR_COLUMNS)
_TICKS = _EPOCH_US.format("event_time", "event_us") + (
    ", symbol, seq, price, size, trade_id, source, venue, conditions, kind, reported_us, received_us,"
    " kafka_partition, kafka_offset"
)
_RECONCILED = f"""
    SELECT day, checked, matched, amended, matched::float8 / nullif(checked, 0) AS match_ratio,
           {_EPOCH_US.format("at", "at")}
    FROM reconciled WHERE symbol = %s AND day BETWEEN %s AND %s ORDER BY day
"""
_LATE_TICKS = f"""
    SELECT {_EPOCH_US.format("at", "at")}, ticks, p50_us, p90_us, p99_us, max_us FROM late_ticks_seen
    ORDER BY late_ticks_seen.at DESC LIMIT %s
"""
_OF_BAR = 'WHERE symbol = %s AND "interval" = %s AND "start"'
# Both tables along their keys: of each start the row that was the bar at that moment.
_AS_OF = f"""
    SELECT {_BARS} FROM (
        SELECT DISTINCT ON ("start") * FROM (
            SELECT * FROM bars {_OF_BAR} >= %s AND "start" < %s AND known_at <= %s
            UNION ALL SELECT * FROM bar_revisions {_OF_BAR} >= %s AND "start" < %s AND known_at <= %s) AS every
        ORDER BY "start" {{0}}, known_at DESC LIMIT %s) AS known
    ORDER BY known."start" {{0}}
"""
_REVISIONS = f"""
    SELECT {_BARS}, {_EPOCH_US.format("known_at", "known_at")}
    FROM (SELECT * FROM bars {_OF_BAR} = %s UNION ALL SELECT * FROM bar_revisions {_OF_BAR} = %s) AS every
    ORDER BY every.known_at
"""
_INDICATORS = _EPOCH_US.format("start", "start") + ', rev, specs, "values"::text, ready, stable, processed_us'
_SYMBOLS = ", ".join(
    ("symbol", _EPOCH_US.format("first_seen", "first_seen"), _EPOCH_US.format("last_seen", "last_seen"))
)
_FRESHNESS = """
    SELECT (extract(epoch FROM max(last_tick)) * 1000000)::bigint AS last_tick_event_us,
           max(last_received_us) AS last_tick_received_us,
           (extract(epoch FROM max(last_bar_end)) * 1000000)::bigint AS last_bar_end_us
    FROM symbols
"""
_IS_TIMESCALE = "SELECT FROM pg_extension WHERE extname = 'timescaledb'"
_COUNTS_TIMESCALE = "SELECT approximate_row_count('ticks') AS ticks, approximate_row_count('bars') AS bars"
# The collected statistics follow inserts within a second but start again after a crash; reltuples survives it
# and is only as new as the last ANALYZE.
_COUNTS_PLAIN = """
    SELECT coalesce(max(rows) FILTER (WHERE relname = 'ticks'), 0)::bigint AS ticks,
           coalesce(max(rows) FILTER (WHERE relname = 'bars'), 0)::bigint AS bars
    FROM (SELECT relname, greatest(pg_stat_get_live_tuples(oid), reltuples) AS rows
          FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname IN ('ticks', 'bars')) AS counts
"""


class TimescaleReader:
    """Rows as dicts: times in integer microseconds since the epoch, amounts as Decimal.

    Ranges are half-open, `[start_us, end_us)`. Every call raises StoreUnavailable when the database has not
    answered within `timeout` seconds. Not bound to an event loop before `open`.
    """

    name = NAME

    def __init__(self, dsn: str, *, timeout: float = 2.0, pool_size: int = 4) -> None:
        self._args = connect_args(dsn)
        self._args["options"] += f" -c statement_timeout={int(timeout * 1000)} -c default_transaction_read_only=on"
        # Every read is a stretch of an index in its order. Before the first ANALYZE the planner would rather sort.
        self._args["options"] += " -c enable_bitmapscan=off"
        self._timeout = timeout
        self._pool_size = pool_size
        self._pool: Pool | None = None

    def __repr__(self) -> str:
        return f"TimescaleReader({self._args.get('host', '')}:{self._args.get('port', '')})"

    async def open(self) -> None:
        """Start the pool; does not wait for the database, which may come up later."""
        if self._pool is not None:
            return
        self._pool = AsyncConnectionPool(
            kwargs=self._args | {"autocommit": True, "row_factory": dict_row},
            connection_class=AsyncConnection[DictRow],
            min_size=0,
            max_size=self._pool_size,
            timeout=self._timeout,
            reconnect_timeout=self._timeout,
            check=AsyncConnectionPool.check_connection,
            name=f"{NAME}-reads",
            open=False,
        )
        await self._pool.open()

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(timeout=self._timeout)

    async def ping(self) -> None:
        await self._rows("SELECT 1 AS one")

    async def symbols(self) -> list[dict[str, Any]]:
        """`symbol`, `first_seen`, `last_seen` of every symbol, in order."""
        return await self._rows(f"SELECT {_SYMBOLS} FROM symbols ORDER BY symbol")

    async def ticks(
        self, symbol: str, start_us: int, end_us: int, limit: int, newest_first: bool = False
    ) -> list[dict[str, Any]]:
        """The first `limit` ticks of the range by (event time, seq), or the last ones, newest first."""
        way = "DESC" if newest_first else "ASC"
        return await self._rows(
            f"SELECT {_TICKS} FROM ticks WHERE symbol = %s AND event_time >= %s AND event_time < %s"
            f" ORDER BY event_time {way}, seq {way}, identity {way} LIMIT %s",
            [symbol, to_time(start_us), to_time(end_us), limit],
        )

    async def bars(
        self,
        symbol: str,
        interval: str,
        start_us: int,
        end_us: int,
        limit: int,
        newest_first: bool = False,
        *,
        as_of_us: int | None = None,
    ) -> list[dict[str, Any]]:
        """The first `limit` bars that start in the range, or the last ones, newest first; keys are BAR_COLUMNS.

        With `as_of_us` as they were known at that moment: of each bar the newest revision then, and none made later.
        """
        way = "DESC" if newest_first else "ASC"
        if as_of_us is not None:
            asked = [symbol, interval, to_time(start_us), to_time(end_us), to_time(as_of_us)]
            return await self._rows(_AS_OF.format(way), [*asked, *asked, limit])
        return await self._rows(
            f'SELECT {_BARS} FROM bars WHERE symbol = %s AND "interval" = %s AND "start" >= %s AND "start" < %s'
            f' ORDER BY bars."start" {way} LIMIT %s',
            [symbol, interval, to_time(start_us), to_time(end_us), limit],
        )

    async def revisions(self, symbol: str, interval: str, start_us: int) -> list[dict[str, Any]]:
        """Every revision of one bar, oldest first: BAR_COLUMNS and `known_at`, epoch microseconds."""
        asked = [symbol, interval, to_time(start_us)]
        return await self._rows(_REVISIONS, [*asked, *asked])

    async def indicators(
        self, symbol: str, interval: str, start_us: int, end_us: int, limit: int, newest_first: bool = False
    ) -> list[dict[str, Any]]:
        """`start`, `rev`, `specs`, `values`, `ready`, `stable`, `processed_us` of the first `limit` bars that start in
        the range, or of the last ones, newest first.

        `values` is a dict of column -> double as it was computed or None, in no order (a negative zero has lost its
        sign); `ready` and `stable` are bool.
        """
        way = "DESC" if newest_first else "ASC"
        rows = await self._rows(
            f'SELECT {_INDICATORS} FROM indicators WHERE symbol = %s AND "interval" = %s AND "start" >= %s'
            f' AND "start" < %s ORDER BY indicators."start" {way} LIMIT %s',
            [symbol, interval, to_time(start_us), to_time(end_us), limit],
        )
        for row in rows:
            row["values"] = values_of(row["values"])
        return rows

    async def reconciled(self, symbol: str, first_us: int, end_us: int) -> list[dict[str, Any]]:
        """`day` (a date), `checked`, `matched`, `amended`, `match_ratio` and `at` (epoch microseconds) by UTC day.

        Of a symbol's closed bars, over all intervals: those held against the tick log, those that were right as they
        were first made, and those that were not; the ratio of the first two, None where nothing was checked.
        """
        asked = [symbol, to_time(first_us).date(), to_time(end_us - 1).date()]
        return await self._rows(_RECONCILED, asked)

    async def late_ticks(self, limit: int) -> list[dict[str, Any]]:
        """Newest runs that found late ticks: `at`, `ticks`, `p50_us`, `p90_us`, `p99_us`, `max_us`, microseconds."""
        return await self._rows(_LATE_TICKS, [limit])

    async def freshness(self) -> dict[str, Any]:
        """`last_tick_event_us`, `last_tick_received_us`, `last_bar_end_us` (None before the first), and the
        approximate row counts `ticks` and `bars`. Reads no big table."""
        newest = await self._rows(_FRESHNESS)
        timescale = await self._rows(_IS_TIMESCALE)
        counts = await self._rows(_COUNTS_TIMESCALE if timescale else _COUNTS_PLAIN)
        return newest[0] | counts[0]

    async def _rows(self, sql: LiteralString | str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        async def query() -> list[dict[str, Any]]:
            if self._pool is None:
                raise StoreUnavailable(NAME, "the reader is not open")
            with translated():
                async with self._pool.connection() as connection:
                    cursor = await connection.execute(sql.encode(), values)
                    return await cursor.fetchall()

        return await within(query, self._timeout)


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
