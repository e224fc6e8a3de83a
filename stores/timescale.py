"""Ticks and bars in TimescaleDB, or in a PostgreSQL without it: the writes, and the reads re-exported.

A batch goes in by COPY and one statement, in one transaction: it is there whole or not at all.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import errors
from psycopg_pool import ConnectionPool

from conf.settings import Settings
from stores.copying import csv_bytes
from stores.migrations import Retention, migrate
from stores.postgres import NAME, connect_args, translated
from stores.schema import BAR_SCHEMA, TICK_SCHEMA
from stores.timescale_reads import TimescaleReader

__all__ = ["TimescaleReader", "TimescaleStore", "make_timescale"]

POOL_SECONDS = 2.0
# Short, or the pool would still be pausing between attempts when the server is long back.
RECONNECT_SECONDS = 2.0
# After a batch that held known ticks the next ones go through staging: a restart re-reads, and a feed
# that repeats itself goes on doing so. Then the fast way is tried again.
STAGED_AFTER_DUPLICATE = 16


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f'"{name}"' for name in schema.names)


_TICK_COLUMNS, _BAR_COLUMNS = _columns(TICK_SCHEMA), _columns(BAR_SCHEMA)
_COPY_TICKS = f"COPY ticks ({_TICK_COLUMNS}) FROM STDIN (FORMAT csv)"

# ctid is the order of arrival in a table that is only ever filled and emptied.
_STAGE_TICKS = "CREATE TEMP TABLE IF NOT EXISTS ticks_staging (LIKE ticks) ON COMMIT DELETE ROWS"
_COPY_STAGED_TICKS = f"COPY ticks_staging ({_TICK_COLUMNS}) FROM STDIN (FORMAT csv)"
_INSERT_STAGED_TICKS = f"""
    INSERT INTO ticks ({_TICK_COLUMNS})
    SELECT DISTINCT ON (symbol, event_time, identity) {_TICK_COLUMNS} FROM ticks_staging
    ORDER BY symbol, event_time, identity, kafka_offset NULLS LAST, ctid
    ON CONFLICT (symbol, event_time, identity) DO NOTHING
"""

_STAGE_BARS = "CREATE TEMP TABLE IF NOT EXISTS bars_staging (LIKE bars) ON COMMIT DELETE ROWS"
_COPY_STAGED_BARS = f"COPY bars_staging ({_BAR_COLUMNS}) FROM STDIN (FORMAT csv)"
# Sorted by key, so that two writers of the same bars queue up instead of locking each other out.
_UPSERT_STAGED_BARS = f"""
    INSERT INTO bars ({_BAR_COLUMNS})
    SELECT DISTINCT ON (symbol, "interval", "start") {_BAR_COLUMNS} FROM bars_staging
    ORDER BY symbol, "interval", "start", rev DESC, ctid
    ON CONFLICT (symbol, "interval", "start") DO UPDATE SET
    {", ".join(f'"{c}" = excluded."{c}"' for c in BAR_SCHEMA.names if c not in ("symbol", "interval", "start"))}
    WHERE bars.rev < excluded.rev
"""

# Last in the transaction and sorted by symbol: the row locks are short and taken in one order.
_UPSERT_SYMBOLS = """
    INSERT INTO symbols AS s (symbol, first_seen, last_seen, last_tick, last_received_us, last_bar_end)
    SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::bigint[],
                         %s::timestamptz[]) AS new (symbol, first_seen, last_seen, last_tick, received_us, bar_end)
    ORDER BY symbol
    ON CONFLICT (symbol) DO UPDATE SET
        first_seen = least(s.first_seen, excluded.first_seen),
        last_seen = greatest(s.last_seen, excluded.last_seen),
        last_tick = greatest(s.last_tick, excluded.last_tick),
        last_received_us = greatest(s.last_received_us, excluded.last_received_us),
        last_bar_end = greatest(s.last_bar_end, excluded.last_bar_end)
    WHERE excluded.first_seen < s.first_seen
       OR excluded.last_seen > s.last_seen
       OR excluded.last_tick > coalesce(s.last_tick, '-infinity')
       OR excluded.last_received_us > coalesce(s.last_received_us, 0)
       OR excluded.last_bar_end > coalesce(s.last_bar_end, '-infinity')
