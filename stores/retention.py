"""Deleting what is too old, where no policy of TimescaleDB does it: in bounded slices, each its own transaction."""

from collections.abc import Iterator

import psycopg

from core.intervals import DAY_US, INTERVALS
from stores.hypertables import Retention, drop_emptied
from stores.postgres import to_time

SLICE_ROWS = 10_000

# By symbol, interval and start, and kept for as long as bars.
_LIKE_BARS = ("bars", "indicators", "bar_revisions", "predictions", "anomalies")
# By symbol (and interval), because that is how the indexes begin; a slice then touches only what it deletes.
# In the chunks of a hypertable ctids recur: what they find must be old by itself.
_SLICE = """
    DELETE FROM {table} WHERE {old} AND ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {old} LIMIT %(rows)s))
"""
_TICKS = _SLICE.format(table="ticks", old="symbol = %(symbol)s AND event_time < %(before)s")
_OLD_BARS = 'symbol = %(symbol)s AND "interval" = %(interval)s AND "start" < %(before)s'


def retain(
    connection: psycopg.Connection, retention: Retention, now_us: int, slice_rows: int = SLICE_ROWS
) -> dict[str, int]:
    """Delete rows older than `retention` as of `now_us` over an autocommit connection; rows deleted by table.

    A symbol stays listed when its last row goes, and the state of its indicators stays.
    """
    deleted = {"ticks": 0, **dict.fromkeys(_LIKE_BARS, 0)}
    for table, statement, where in _slices(connection, retention, now_us):
        while (gone := connection.execute(statement.encode(), where | {"rows": slice_rows}).rowcount) > 0:
            deleted[table] += gone
    drop_emptied(connection, retention, to_time(now_us))
    return deleted


def _slices(
    connection: psycopg.Connection, retention: Retention, now_us: int
) -> Iterator[tuple[str, str, dict[str, object]]]:
    ticks_before = to_time(now_us - retention.ticks_days * DAY_US)
    bars_before = to_time(now_us - retention.bars_days * DAY_US)
    symbols = [symbol for (symbol,) in connection.execute("SELECT symbol FROM symbols ORDER BY symbol").fetchall()]
    for symbol in symbols:
        yield "ticks", _TICKS, {"symbol": symbol, "before": ticks_before}
        for interval in INTERVALS:
            where = {"symbol": symbol, "interval": interval, "before": bars_before}
            for table in _LIKE_BARS:
                yield table, _SLICE.format(table=table, old=_OLD_BARS), where
