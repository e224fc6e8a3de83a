"""Ticks, bars and indicators in TimescaleDB, or in a PostgreSQL without it: the writes, and the reads re-exported.

A batch goes in by COPY and one statement, in one transaction: it is there whole or not at all.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import errors
from psycopg_pool import ConnectionPool

from conf.settings import Settings
from stores.amending import note
from stores.copying import csv_bytes
from stores.migrations import Retention, migrate
from stores.postgres import NAME, connect_args, to_time, translated
from stores.schema import BAR_SCHEMA, INDICATOR_SCHEMA, STATE_SCHEMA, TICK_SCHEMA
from stores.staging import BARS, INDICATORS, STATES, TICKS, Staging, copy_csv
from stores.timescale_reads import TimescaleReader

__all__ = ["TimescaleReader", "TimescaleStore", "make_timescale"]

POOL_SECONDS = 2.0
# Short, or the pool would still be pausing between attempts when the server is long back.
RECONNECT_SECONDS = 2.0
# After a batch that held known ticks the next ones go through staging: a restart re-reads, and a feed
# that repeats itself goes on doing so. Then the fast way is tried again.
STAGED_AFTER_DUPLICATE = 16


_READ_BARS_BEFORE = f"""
    SELECT {", ".join(f'found."{name}"' for name in BAR_SCHEMA.names)}
    FROM unnest(%s::text[], %s::text[]) AS asked (s, i), LATERAL (
        SELECT * FROM bars WHERE symbol = s AND "interval" = i AND "start" < %s ORDER BY "start" DESC LIMIT %s) AS found
    ORDER BY found."start"
"""
_READ_STATES = """
    SELECT symbol, "interval", (extract(epoch FROM "start") * 1000000)::bigint, rev, specs, state FROM indicator_states
    ORDER BY symbol, "interval"
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


_AMENDED_SINCE = 'SELECT symbol, "interval", number FROM amended_series WHERE number > %s ORDER BY number'
_STATE_BEFORE = """
    SELECT s.specs, s.state FROM indicator_states AS s WHERE symbol = %s AND "interval" = %s AND "start" = (
        SELECT max("start") FROM bars AS b WHERE b.symbol = s.symbol AND b."interval" = s."interval" AND b."start" < %s)
"""
_DOUBT = """
    UPDATE amended_series SET settled = false
    WHERE (symbol, "interval") IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
INDICATOR_COLUMNS = [name for name in INDICATOR_SCHEMA.names if name != "state"]
_READ_INDICATORS_AT = f"""
    SELECT {", ".join('i."values"::text' if name == "values" else f'i."{name}"' for name in INDICATOR_COLUMNS)}
    FROM unnest(%s::text[], %s::timestamptz[]) AS asked (s, a)
        JOIN indicator_states AS t ON t.symbol = s AND t."interval" = %s AND t.specs = %s
        JOIN indicators AS i ON i.symbol = s AND i."interval" = t."interval" AND i."start" = a
