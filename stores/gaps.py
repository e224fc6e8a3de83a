"""Gaps of live streams in PostgreSQL, written from a thread of their own: a database never holds up a stream."""

import itertools
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog

from core.errors import ConfigError, InputError, StoreUnavailable
from stores.postgres import EPOCH_US, NAME, connect_args, to_time, translated
from stores.retry import retrying

MOST_WAITING = 10_000
_log = structlog.get_logger("stores.gaps")

# A gap noticed twice, by two processes or again after a restart, is one row.
_OPEN = """
    INSERT INTO gaps (source, symbol, cause, first_id, last_id, start_us, end_us) VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT ON CONSTRAINT gaps_once DO UPDATE SET
        last_id = greatest(gaps.last_id, excluded.last_id), end_us = greatest(gaps.end_us, excluded.end_us),
        state = 'open', settled_at = NULL
    RETURNING id
"""
_SETTLE = "UPDATE gaps SET state = %s, filled = %s, detail = %s, settled_at = now() WHERE id = %s"
_LEFT = """
    SELECT id, source, symbol, cause, start_us, end_us, first_id, last_id FROM gaps
    WHERE state = 'open' AND source = %s AND symbol = ANY(%s) ORDER BY id
"""
_LAST = f"""
    SELECT asked.symbol, newest.source, {EPOCH_US.format("newest.event_time")}, newest.trade_id
    FROM unnest(%s::text[]) AS asked(symbol), LATERAL (
        SELECT source, event_time, trade_id FROM ticks
        WHERE symbol = asked.symbol AND source = ANY(%s) AND kind = 'trade' AND event_time >= %s
        ORDER BY event_time DESC, seq DESC LIMIT 1) AS newest
"""
_SWITCHES = """
    SELECT symbol, source, split_part(substr(detail, 4), ':', 1), start_us FROM gaps
    WHERE cause = 'switch' AND detail LIKE 'to %%:%%' AND symbol = ANY(%s) AND start_us >= %s ORDER BY start_us, id
"""
_LOOK_MS = 3000


@dataclass(frozen=True, slots=True)
class Gap:
    """Ticks of one symbol that did not come.

    `cause` is ids, silence, disconnect or switch; times are epoch microseconds of the last tick before and the first
    one after; `first_id` and `last_id` are the missing trade ids, both included, where ids are counted.
    """

    source: str
    symbol: str
    cause: str
    start_us: int
    end_us: int
    first_id: int | None = None
    last_id: int | None = None


@dataclass(frozen=True, slots=True)
class LastTrade:
    """The newest trade of a symbol in the tick log; `event_us` in epoch microseconds."""

    symbol: str
    source: str
    event_us: int
    trade_id: str | None


@dataclass(frozen=True, slots=True)
class Switch:
    """From `at_us` on, exclusive, in epoch microseconds of event time, `after` counted instead of `before`."""

    symbol: str
    before: str
    after: str
    at_us: int


@dataclass(frozen=True, slots=True)
class _Settled:
    state: str
    filled: int
    detail: str


class _Closing(Exception):
    """The log is being closed, and the database does not answer."""


