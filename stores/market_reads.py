"""Reads over whole sessions and over all symbols: what the market overview, analytics and metrics are made of.

Each is one statement, however many symbols or sessions it covers. Amounts add up exactly: bars keep their notional.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from stores.job_runs import LAST_RUNS, JobRun
from stores.postgres import EPOCH_US, LATEST_US, to_time
from stores.timescale_reads import TimescaleReader

# What a stretch of bars rolls up to. The first and the last price are those of bars that have one.
_ROLLED = f"""
    count(*) AS bars,
    (array_agg("open" ORDER BY "start") FILTER (WHERE "open" IS NOT NULL))[1] AS "open",
    max(high) AS high, min(low) AS low,
    (array_agg("close" ORDER BY "start" DESC) FILTER (WHERE "close" IS NOT NULL))[1] AS "close",
    sum(volume) AS volume, sum(notional) AS notional, sum(trade_count)::bigint AS trade_count,
    max(close_us) AS close_us, max(rev) AS rev, count(*) FILTER (WHERE rev > 1) AS amended,
    {EPOCH_US.format('max("start")')} AS newest"""
_PRIOR = """
    LEFT JOIN LATERAL (
        SELECT "close" AS prior_close FROM bars
        WHERE symbol = {symbol} AND "interval" = {interval} AND "start" < asked.begins AND "close" IS NOT NULL
        ORDER BY bars."start" DESC LIMIT 1) AS prior ON true"""
_SESSIONS = f"""
    SELECT asked.symbol, rolled.*, prior.prior_close, points.starts, points.closes
    FROM unnest(%(symbols)s::text[], %(begins)s::timestamptz[], %(ends)s::timestamptz[]) AS asked (symbol, begins, ends)
    CROSS JOIN LATERAL (
        SELECT {_ROLLED} FROM bars
        WHERE symbol = asked.symbol AND "interval" = '1m' AND "start" >= asked.begins AND "start" < asked.ends
    ) AS rolled
    {_PRIOR.format(symbol="asked.symbol", interval="'1m'")}
    LEFT JOIN LATERAL (
        SELECT array_agg({EPOCH_US.format('"start"')} ORDER BY "start") AS starts,
               array_agg("close" ORDER BY "start") AS closes
        FROM (SELECT "start", "close" FROM bars
              WHERE symbol = asked.symbol AND "interval" = %(interval)s AND "start" < asked.ends
                AND "close" IS NOT NULL
              ORDER BY bars."start" DESC LIMIT %(points)s) AS newest) AS points ON true
"""
_DAYS = f"""
    WITH asked AS MATERIALIZED (
        SELECT day, begins, ends
        FROM unnest(%(days)s::bigint[], %(begins)s::timestamptz[], %(ends)s::timestamptz[]) AS known (day, begins, ends)
        WHERE EXISTS (SELECT FROM bars WHERE symbol = %(symbol)s AND "interval" = %(interval)s
                      AND "start" >= begins AND "start" < ends)
        ORDER BY day {{way}} LIMIT %(limit)s)
    SELECT asked.day, rolled.*, prior.prior_close
    FROM asked
    CROSS JOIN LATERAL (
        SELECT {_ROLLED},
               sqrt(sum(power(ln("close"::float8 / before::float8), 2))) AS volatility
        FROM (SELECT *, lag("close") OVER (PARTITION BY "close" IS NULL ORDER BY "start") AS before FROM bars
              WHERE symbol = %(symbol)s AND "interval" = %(interval)s
                AND "start" >= asked.begins AND "start" < asked.ends) AS bars
    ) AS rolled
    {_PRIOR.format(symbol="%(symbol)s", interval="%(interval)s")}
    ORDER BY asked.day {{way}}
"""
_BARS = f"""
    SELECT {EPOCH_US.format('"start"')} AS "start", {EPOCH_US.format('"end"')} AS "end", "open", high, low, "close",
           volume, notional, vwap, trade_count, close_us, rev, state
    FROM bars WHERE symbol = %(symbol)s AND "interval" = %(interval)s AND "start" >= %(begin)s AND "start" < %(end)s
    ORDER BY bars."start" DESC LIMIT %(limit)s
