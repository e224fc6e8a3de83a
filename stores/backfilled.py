"""What backfills have finished, and the gaps that they may close: tables `backfilled` and `gaps`."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import psycopg

from stores.postgres import EPOCH_US, connect_args, translated

_DONE = f"""
    SELECT start_us, end_us, rows, {EPOCH_US.format("done_at")} FROM backfilled
    WHERE source = %s AND symbol = %s AND what = %s AND end_us > %s AND start_us < %s ORDER BY start_us, end_us
"""
# `end_us` of a gap is the tick after it; others of the same microsecond may be missing too.
_GAPS = f"""
    SELECT id, start_us, end_us + 1, {EPOCH_US.format("noticed_at")} FROM gaps
    WHERE state = 'open' AND source = %s AND symbol = %s AND end_us >= %s AND start_us < %s ORDER BY start_us
"""
_MARK = """
    INSERT INTO backfilled (source, symbol, what, start_us, end_us, rows) VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (source, symbol, what, start_us, end_us) DO UPDATE SET rows = excluded.rows, done_at = now()
"""
_SETTLE = """
    UPDATE gaps SET state = 'filled', settled_at = now(), detail = concat_ws('; ', nullif(detail, ''), 'backfilled')
    WHERE id = ANY(%s) AND state = 'open'
"""


class Backfilled:
    """Reads and marks over one connection. Use as a context manager; every call raises StoreUnavailable or ConfigError.

    A call after StoreUnavailable connects again.
    """

    def __init__(self, dsn: str) -> None:
        self._args = connect_args(dsn)
        self._connection: psycopg.Connection | None = None

    def done(self, source: str, symbol: str, what: str, start_us: int, end_us: int) -> list[tuple[int, int, int, int]]:
        """`(start_us, end_us, rows, done at in epoch microseconds)` of what touches the range."""
        return self._rows(_DONE, [source, symbol, what, start_us, end_us])

    def open_gaps(self, source: str, symbol: str, start_us: int, end_us: int) -> list[tuple[int, int, int, int]]:
        """`(id, start_us, end_us, noticed at in epoch microseconds)`, half-open, of what touches the range."""
        return self._rows(_GAPS, [source, symbol, start_us, end_us])

    def mark(self, source: str, symbol: str, what: str, start_us: int, end_us: int, rows: int) -> None:
        """A range is finished, now; once more if it was before."""
        with translated():
            self._connected().execute(_MARK, [source, symbol, what, start_us, end_us, rows])

    def settle(self, gaps: Sequence[int]) -> int:
        """Gaps of these ids are filled; how many were open."""
        with translated():
            return self._connected().execute(_SETTLE, [list(gaps)]).rowcount

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, query: str, asked: list[Any]) -> list[Any]:
        with translated():
            return self._connected().execute(query.encode(), asked).fetchall()

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(**self._args, autocommit=True)
        return self._connection