class PostgresGaps:
    """A `producers.live.gaps.GapLog` on the table `gaps`.

    `open` and `settle` only queue: while the database is down, records wait, and are written when it is back.
    """

    def __init__(self, dsn: str, *, retry_seconds: float = 30.0, pause_seconds: float = 10.0) -> None:
        self._dsn = dsn
        self._retry_seconds = retry_seconds
        self._pause_seconds = pause_seconds
        self._numbers = itertools.count(1)
        self._rows: dict[int, int] = {}
        self._waiting: queue.SimpleQueue[tuple[int, Gap | _Settled] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._connection: psycopg.Connection | None = None
        self._thread = threading.Thread(target=self._write, name="gaps", daemon=True)
        self._thread.start()

    def open(self, gap: Gap) -> int:
        number = next(self._numbers)
        self._put(number, gap)
        return number

    def settle(self, number: int, state: str, filled: int, detail: str = "") -> None:
        self._put(number, _Settled(state, filled, detail))

    def left_open(self, source: str, symbols: Sequence[str]) -> list[tuple[int, Gap]]:
        """Gaps that an earlier process noticed and did not settle. Blocks; raises StoreUnavailable, ConfigError."""
        rows = self._read(_LEFT, source, list(symbols))
        found: list[tuple[int, Gap]] = []
        for row, *fields in rows:
            number = next(self._numbers)
            self._rows[number] = row
            found.append((number, Gap(*fields)))
        return found

    def last_trades(self, sources: Sequence[str], symbols: Sequence[str], since_us: int) -> list[LastTrade]:
        """The newest trade of each symbol that one of these sources brought since then; none for the others.

        Blocks for some seconds at most; raises StoreUnavailable, ConfigError.
        """
        rows = self._read(_LAST, list(symbols), list(sources), to_time(since_us), limit_ms=_LOOK_MS)
        return [LastTrade(*row) for row in rows]

    def switches(self, symbols: Sequence[str], since_us: int) -> list[Switch]:
        """The changes of provider since then, by time. Blocks and raises as `last_trades` does."""
        return [Switch(*row) for row in self._read(_SWITCHES, list(symbols), since_us, limit_ms=_LOOK_MS)]

    def _read(self, query: str, *given: object, limit_ms: int = 0) -> list[tuple[Any, ...]]:
        """The rows of a query; a limit of 0 is none."""
        with translated(), psycopg.connect(**connect_args(self._dsn)) as connection:
            connection.execute(f"SET statement_timeout = {limit_ms}")
            return connection.execute(query, given).fetchall()

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits, for at most so long; what cannot be written is told in the log."""
        self._waiting.put(None)
        self._thread.join(seconds)
        self._closing.set()
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._disconnect()
            self._tell_unwritten()

    def _put(self, number: int, record: Gap | _Settled) -> None:
        if self._waiting.qsize() < MOST_WAITING:
            self._waiting.put((number, record))
        else:
            _log.error("gap not written: the database has been away for too long", record=record)

    def _write(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            if not self._written(*waiting):
                _log.error("gap not written", record=waiting[1])
                return

    def _written(self, number: int, record: Gap | _Settled) -> bool:
        """Whether the record is settled one way or the other; False when the log closes first."""
        while not self._closing.is_set():
            try:
                retrying(NAME, lambda: self._store(number, record), self._retry_seconds, sleep=self._sleep)
                return True
            except InputError as error:
                _log.error("gap not written", record=record, error=str(error))
                return True
            except (StoreUnavailable, ConfigError) as error:
                _log.error("gaps cannot be written, trying again later", error=str(error))
                self._closing.wait(self._pause_seconds)
            except _Closing:
                return False
        return False

    def _sleep(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise _Closing

    def _store(self, number: int, record: Gap | _Settled) -> None:
        try:
            with translated():
                self._execute(number, record)
        except StoreUnavailable:
            self._disconnect()
            raise

    def _execute(self, number: int, record: Gap | _Settled) -> None:
        if self._connection is None:
            self._connection = psycopg.connect(**connect_args(self._dsn), autocommit=True)
        if isinstance(record, _Settled):
            if row := self._rows.pop(number, None):
                self._connection.execute(_SETTLE, (record.state, record.filled, record.detail, row))
            return
        ids = (record.first_id, record.last_id)
        values = (record.source, record.symbol, record.cause, *ids, record.start_us, record.end_us)
        made = self._connection.execute(_OPEN, values).fetchone()
        assert made is not None
        self._rows[number] = made[0]

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _tell_unwritten(self) -> None:
        while not self._waiting.empty():
            if (waiting := self._waiting.get()) is not None:
                _log.error("gap not written", record=waiting[1])