"""


class TimescaleStore:
    """A BarSink and a TickSink on a PostgreSQL DSN. Thread-safe; connects at the first use.

    `setup` applies the migrations. Retention is kept by TimescaleDB's own jobs, or by `python -m stores retention`.
    """

    name = NAME

    def __init__(self, dsn: str, *, retention_ticks_days: int = 30, retention_bars_days: int = 365) -> None:
        self._args = connect_args(dsn)
        self._retention = Retention(retention_ticks_days, retention_bars_days)
        self._pool: ConnectionPool[psycopg.Connection] | None = None
        self._lock = threading.Lock()
        self._staged_left = 0

    def __repr__(self) -> str:
        return f"TimescaleStore({self._args.get('host', '')}:{self._args.get('port', '')})"

    def setup(self) -> None:
        with translated(), psycopg.connect(**self._args, autocommit=True) as connection:
            migrate(connection, self._retention)

    def write_bars(self, bars: pa.Table) -> None:
        if bars.num_rows == 0:
            return
        data, seen = csv_bytes(bars.select(BAR_SCHEMA.names)), _seen_in_bars(bars)
        with self._transaction() as connection:
            connection.execute(_STAGE_BARS)
            _copy(connection, _COPY_STAGED_BARS, data)
            connection.execute(_UPSERT_STAGED_BARS)
            connection.execute(_UPSERT_SYMBOLS, seen)

    def write_ticks(self, ticks: pa.Table) -> None:
        """Straight into the table while no tick is known yet, through a staging table otherwise."""
        if ticks.num_rows == 0:
            return
        data, seen = csv_bytes(ticks.select(TICK_SCHEMA.names)), _seen_in_ticks(ticks)
        if self._staged_left > 0:
            self._staged_left -= 1
            return self._write_staged(data, seen)
        try:
            self._write_straight(data, seen)
        except errors.UniqueViolation:
            self._staged_left = STAGED_AFTER_DUPLICATE
            self._write_staged(data, seen)

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _write_straight(self, data: bytes, seen: list[list[Any]]) -> None:
        with self._transaction() as connection:
            _copy(connection, _COPY_TICKS, data)
            connection.execute(_UPSERT_SYMBOLS, seen)

    def _write_staged(self, data: bytes, seen: list[list[Any]]) -> None:
        with self._transaction() as connection:
            connection.execute(_STAGE_TICKS)
            _copy(connection, _COPY_STAGED_TICKS, data)
            connection.execute(_INSERT_STAGED_TICKS)
            connection.execute(_UPSERT_SYMBOLS, seen)

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        """A pooled connection in a transaction. UniqueViolation passes through: it is an answer, not a failure."""
        violation: errors.UniqueViolation | None = None
        with translated(), self._opened().connection() as connection:
            try:
                with connection.transaction():
                    yield connection
            except errors.UniqueViolation as error:
                violation = error
        if violation is not None:
            raise violation

    def _opened(self) -> ConnectionPool[psycopg.Connection]:
        with self._lock:
            if self._pool is None:
                self._pool = ConnectionPool(
                    kwargs=self._args | {"autocommit": True},
                    min_size=0,
                    max_size=4,
                    timeout=POOL_SECONDS,
                    reconnect_timeout=RECONNECT_SECONDS,
                    check=ConnectionPool.check_connection,
                    name=NAME,
                    open=True,
                )
            return self._pool


def make_timescale(settings: Settings) -> TimescaleStore:
    return TimescaleStore(
        settings.postgres_dsn.get_secret_value(),
        retention_ticks_days=settings.retention_ticks_days,
        retention_bars_days=settings.retention_bars_days,
    )


def _copy(connection: psycopg.Connection, statement: str, data: bytes) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(data)


def _seen_in_ticks(ticks: pa.Table) -> list[list[Any]]:
    """Per symbol: first and last event time, and the newest receipt, as the arrays of `_UPSERT_SYMBOLS`."""
    traded = ticks.filter(pc.not_equal(ticks["kind"], "heartbeat"))
    seen = traded.group_by("symbol").aggregate([("event_time", "min"), ("event_time", "max"), ("received_us", "max")])
    first, last = seen["event_time_min"].to_pylist(), seen["event_time_max"].to_pylist()
    received: list[Any] = seen["received_us_max"].to_pylist()
    return [seen["symbol"].to_pylist(), first, last, last, received, [None] * len(first)]


def _seen_in_bars(bars: pa.Table) -> list[list[Any]]:
    """Per symbol: first and last trade (the bar's start where no price is known) and the newest bar end."""
    start = bars["start"].cast(pa.int64())
    times = pa.table(
        {
            "symbol": bars["symbol"],
            "first": pc.coalesce(bars["open_us"], start).cast(BAR_SCHEMA.field("start").type),
            "last": pc.coalesce(bars["close_us"], start).cast(BAR_SCHEMA.field("start").type),
            "end": bars["end"],
        }
    )
    seen = times.group_by("symbol").aggregate([("first", "min"), ("last", "max"), ("end", "max")])
    nulls: list[Any] = [None] * seen.num_rows
    ends: list[Any] = seen["end_max"].to_pylist()
    return [seen["symbol"].to_pylist(), seen["first_min"].to_pylist(), seen["last_max"].to_pylist(), nulls, nulls, ends]
