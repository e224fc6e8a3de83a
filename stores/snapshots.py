"""States of indicators in the past, so that what follows an amended bar is computed from there and not from the first.

A snapshot is a copy of a row of `indicator_states`. One that has taken in an amended bar is worth nothing any more.
The transaction is the caller's.
"""

from datetime import timedelta

import psycopg

from stores.postgres import to_time
from stores.reconciling import us

_TAKE = """
    INSERT INTO indicator_snapshots (symbol, "interval", "start", specs, state)
    SELECT symbol, "interval", "start", specs, state FROM indicator_states AS s
    WHERE NOT EXISTS (SELECT FROM indicator_snapshots AS n WHERE n.symbol = s.symbol AND n."interval" = s."interval"
                      AND n."start" > s."start" - %s::interval)
      AND NOT EXISTS (SELECT FROM amended_series AS a
                      WHERE a.symbol = s.symbol AND a."interval" = s."interval" AND NOT a.settled)
"""
# The newest before the cut serves whatever lies behind it.
_PRUNE = """
    DELETE FROM indicator_snapshots AS s WHERE "start" < %s AND EXISTS (
        SELECT FROM indicator_snapshots AS n WHERE n.symbol = s.symbol AND n."interval" = s."interval"
        AND n."start" > s."start" AND n."start" < %s)
"""
_BEFORE = """
    SELECT "start", state FROM indicator_snapshots
    WHERE symbol = %s AND "interval" = %s AND "start" < %s AND specs = %s ORDER BY "start" DESC LIMIT 1
"""
_DROP = 'DELETE FROM indicator_snapshots WHERE symbol = %s AND "interval" = %s AND "start" >= %s'


def take(connection: psycopg.Connection, every: timedelta, keep_since_us: int) -> None:
    """A snapshot of each settled series that has none of the last `every`; all but the newest before the cut go."""
    connection.execute(_TAKE.encode(), [every])
    cut = to_time(keep_since_us)
    connection.execute(_PRUNE.encode(), [cut, cut])


def before(
    connection: psycopg.Connection, symbol: str, interval: str, start_us: int, specs: str
) -> tuple[int, bytes] | None:
    """The newest snapshot of this set from before a bar: the start of its last bar in microseconds, and the state."""
    asked = [symbol, interval, to_time(start_us), specs]
    row = connection.execute(_BEFORE.encode(), asked, binary=True).fetchone()
    return None if row is None else (us(row[0]), bytes(row[1]))


def drop(connection: psycopg.Connection, symbol: str, interval: str, from_us: int) -> None:
    """The bar that starts there, or one behind it, is not what it was."""
    connection.execute(_DROP.encode(), [symbol, interval, to_time(from_us)])