"""
_PRIOR_CLOSE = """
    SELECT "close" FROM bars WHERE symbol = %(symbol)s AND "interval" = %(interval)s AND "start" < %(begin)s
      AND "close" IS NOT NULL ORDER BY bars."start" DESC LIMIT 1
"""
_SEEN = f"""
    SELECT symbol, asset_class, {EPOCH_US.format("last_bar_end")} AS last_bar_end FROM symbols ORDER BY symbol
"""
_RECENT = """
    FROM symbols CROSS JOIN unnest(%(intervals)s::text[]) AS asked (name)
    CROSS JOIN LATERAL (
        SELECT * FROM bars
        WHERE bars.symbol = symbols.symbol AND bars."interval" = asked.name AND bars."start" >= %(since)s
          AND bars."end" > %(from)s AND bars."end" <= %(to)s) AS recent
    WHERE symbols.last_bar_end > %(from)s
"""
_STAGES = {
    "event_to_received": "received_us - close_us",
    "received_to_final": "processed_us - received_us",
    "close_to_final": "processed_us - " + EPOCH_US.format('"end"'),
}
_QUANTILES = "ARRAY[0.5, 0.95, 0.99, 1]"
_STAGE_COLUMNS = ", ".join(
    f"count({stage}) AS {name}_count, percentile_cont({_QUANTILES}) WITHIN GROUP (ORDER BY ({stage})::float8) AS {name}"
    for name, stage in _STAGES.items()
)
_LAST_TRADE = "SELECT max(last_received_us) AS last_trade_us FROM symbols"
_LAST_CHECKED = f"SELECT {EPOCH_US.format('max(at)')} AS checked_us FROM reconciled"
_GAPS = f"""
    SELECT count(*) FILTER (WHERE state = 'open') AS open,
           count(*) FILTER (WHERE state = 'filled' AND noticed_at >= %(since)s) AS filled,
           count(*) FILTER (WHERE state = 'lost' AND noticed_at >= %(since)s) AS lost,
           coalesce(sum(filled) FILTER (WHERE noticed_at >= %(since)s), 0)::bigint AS ticks_filled,
           {EPOCH_US.format("max(noticed_at)")} AS newest
    FROM gaps
