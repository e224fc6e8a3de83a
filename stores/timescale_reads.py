"""Reads of ticks, bars and indicators for the API: asynchronous, bounded in rows and in time."""

from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from stores.explaining import ExplainReads
from stores.pooled import Values
from stores.postgres import EPOCH_US, Pool, to_time
from stores.quality_reads import QualityReads
from stores.range_sql import (
    BARS,
    BARS_VALIDATOR,
    KNOWN_BARS,
    REVISIONS,
    TICKS,
    Series,
    Spans,
    TickKey,
    bar_columns,
    epoch_us,
    tick_columns,
)
from stores.schema import values_of

_INDICATORS = epoch_us("start", "start") + ', rev, specs, "values"::text, ready, stable, processed_us'
_SYMBOLS = ", ".join(("symbol", epoch_us("first_seen", "first_seen"), epoch_us("last_seen", "last_seen")))
# Every read is a stretch of an index in its order. Before the first ANALYZE the planner would rather sort.
_READING = " -c default_transaction_read_only=on -c enable_bitmapscan=off"
# A connection that is no more: none, or shut down by an administrator, a crash, or at the start of a server.
_GONE = frozenset({None, "57P01", "57P02", "57P03", "08006", "08003"})
FIRST_SPANS = 2  # how many stretches are read at first; four times as many each time that was not enough
_FRESHNESS = f"""
    SELECT {EPOCH_US.format("max(last_tick)")} AS last_tick_event_us,
           max(last_received_us) AS last_tick_received_us,
           {EPOCH_US.format("max(last_bar_end)")} AS last_bar_end_us
    FROM symbols
"""
_IS_TIMESCALE = "SELECT FROM pg_extension WHERE extname = 'timescaledb'"
# The collected statistics follow inserts within a second but start again after a crash; reltuples survives it
# and is only as new as the last ANALYZE. The rows of a hypertable are in its chunks.
_COUNTS_PLAIN = """
    SELECT coalesce(sum(rows) FILTER (WHERE relname = 'ticks'), 0)::bigint AS ticks,
           coalesce(sum(rows) FILTER (WHERE relname = 'bars'), 0)::bigint AS bars
    FROM (SELECT t.relname, greatest(pg_stat_get_live_tuples(part.oid), part.reltuples) AS rows
          FROM pg_class AS t LEFT JOIN pg_inherits ON inhparent = t.oid
          JOIN pg_class AS part ON part.oid = coalesce(inhrelid, t.oid)
          WHERE t.relnamespace = current_schema()::regnamespace AND t.relname IN ('ticks', 'bars')) AS counts
"""
# What knows the rows of compressed chunks is as new as the last ANALYZE.
_COUNTS_TIMESCALE = f"""
    SELECT greatest(ticks, approximate_row_count('ticks')) AS ticks,
           greatest(bars, approximate_row_count('bars')) AS bars
    FROM ({_COUNTS_PLAIN}) AS counted
"""


