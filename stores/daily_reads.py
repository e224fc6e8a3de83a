"""Reads of days: the published bars of the historical tier, and days rolled up from intraday bars.

`ROLLED` is what a stretch of bars adds up to, once for all: the API's recent days and the days of an export. Volume and
notional add up exactly, VWAP is their quotient, rounded half up at the eighth decimal.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

from core.adjustment import Action
from core.trading_days import TradingDay
from stores.daily_bars import ACTIONS_OF, as_action
from stores.pooled import Pooled
from stores.postgres import EPOCH_US, LATEST_US, to_time
from stores.range_sql import BARS, KNOWN_BARS

# The first and the last price are those of bars that have one. A revision is one more for each change of a bar.
ROLLED = f"""
    (array_agg("open" ORDER BY "start") FILTER (WHERE "open" IS NOT NULL))[1] AS "open",
    max(high) AS high, min(low) AS low,
    (array_agg("close" ORDER BY "start" DESC) FILTER (WHERE "close" IS NOT NULL))[1] AS "close",
    sum(volume) AS volume, sum(notional) AS notional,
    CASE WHEN sum(volume) > 0
         THEN div(200000000 * sum(notional) + sum(volume), 2 * sum(volume)) * 0.00000001 END AS vwap,
    sum(trade_count)::bigint AS trade_count, min(open_us) AS open_us, max(close_us) AS close_us,
    (1 + sum(rev) - count(*) + count(*) FILTER (WHERE rev = 1 AND state = 'amended'))::int AS rev,
    {EPOCH_US.format('max("end")')} AS until"""
_TRADED = "sum(trade_count) > 0 OR count(high) > 0"
_DAYS = f"""
    SELECT asked.day, rolled.*
    FROM unnest(%(days)s::int[], %(begins)s::timestamptz[], %(ends)s::timestamptz[]) AS asked (day, begins, ends)
    CROSS JOIN LATERAL (
        SELECT {ROLLED} FROM {{bars}}
        WHERE symbol = %(symbol)s AND "interval" = %(interval)s AND "start" >= asked.begins AND "start" < asked.ends
        HAVING {_TRADED}
    ) AS rolled
    ORDER BY asked.day {{way}}
"""
OF_ALL_SYMBOLS = f"""
    SELECT symbols.symbol, rolled.* FROM symbols CROSS JOIN LATERAL (
        SELECT {ROLLED} FROM bars
        WHERE bars.symbol = symbols.symbol AND "interval" = %(interval)s AND "start" >= %(begin)s AND "start" < %(end)s
        HAVING {_TRADED}) AS rolled
"""
"""The bars of `[begin, end)` of each symbol that has any."""
_PUBLISHED = """
    SELECT * FROM (
        SELECT DISTINCT ON (day) day, rev, "open", high, low, "close", volume, source
        FROM daily_bars
        WHERE symbol = %(symbol)s AND day >= %(first)s AND day < %(until)s
          AND (%(as_of)s::timestamptz IS NULL OR known_at <= %(as_of)s)
        ORDER BY day {way}, rev DESC LIMIT %(limit)s
    ) AS found ORDER BY day {way}
"""
_CLOSE_BEFORE = """
    SELECT asked.ex_date, found.day, found."close"
    FROM unnest(%(dates)s::date[]) AS asked (ex_date)
    CROSS JOIN LATERAL (
        SELECT day, "close" FROM daily_bars
        WHERE symbol = %(symbol)s AND day < asked.ex_date
          AND (%(as_of)s::timestamptz IS NULL OR known_at <= %(as_of)s)
        ORDER BY day DESC, rev DESC LIMIT 1) AS found
"""
_KNOWN = """
    SELECT EXISTS (SELECT FROM daily_bars WHERE symbol = %(symbol)s)
        OR EXISTS (SELECT FROM symbols WHERE symbol = %(symbol)s) AS known
"""


class DailyReader(Pooled):
    """Times in epoch microseconds, amounts as Decimal; its calls raise what those of Pooled do.

    `as_of_us` asks for what was known at that moment, None for what is known now.
    """

    def __init__(self, dsn: str, *, timeout: float = 3.0, pool_size: int = 2) -> None:
        options = " -c default_transaction_read_only=on -c enable_bitmapscan=off"
        super().__init__(dsn, "days", timeout=timeout, pool_size=pool_size, options=options)

    async def published(
        self, symbol: str, first: date, until: date, limit: int, newest_first: bool, as_of_us: int | None = None
    ) -> list[dict[str, Any]]:
        """The first `limit` published bars of `[first, until)`, or the last ones, newest first.

        Keys: `day rev open high low close volume source`.
        """
        values = {"symbol": symbol, "first": first, "until": until, "limit": limit, "as_of": _moment(as_of_us)}
        return await self._rows(_PUBLISHED.format(way="DESC" if newest_first else "ASC"), values)

    async def rolled(
        self,
        symbol: str,
        interval: str,
        days: Sequence[TradingDay],
        limit: int,
        newest_first: bool,
        as_of_us: int | None = None,
    ) -> list[dict[str, Any]]:
        """The bars of each day rolled up: the first `limit` days with a trade, or the last ones, newest first.

        Keys: `day`, days since 1970; `open high low close volume notional vwap trade_count open_us close_us rev`; and
        `until`, the end of the last bar that is in.
        """
        known = "bars" if as_of_us is None else KNOWN_BARS.table.replace("%s", "%(as_of)s")
        query = _DAYS.format(bars=known, way="DESC" if newest_first else "ASC")
        values = {"symbol": symbol, "interval": interval, "as_of": _moment(as_of_us)}
        ordered = [*reversed(days)] if newest_first else [*days]
        rows: list[dict[str, Any]] = []
        while ordered and len(rows) < limit:  # most days have a trade, so what is wanted is in the first of them
            wanted = limit - len(rows)
            part, ordered = ordered[:wanted], ordered[wanted:]
            rows += await self._rows(query, values | _as_arrays(part))
        return rows

    async def extent(self, symbol: str, interval: str) -> tuple[int, int] | None:
        """The first and the last start of a symbol's bars; None when there is none."""
        (row,) = await self._rows(BARS.extent(), [symbol, interval, to_time(0), to_time(LATEST_US)])
        return None if row["low"] is None else (row["low"], row["high"])

    async def actions(self, symbol: str, as_of_us: int | None = None) -> list[Action]:
        """The corporate actions of a symbol, those announced for days to come among them."""
        rows = await self._rows(ACTIONS_OF, {"symbols": [symbol], "as_of": _moment(as_of_us)})
        return [as_action(*list(row.values())[1:]) for row in rows]

    async def closes_before(
        self, symbol: str, dates: Sequence[date], as_of_us: int | None = None
    ) -> dict[date, dict[str, Any]]:
        """By date, `day` and `close` of the last published bar before it; dates without one are left out."""
        values = {"symbol": symbol, "dates": list(dates), "as_of": _moment(as_of_us)}
        return {row["ex_date"]: row for row in await self._rows(_CLOSE_BEFORE, values)}

    async def knows(self, symbol: str) -> bool:
        """Whether the database has ever seen the symbol, in either tier."""
        (row,) = await self._rows(_KNOWN, {"symbol": symbol})
        return bool(row["known"])


def _as_arrays(days: Sequence[TradingDay]) -> dict[str, list[Any]]:
    return {
        "days": [day.day for day in days],
        "begins": [to_time(day.start) for day in days],
        "ends": [to_time(day.end) for day in days],
    }


def _moment(us: int | None) -> Any:
    return None if us is None else to_time(us)
