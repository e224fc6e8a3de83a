"""The SQL of reads over a range of time: one stretch of an index in its order, or several in turn."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.records import BAR_COLUMNS
from stores.postgres import EPOCH_US, to_time
from stores.schema import BAR_SCHEMA, TICK_SCHEMA

Spans = Sequence[tuple[int, int]]
"""Half-open stretches of epoch microseconds, ascending and apart."""
TickKey = tuple[int, int, str]
"""(event_us, seq, identity): the total order of a symbol's ticks."""

_EPOCH_US = EPOCH_US.format('"{0}"') + ' AS "{1}"'
_AMOUNTS = frozenset(
    field.name for schema in (BAR_SCHEMA, TICK_SCHEMA) for field in schema if str(field.type).startswith("decimal")
)
_TICK_COLUMNS = (
    "symbol seq price size trade_id source venue conditions kind reported_us received_us"
    " kafka_partition kafka_offset identity"
)


def epoch_us(column: str, name: str) -> str:
    """A timestamp column as epoch microseconds under a name."""
    return _EPOCH_US.format(column, name)


def bar_columns(as_text: bool) -> str:
    """The columns of a bar, its edges in epoch microseconds; amounts as they are, or as their shortest exact text."""
    return ", ".join(epoch_us(c, c) if c in ("start", "end") else _column(c, as_text) for c in BAR_COLUMNS)


def tick_columns(as_text: bool) -> str:
    """The same for a tick, `event_us` first."""
    return ", ".join([epoch_us("event_time", "event_us"), *(_column(c, as_text) for c in _TICK_COLUMNS.split())])


def _column(name: str, as_text: bool) -> str:
    return f'trim_scale("{name}")::text AS "{name}"' if as_text and name in _AMOUNTS else f'"{name}"'


@dataclass(frozen=True, slots=True)
class Series:
    """A table read along an index: `key` is given by equality, `order` begins with the column of time."""

    table: str
    key: tuple[str, ...]
    order: tuple[str, ...]

    def select(self, columns: str, newest_first: bool, *, keyset: bool, several: bool) -> str:
        """Rows in order; the parameters are those of `values`. `keyset` leaves out all up to a key."""
        way = "DESC" if newest_first else "ASC"
        order = ", ".join(f'found."{name}" {way}' for name in self.order)
        if not several:
            rows = self._rows("%s", "%s", way, keyset)
            return f"SELECT {columns} FROM ({rows}) AS found ORDER BY {order}"
        rows = self._rows("span.since", "span.until", way, keyset)
        return (
            f"SELECT {columns} FROM unnest(%s::timestamptz[], %s::timestamptz[]) AS span (since, until),"
            f" LATERAL ({rows}) AS found ORDER BY {order} LIMIT %s"
        )

    def values(self, key: Sequence[object], spans: Spans, limit: int, beyond: TickKey | None = None) -> list[object]:
        lows, highs = [to_time(low) for low, _ in spans], [to_time(high) for _, high in spans]
        after: list[object] = [] if beyond is None else [to_time(beyond[0]), *beyond[1:]]
        if len(spans) == 1:
            return [*key, lows[0], highs[0], *after, limit]
        return [lows, highs, *key, *after, limit, limit]

    def extent(self) -> str:
        """The first and the last moment that has a row, `low` and `high`: two steps down the index."""
        time = self.order[0]
        low, high = (EPOCH_US.format(f'{edge}("{time}")') for edge in ("min", "max"))
        edges = f'"{time}" >= %s AND "{time}" < %s'
        return f"SELECT {low} AS low, {high} AS high FROM {self.table} WHERE {self._equal()} AND {edges}"

    def _equal(self) -> str:
        return " AND ".join(f'"{name}" = %s' for name in self.key)

    def _rows(self, low: str, high: str, way: str, keyset: bool) -> str:
        time, names = self.order[0], ", ".join(f'"{name}"' for name in self.order)
        beyond = f" AND ({names}) {'<' if way == 'DESC' else '>'} ({', '.join(['%s'] * len(self.order))})"
        order = ", ".join(f'"{name}" {way}' for name in self.order)
        return (
            f'SELECT * FROM {self.table} WHERE {self._equal()} AND "{time}" >= {low} AND "{time}" < {high}'
            f"{beyond if keyset else ''} ORDER BY {order} LIMIT %s"
        )


BARS = Series("bars", ("symbol", "interval"), ("start",))
# Bars as they were known at a moment, which is given twice before the key. Conditions on the key reach both tables.
KNOWN_BARS = Series(
    """(SELECT DISTINCT ON (symbol, "interval", "start") * FROM (
            SELECT * FROM bars WHERE known_at <= %s UNION ALL SELECT * FROM bar_revisions WHERE known_at <= %s) AS every
        ORDER BY symbol, "interval", "start", known_at DESC) AS known""",
    BARS.key,
    BARS.order,
)
_OF_BAR = 'WHERE symbol = %s AND "interval" = %s AND "start" = %s'
REVISIONS = f"""
    SELECT {bar_columns(as_text=False)}, {epoch_us("known_at", "known_at")}
    FROM (SELECT * FROM bars {_OF_BAR} UNION ALL SELECT * FROM bar_revisions {_OF_BAR}) AS every
    ORDER BY every.known_at
"""
TICKS = Series("ticks", ("symbol",), ("event_time", "seq", "identity"))
# What a bar that is amended, added, replaced or gone cannot leave as it was.
BARS_VALIDATOR = f"""
    SELECT (SELECT {EPOCH_US.format('newest."end"')} FROM bars AS newest
            WHERE symbol = %s AND "interval" = %s ORDER BY newest."start" DESC LIMIT 1) AS newest_end_us,
           count(*) AS bars, sum(rev) AS revs, sum(processed_us) AS processed, sum(trade_count) AS trades,
           sum(last_offset) AS offsets, count(*) FILTER (WHERE reason = 'provider') AS provided
    FROM bars WHERE symbol = %s AND "interval" = %s AND "start" >= %s AND "start" < %s
"""