class TimescaleReader(QualityReads, ExplainReads):
    """Rows as dicts: times in integer microseconds since the epoch, amounts as Decimal.

    Ranges are half-open, `[start_us, end_us)`. Its calls raise what those of Pooled do.
    """

    def __init__(self, dsn: str, *, timeout: float = 2.0, pool_size: int = 4) -> None:
        super().__init__(dsn, "reads", timeout=timeout, pool_size=pool_size, options=_READING, checked=False)

    async def ping(self) -> None:
        await self._rows("SELECT 1 AS one")

    async def symbols(self) -> list[dict[str, Any]]:
        """`symbol`, `first_seen`, `last_seen` of every symbol, in order."""
        return await self._rows(f"SELECT {_SYMBOLS} FROM symbols ORDER BY symbol")

    async def ticks(
        self,
        symbol: str,
        start_us: int,
        end_us: int,
        limit: int,
        newest_first: bool = False,
        *,
        beyond: TickKey | None = None,
        spans: Spans | None = None,
        as_text: bool = False,
    ) -> list[dict[str, Any]]:
        """The first `limit` ticks of the range by (event time, seq, identity), or the last ones, newest first.

        `beyond` leaves out the tick of that key and all that come before it in the order asked for; `spans` keeps
        those inside them; `as_text` gives amounts as their shortest exact text.
        """
        ranges = [(start_us, end_us)] if spans is None else _clipped(spans, start_us, end_us)
        return await self._series(TICKS, tick_columns(as_text), [symbol], ranges, limit, newest_first, beyond)

    async def bars(
        self,
        symbol: str,
        interval: str,
        start_us: int,
        end_us: int,
        limit: int,
        newest_first: bool = False,
        *,
        spans: Spans | None = None,
        as_text: bool = False,
        as_of_us: int | None = None,
    ) -> list[dict[str, Any]]:
        """The first `limit` bars that start in the range, or the last ones, newest first; keys are BAR_COLUMNS.

        `spans` keeps those that start inside them; `as_text` gives amounts as their shortest exact text; `as_of_us`
        gives bars as they were known at that moment: of each the newest revision then, and none made later.
        """
        ranges = [(start_us, end_us)] if spans is None else _clipped(spans, start_us, end_us)
        if as_of_us is not None:
            key = [to_time(as_of_us), to_time(as_of_us), symbol, interval]
            return await self._series(KNOWN_BARS, bar_columns(as_text), key, ranges, limit, newest_first)
        return await self._series(BARS, bar_columns(as_text), [symbol, interval], ranges, limit, newest_first)

    async def bars_extent(self, symbol: str, interval: str, start_us: int, end_us: int) -> tuple[int, int] | None:
        """Start of the first and of the last bar that start in the range; None where there is none."""
        return await self._extent(BARS, [symbol, interval], start_us, end_us)

    async def ticks_extent(self, symbol: str, start_us: int, end_us: int) -> tuple[int, int] | None:
        """Event time of the first and of the last tick of the range; None where there is none."""
        return await self._extent(TICKS, [symbol], start_us, end_us)

    async def bars_validator(
        self, symbol: str, interval: str, start_us: int, end_us: int
    ) -> tuple[int | None, tuple[int, ...]]:
        """End of the newest final bar of the series (None where there is none), and numbers that differ whenever
        the bars of the range do."""
        key = [symbol, interval]
        (row,) = await self._rows(BARS_VALIDATOR, [*key, *key, to_time(start_us), to_time(end_us)])
        newest_end_us = row.pop("newest_end_us")
        return newest_end_us, tuple(int(value or 0) for value in row.values())

    async def revisions(self, symbol: str, interval: str, start_us: int) -> list[dict[str, Any]]:
        """Every revision of one bar, oldest first: BAR_COLUMNS and `known_at`, epoch microseconds."""
        return await self._rows(REVISIONS, [symbol, interval, to_time(start_us)] * 2)

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

    async def freshness(self) -> dict[str, Any]:
        """`last_tick_event_us`, `last_tick_received_us`, `last_bar_end_us` (None before the first), and the
        approximate row counts `ticks` and `bars`. Reads no big table."""
        newest = await self._rows(_FRESHNESS)
        timescale = await self._rows(_IS_TIMESCALE)
        counts = await self._rows(_COUNTS_TIMESCALE if timescale else _COUNTS_PLAIN)
        return newest[0] | counts[0]

    async def _series(
        self,
        series: Series,
        columns: str,
        key: Sequence[object],
        spans: Spans,
        limit: int,
        newest_first: bool,
        beyond: TickKey | None = None,
    ) -> list[dict[str, Any]]:
        """Up to `limit` rows of the stretches, which are read in turn and no further than needed."""
        rows: list[dict[str, Any]] = []
        at, size = 0, FIRST_SPANS
        while at < len(spans) and len(rows) < limit:
            part = spans[max(0, len(spans) - at - size) : len(spans) - at] if newest_first else spans[at : at + size]
            sql = series.select(columns, newest_first, keyset=beyond is not None, several=len(part) > 1)
            rows += await self._rows(sql, series.values(key, part, limit - len(rows), beyond))
            at, size = at + size, size * 4
        return rows

    async def _extent(
        self, series: Series, key: Sequence[object], start_us: int, end_us: int
    ) -> tuple[int, int] | None:
        (row,) = await self._rows(series.extent(), [*key, to_time(start_us), to_time(end_us)])
        return None if row["low"] is None else (row["low"], row["high"])

    async def _fetched(self, pool: Pool, sql: LiteralString | str, values: Values) -> list[dict[str, Any]]:
        try:
            return await super()._fetched(pool, sql, values)
        except OperationalError as error:
            if isinstance(error, PoolTimeout) or error.sqlstate not in _GONE:
                raise
        # The server was restarted between two reads. To find that out here, and not by a question before each read,
        # halves the way to it.
        await pool.check()
        return await super()._fetched(pool, sql, values)


def _clipped(spans: Spans, start_us: int, end_us: int) -> Spans:
    clipped = [(max(low, start_us), min(high, end_us)) for low, high in spans]
    return [(low, high) for low, high in clipped if low < high]
