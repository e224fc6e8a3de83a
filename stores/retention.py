"""Deleting what is too old. Where no policy of TimescaleDB does it: in bounded slices, each its own transaction."""

from collections.abc import Iterator
from datetime import timedelta

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
# A note of a bar of which the log has nothing any more: nobody can hold the bar against it.
_NOTES = """
    DELETE FROM unchecked_bars AS u USING unnest(%s::text[], %s::interval[]) AS i (name, length)
    WHERE u."interval" = i.name AND u."start" < %s AND NOT EXISTS (
        SELECT FROM ticks AS t
        WHERE t.symbol = u.symbol AND t.event_time >= u."start" AND t.event_time < u."start" + i.length)
"""
# Of a series and day that is over the last amendment stays, and says from where on all of that day reach.
_FOLD = """
    WITH days AS (
        SELECT symbol, "interval", max(number) AS number, min(number) AS first, min(from_start) AS from_start
        FROM amendments WHERE at < %(day)s
        GROUP BY symbol, "interval", date_trunc('day', at, 'UTC') HAVING count(*) > 1
    ), kept AS (
        UPDATE amendments AS a SET from_start = d.from_start FROM days AS d WHERE a.number = d.number
    )
    DELETE FROM amendments AS a USING days AS d
    WHERE (a.symbol, a."interval") = (d.symbol, d."interval") AND a.number >= d.first AND a.number < d.number
"""
_FORGET = "DELETE FROM amendments WHERE at < %(bars)s"


def tidy(connection: psycopg.Connection, retention: Retention, now_us: int) -> dict[str, int]:
    """Let go of reconciling's notes of bars without ticks, and of amendments that later ones stand for, as of `now_us`.

    Rows deleted by table. Ticks that are too old should have been deleted before.
    """
    intervals = [list(INTERVALS), [timedelta(microseconds=each.us) for each in INTERVALS.values()]]
    ticks_before = to_time(now_us - retention.ticks_days * DAY_US)
    before = {"day": to_time(now_us - now_us % DAY_US), "bars": to_time(now_us - retention.bars_days * DAY_US)}
    notes = connection.execute(_NOTES, [*intervals, ticks_before]).rowcount
    amendments = connection.execute(_FORGET, before).rowcount + connection.execute(_FOLD, before).rowcount
    return {"unchecked_bars": notes, "amendments": amendments}


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
