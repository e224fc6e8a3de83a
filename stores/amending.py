"""Bars, indicators and states while bars are amended. The transaction is the caller's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from core.intervals import Interval
from stores.copying import csv_bytes
from stores.postgres import to_time
from stores.reconciling import dicts, us
from stores.schema import BAR_SCHEMA, INDICATOR_SCHEMA
from stores.staging import AMENDED_INDICATORS, BARS, STATES, quoted

_LOCK = 7_203_146_554  # whoever takes a number commits before the next is taken: readers ask for what is above theirs

Row = dict[str, Any]
Window = tuple[str, int, int]
"""A symbol and a half-open range of event time, epoch microseconds."""

# What indicators are made of, and what their rows say of the bar.
SERIES = pa.schema(
    [BAR_SCHEMA.field(name) for name in ("symbol", "interval", "start", "open", "high", "low", "close", "volume")]
    + [BAR_SCHEMA.field(name) for name in ("notional", "rev", "processed_us")]
)
_OF_SERIES = 'WHERE symbol = %s AND "interval" = %s AND "start"'
_IN_WINDOWS = f"""
    SELECT found.* FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[]) AS asked (s, a, b),
        unnest(%s::text[]) AS i (name), LATERAL (SELECT {quoted(BAR_SCHEMA.names)} FROM bars
        WHERE symbol = s AND "interval" = i.name AND "start" >= a AND "start" < b) AS found
"""
# A tick that came after the last one of the stored bar is one that the bar lacks.
_CAUSES = """
    SELECT c.symbol, c.name, c.start, log.* FROM
        unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::bigint[])
            AS c (symbol, name, start, "end", last_offset),
        LATERAL (
            SELECT coalesce(array_agg(t.received_us - t.event_us) FILTER (WHERE t.late AND NOT t.gap), '{}') AS late,
                   count(*) FILTER (WHERE t.late AND t.gap) AS filled,
                   coalesce(bool_or(t.corrected), false) AS corrected,
                   coalesce(bool_or(t.cancelled), false) AS cancelled
            FROM (SELECT *, kafka_offset > c.last_offset OR c.last_offset IS NULL AS late,
                         EXISTS (SELECT FROM gaps AS g WHERE g.symbol = timed.symbol
                                 AND timed.event_us BETWEEN g.start_us AND g.end_us) AS gap,
                         EXISTS (SELECT FROM ticks AS a WHERE a.symbol = timed.symbol AND a.kind = 'correct'
                             AND a.trade_id = timed.trade_id AND a.venue IS NOT DISTINCT FROM timed.venue) AS corrected,
                         EXISTS (SELECT FROM ticks AS a WHERE a.symbol = timed.symbol AND a.kind = 'cancel'
                             AND a.trade_id = timed.trade_id AND a.venue IS NOT DISTINCT FROM timed.venue) AS cancelled
                  FROM (SELECT *, (extract(epoch FROM event_time) * 1000000)::bigint AS event_us FROM ticks
                        WHERE symbol = c.symbol AND event_time >= c.start AND event_time < c."end" AND kind = 'trade')
                        AS timed) AS t
        ) AS log
"""
_BEFORE = f"""
    SELECT * FROM (SELECT {quoted(SERIES.names)} FROM bars {_OF_SERIES} < %s AND "start" > %s
                   ORDER BY "start" DESC LIMIT %s) AS found
    ORDER BY found."start"
"""
_FROM = f'SELECT {quoted(SERIES.names)} FROM bars {_OF_SERIES} >= %s ORDER BY "start"'
_INDICATORS = f"""
    SELECT "start", rev, specs, "values"::text AS "values", ready, stable, processed_us FROM indicators
    {_OF_SERIES} >= %s ORDER BY "start"
"""
_STATE = 'SELECT "start", rev, state FROM indicator_states WHERE symbol = %s AND "interval" = %s'
_AMENDED = f"SELECT {quoted(BAR_SCHEMA.names)} FROM bars {_OF_SERIES} >= %s AND state = 'amended' AND known_at >= %s"
_NEWEST = f'SELECT {quoted(BAR_SCHEMA.names)} FROM bars {_OF_SERIES} >= %s ORDER BY "start" DESC LIMIT %s'
_NOTE = """
    WITH noted AS (
        INSERT INTO amendments (number, symbol, "interval", from_start)
        VALUES (nextval('amendment_numbers'), %s, %s, %s) RETURNING *
    )
    INSERT INTO amended_series AS s (symbol, "interval", number, from_start, since, restated, settled)
    SELECT symbol, "interval", number, from_start, at, %s, false FROM noted
    ON CONFLICT (symbol, "interval") DO UPDATE SET number = excluded.number, settled = false,
        from_start = CASE WHEN s.settled THEN excluded.from_start ELSE least(s.from_start, excluded.from_start) END,
        since = CASE WHEN s.settled THEN excluded.since ELSE s.since END,
        restated = excluded.restated OR (s.restated AND NOT s.settled)
"""
_UNSETTLED = """
    SELECT symbol, "interval", number, from_start, since, restated, since < now() - %s::interval AS old
    FROM amended_series WHERE NOT settled ORDER BY symbol, "interval"