"""
_LONGEST_BAR_US = 15 * 60_000_000


class MarketReader(TimescaleReader):
    """Times in epoch microseconds, amounts as Decimal; every call raises StoreUnavailable as TimescaleReader's do.

    It has connections of its own, so that reading much holds up nobody who reads little.
    """

    def __init__(self, dsn: str, *, timeout: float = 3.0, pool_size: int = 2) -> None:
        super().__init__(dsn, timeout=timeout, pool_size=pool_size)

    async def seen(self) -> list[dict[str, Any]]:
        """`symbol`, `asset_class` and `last_bar_end` of every symbol, by name; None for what is not known."""
        return await self._rows(_SEEN)

    async def sessions(
        self, asked: Sequence[tuple[str, int, int]], interval: str, points: int
    ) -> dict[str, dict[str, Any]]:
        """By symbol, the 1-minute bars that start in its `[begin, end)`, rolled up, in one statement for all.

        Keys: `bars open high low close volume notional trade_count close_us rev amended newest` (the newest start),
        `prior_close` (the last close before), and `starts` and `closes` of the newest `points` bars of `interval` up to
        the end. None for what there is not.
        """
        symbols, begins, ends = [list(column) for column in zip(*asked, strict=True)] or [[], [], []]
        values = {
            "symbols": symbols,
            "begins": [to_time(us) for us in begins],
            "ends": [to_time(us) for us in ends],
            "interval": interval,
            "points": points,
        }
        return {row["symbol"]: row for row in await self._rows(_SESSIONS, values)}

    async def days(
        self,
        symbol: str,
        interval: str,
        days: Sequence[tuple[int, int, int]],
        limit: int,
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """The bars of each `(day, begin, end)` rolled up: the first `limit` days that have any, or the last ones.

        Keys as of `sessions`, with `day` and `volatility`: the root of the summed squares of the log returns between
        closes within the day.
        """
        values = {
            "symbol": symbol,
            "interval": interval,
            "days": [day for day, _, _ in days],
            "begins": [to_time(us) for _, us, _ in days],
            "ends": [to_time(us) for _, _, us in days],
            "limit": limit,
        }
        return await self._rows(_DAYS.format(way="DESC" if newest_first else "ASC"), values)

    async def session_bars(
        self, symbol: str, interval: str, begin_us: int, end_us: int, limit: int
    ) -> list[dict[str, Any]]:
        """The bars that start in `[begin, end)`, ascending, of which the newest `limit`.

        Keys: `start end open high low close volume notional vwap trade_count close_us rev state`.
        """
        values = {"symbol": symbol, "interval": interval, "begin": to_time(begin_us), "end": to_time(end_us)}
        return (await self._rows(_BARS, values | {"limit": limit}))[::-1]

    async def prior_close(self, symbol: str, interval: str, begin_us: int) -> Decimal | None:
        """The last close of bars that start before a moment."""
        values = {"symbol": symbol, "interval": interval, "begin": to_time(begin_us)}
        rows = await self._rows(_PRIOR_CLOSE, values)
        return rows[0]["close"] if rows else None

    async def extent(self, symbol: str, interval: str) -> tuple[int, int] | None:
        """The first and the last start of a symbol's bars; None when there is none."""
        return await self.bars_extent(symbol, interval, 0, LATEST_US)

    async def stages(self, intervals: Sequence[str], from_us: int, to_us: int) -> dict[str, tuple[int, list[float]]]:
        """Of bars that ended in `(from, to]`: how many have each stage, and its p50, p95, p99 and maximum in µs."""
        (row,) = await self._rows(f"SELECT {_STAGE_COLUMNS} {_RECENT}", _window(intervals, from_us, to_us))
        return {name: (row[f"{name}_count"], row[name] or []) for name in _STAGES}

    async def counted(self, intervals: Sequence[str], to_us: int, windows: Sequence[int]) -> list[tuple[int, int]]:
        """For each window of so many microseconds up to `to_us`: trades in its 1-minute bars, and bars that ended."""
        columns = ", ".join(
            f"coalesce(sum(trade_count) FILTER (WHERE asked.name = '1m' AND recent.\"end\" > %(w{place})s), 0)::bigint"
            f' AS t{place}, count(*) FILTER (WHERE recent."end" > %(w{place})s) AS b{place}'
            for place in range(len(windows))
        )
        values = _window(intervals, to_us - max(windows), to_us)
        values |= {f"w{place}": to_time(to_us - window) for place, window in enumerate(windows)}
        (row,) = await self._rows(f"SELECT {columns} {_RECENT}", values)
        return [(row[f"t{place}"], row[f"b{place}"]) for place in range(len(windows))]

    async def signs_of_life(self) -> tuple[int | None, int | None]:
        """Receipt of the newest archived trade, and when reconciling last counted; None for never."""
        (trade,), (checked,) = await self._rows(_LAST_TRADE), await self._rows(_LAST_CHECKED)
        return trade["last_trade_us"], checked["checked_us"]

    async def gap_counts(self, since_us: int) -> dict[str, Any]:
        """Gaps `open`, of any age; `filled`, `lost` and `ticks_filled` of those noticed since; and when the newest was
        noticed (`newest`, None for never)."""
        (row,) = await self._rows(_GAPS, {"since": to_time(since_us)})
        return row

    async def job_runs(self, jobs: Sequence[str], count: int) -> list[JobRun]:
        """The last `count` runs of each of these jobs, by job, the newest first."""
        return [JobRun(**row) for row in await self._rows(LAST_RUNS, {"jobs": list(jobs), "count": count})]


def _window(intervals: Sequence[str], from_us: int, to_us: int) -> dict[str, Any]:
    times = {"from": to_time(from_us), "to": to_time(to_us), "since": to_time(from_us - _LONGEST_BAR_US)}
    return {"intervals": list(intervals)} | times