"""
# What reconciling has to look at. A minute is locked until the ticks are there to be seen.
_TOUCH = """
    INSERT INTO touched_minutes AS t (symbol, minute) SELECT * FROM unnest(%s::text[], %s::timestamptz[]) ORDER BY 1, 2
    ON CONFLICT (symbol, minute) DO UPDATE SET writes = t.writes + 1
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

    def write_bars(self, bars: pa.Table, indicators: pa.Table | None = None) -> None:
        """Bars, indicators and states in one transaction: what a state was made of is there when the state is."""
        parts = [(BARS, bars), *_indicator_parts(indicators)]
        batches = [(part, csv_bytes(rows.select(part.columns))) for part, rows in parts if rows.num_rows]
        if not batches:
            return
        seen = _seen_in_bars(bars)
        with self._transaction() as connection:
            for part, data in batches:
                part.write(connection, data)
            connection.execute(_UPSERT_SYMBOLS, seen)

    def read_states(self) -> pa.Table:
        """Every state held, as STATE_SCHEMA, by symbol and interval."""
        with self._transaction() as connection:
            rows = connection.execute(_READ_STATES, binary=True).fetchall()
        return pa.Table.from_pylist(
            [dict(zip(STATE_SCHEMA.names, row, strict=True)) for row in rows], schema=STATE_SCHEMA
        )

    def read_bars_before(self, keys: Sequence[tuple[str, str]], before_us: int, count: int) -> pa.Table:
        """The last `count` bars before a moment, in microseconds, of each (symbol, interval), as BAR_SCHEMA."""
        symbols, intervals = [symbol for symbol, _ in keys], [interval for _, interval in keys]
        with self._transaction() as connection:
            rows = connection.execute(_READ_BARS_BEFORE, [symbols, intervals, to_time(before_us), count]).fetchall()
        return pa.Table.from_pylist([dict(zip(BAR_SCHEMA.names, row, strict=True)) for row in rows], schema=BAR_SCHEMA)

    def read_indicators_at(self, bars: pa.Table, interval: str, specs: str) -> pa.Table:
        """The indicators of these bars of an interval, as INDICATOR_SCHEMA without states, of the series whose state is
        of this set."""
        asked = [bars["symbol"].to_pylist(), bars["start"].to_pylist(), interval, specs]
        with self._transaction() as connection:
            rows = connection.execute(_READ_INDICATORS_AT, asked).fetchall()
        none = {"state": None}
        return pa.Table.from_pylist(
            [dict(zip(INDICATOR_COLUMNS, row, strict=True)) | none for row in rows], schema=INDICATOR_SCHEMA
        )

    def miss(self, series: Sequence[tuple[str, str, int]]) -> None:
        """Let reconciling look at the indicators of (symbol, interval) from a start on, in microseconds."""
        with self._transaction() as connection:
            for symbol, interval, from_us in series:
                note(connection, symbol, interval, from_us, restated=False)

    def amended_since(self, number: int) -> list[tuple[str, str, int]]:
        """`(symbol, interval, number)` of the series of which a bar was amended after that number, by number."""
        with self._transaction() as connection:
            return connection.execute(_AMENDED_SINCE, [number]).fetchall()

    def state_before(self, symbol: str, interval: str, before_us: int) -> tuple[str, bytes] | None:
        """Specs and state of a series, where they are those after its last bar before a moment, in microseconds."""
        asked = [symbol, interval, to_time(before_us)]
        with self._transaction() as connection:
            row = connection.execute(_STATE_BEFORE, asked, binary=True).fetchone()
        return None if row is None else (row[0], bytes(row[1]))

    def doubt(self, keys: Sequence[tuple[str, str]]) -> None:
        """Let reconciling look again at the indicators of these amended (symbol, interval)."""
        with self._transaction() as connection:
            connection.execute(_DOUBT, [[symbol for symbol, _ in keys], [interval for _, interval in keys]])

    def write_ticks(self, ticks: pa.Table) -> None:
        """Straight into the table while no tick is known yet, through a staging table otherwise."""
        if ticks.num_rows == 0:
            return
        data, seen, touched = csv_bytes(ticks.select(TICK_SCHEMA.names)), _seen_in_ticks(ticks), _touched(ticks)
        if self._staged_left > 0:
            self._staged_left -= 1
            return self._write_staged(data, seen, touched)
        try:
            self._write_straight(data, seen, touched)
        except errors.UniqueViolation:
            self._staged_left = STAGED_AFTER_DUPLICATE
            self._write_staged(data, seen, touched)

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _write_straight(self, data: bytes, seen: list[list[Any]], touched: list[list[Any]]) -> None:
        with self._transaction() as connection:
            copy_csv(connection, TICKS.table, TICKS.columns, data)
            connection.execute(_TOUCH, touched)
            connection.execute(_UPSERT_SYMBOLS, seen)

    def _write_staged(self, data: bytes, seen: list[list[Any]], touched: list[list[Any]]) -> None:
        with self._transaction() as connection:
            TICKS.write(connection, data)
            connection.execute(_TOUCH, touched)
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


def _indicator_parts(indicators: pa.Table | None) -> list[tuple[Staging, pa.Table]]:
    """What of a batch of INDICATOR_SCHEMA goes to which table."""
    if indicators is None:
        return []
    return [(INDICATORS, indicators), (STATES, indicators.filter(pc.is_valid(indicators["state"])))]


def _touched(ticks: pa.Table) -> list[list[Any]]:
    """The minutes of event time that ticks lie in, by symbol, as the arrays of `_TOUCH`."""
    traded = ticks.filter(pc.not_equal(ticks["kind"], "heartbeat"))
    minutes = pa.table({"symbol": traded["symbol"], "minute": pc.floor_temporal(traded["event_time"], unit="minute")})
    found = minutes.group_by(["symbol", "minute"]).aggregate([])
    return [found["symbol"].to_pylist(), found["minute"].to_pylist()]


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