"""
_SETTLE = 'UPDATE amended_series SET settled = true WHERE symbol = %s AND "interval" = %s AND number = %s'
_LATE = "INSERT INTO late_ticks_seen (ticks, p50_us, p90_us, p99_us, max_us) VALUES (%s, %s, %s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Causes:
    """What the log says of a bar that differs: the lateness of the ticks it lacks, microseconds, those that fill a gap
    aside; how many of these; and whether its trades were corrected or cancelled."""

    late_us: list[int]
    filled: int
    corrected: bool
    cancelled: bool


@dataclass(frozen=True, slots=True)
class Series:
    """A symbol and interval of which bars from `from_us` on were amended at `since` or later."""

    symbol: str
    interval: str
    number: int
    from_us: int
    since: Any
    restated: bool
    old: bool


def bars_in(connection: psycopg.Connection, windows: Sequence[Window], intervals: Sequence[Interval]) -> list[Row]:
    """The stored bars that start in these windows, as rows of BAR_SCHEMA."""
    times = [to_time(start) for _, start, _ in windows], [to_time(end) for _, _, end in windows]
    asked = [[symbol for symbol, _, _ in windows], *times, [each.name for each in intervals]]
    return dicts(connection, _IN_WINDOWS, asked)


def causes(connection: psycopg.Connection, bars: Sequence[Row], held: Sequence[Row | None]) -> list[Causes]:
    """Of each bar, with the stored one or None beside it, why it may differ, in the same order."""
    columns = [[bar[name] for bar in bars] for name in ("symbol", "interval", "start", "end")]
    offsets = [None if row is None else row["last_offset"] for row in held]
    rows = connection.execute(_CAUSES.encode(), [*columns, offsets]).fetchall()
    found = {row[:3]: Causes(*row[3:]) for row in rows}
    return [found[bar["symbol"], bar["interval"], bar["start"]] for bar in bars]


def write(connection: psycopg.Connection, bars: pa.Table) -> None:
    """Amended bars; the trigger keeps what they replace."""
    BARS.write(connection, csv_bytes(bars))


def bars_before(
    connection: psycopg.Connection, symbol: str, interval: str, from_us: int, after_us: int, most: int
) -> pa.Table:
    """The last bars of a series, at most so many, between two starts, both excluded; SERIES, by start."""
    asked = [symbol, interval, to_time(from_us), to_time(after_us), most]
    return pa.Table.from_pylist(dicts(connection, _BEFORE, asked), schema=SERIES)


def bars_from(connection: psycopg.Connection, symbol: str, interval: str, from_us: int) -> pa.Table:
    """All bars of a series that start at `from_us` or later; SERIES, by start."""
    return pa.Table.from_pylist(dicts(connection, _FROM, [symbol, interval, to_time(from_us)]), schema=SERIES)


def indicators_from(connection: psycopg.Connection, symbol: str, interval: str, from_us: int) -> list[Row]:
    """The stored rows of bars that start at `from_us` or later, by start; `values` is the text of an object."""
    return dicts(connection, _INDICATORS, [symbol, interval, to_time(from_us)])


def state_of(connection: psycopg.Connection, symbol: str, interval: str) -> tuple[Any, int, bytes] | None:
    """`start`, `rev` and the state that the series is continued from."""
    return connection.execute(_STATE.encode(), [symbol, interval], binary=True).fetchone()


def write_indicators(connection: psycopg.Connection, rows: pa.Table) -> None:
    """Rows of INDICATOR_SCHEMA in the place of those that are there, and the states among them."""
    AMENDED_INDICATORS.write(connection, csv_bytes(rows.select(AMENDED_INDICATORS.columns)))
    states = rows.filter(pc.is_valid(rows["state"]))
    if states.num_rows:
        STATES.write(connection, csv_bytes(states.select(STATES.columns)))


def note(connection: psycopg.Connection, symbol: str, interval: str, from_us: int, restated: bool) -> None:
    """The series was amended from this start on; `restated` says whether the state after its newest bar changed."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    connection.execute(_NOTE.encode(), [symbol, interval, to_time(from_us), restated])


def unsettled(connection: psycopg.Connection, old_after: Any) -> list[Series]:
    """The series of which other stores may lack something; `old` where that is so for longer than `old_after`."""
    found = []
    for symbol, interval, number, from_start, *rest in connection.execute(_UNSETTLED, [old_after]).fetchall():
        found.append(Series(symbol, interval, number, us(from_start), *rest))
    return found


def settle(connection: psycopg.Connection, done: Series) -> None:
    """Every store has it, unless it was amended again meanwhile."""
    connection.execute(_SETTLE, [done.symbol, done.interval, done.number])


def published(connection: psycopg.Connection, of: Series, newest: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Of what starts no earlier than the first amended bar: the amended bars, the `newest` bars, and the indicators.

    The newest indicators carry the state where that changed.
    """
    asked = [of.symbol, of.interval]
    amended = dicts(connection, _AMENDED, [*asked, to_time(of.from_us), of.since])
    latest = dicts(connection, _NEWEST, [*asked, to_time(of.from_us), newest])
    named: Row = {"symbol": of.symbol, "interval": of.interval, "state": None}
    rows = [named | row for row in indicators_from(connection, of.symbol, of.interval, of.from_us)]
    held = state_of(connection, of.symbol, of.interval)
    if of.restated and held is not None and rows and held[:2] == (rows[-1]["start"], rows[-1]["rev"]):
        rows[-1]["state"] = bytes(held[2])
    bars = [pa.Table.from_pylist(found, schema=BAR_SCHEMA) for found in (amended, latest)]
    return bars[0], bars[1], pa.Table.from_pylist(rows, schema=INDICATOR_SCHEMA)


def saw_late(connection: psycopg.Connection, late_us: Sequence[int]) -> dict[str, int]:
    """Keep how late these ticks were, in `late_ticks_seen`; count and percentiles."""
    ordered = sorted(late_us)
    shares = {f"p{share}_us": ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 90, 99)}
    found = {"ticks": len(ordered), **shares, "max_us": ordered[-1]}
    connection.execute(_LATE, list(found.values()))
    return found
