"""Reads of how right the bars are: what was checked, amended, late or missing, of one symbol or of all."""

from datetime import date
from typing import Any

from stores.pooled import Pooled
from stores.postgres import EPOCH_US, to_time
from stores.range_sql import epoch_us

# The values of a bar that a trader reads, of which an amendment changes at least one (or its times and trade ids).
AMENDED_VALUES = ("open", "high", "low", "close", "volume", "notional", "vwap", "trade_count")

_RATIO = "matched::float8 / nullif(checked, 0) AS match_ratio"
_RECONCILED = f"""
    SELECT day, checked, matched, amended, {_RATIO}, {epoch_us("at", "at")}
    FROM reconciled WHERE symbol = %s AND day BETWEEN %s AND %s ORDER BY day
"""
_DAYS = f"""
    SELECT symbol, day, checked, matched, amended, {_RATIO}, {epoch_us("at", "at")}
    FROM reconciled WHERE day BETWEEN %s AND %s ORDER BY reconciled.day DESC, symbol LIMIT %s
"""
_TOTALS = f"""
    SELECT *, {_RATIO} FROM (
        SELECT day, count(*) AS symbols, sum(checked)::bigint AS checked, sum(matched)::bigint AS matched,
               sum(amended)::bigint AS amended, {EPOCH_US.format('max("at")')} AS "at"
        FROM reconciled WHERE day BETWEEN %s AND %s GROUP BY day) AS days
    ORDER BY day
"""
_LATE_TICKS = f"""
    SELECT {epoch_us("at", "at")}, ticks, p50_us, p90_us, p99_us, max_us FROM late_ticks_seen
    ORDER BY late_ticks_seen.at DESC LIMIT %s
"""
_AMENDED = "state = 'amended' AND known_at >= %(since)s AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)"
_PAIRS = ", ".join(f'was."{name}" AS was_{name}, b."{name}" AS now_{name}' for name in AMENDED_VALUES)
_AMENDMENTS = f"""
    SELECT b.symbol, b."interval", {EPOCH_US.format('b."start"')} AS "start", b.rev, b.reason,
           {EPOCH_US.format("b.known_at")} AS known_at, was.rev AS was_rev, {_PAIRS}
    FROM (SELECT * FROM bars WHERE {_AMENDED} ORDER BY known_at DESC, symbol, "interval", "start" LIMIT %(limit)s) AS b
    LEFT JOIN LATERAL (
        SELECT * FROM bar_revisions AS r
        WHERE (r.symbol, r."interval", r."start") = (b.symbol, b."interval", b."start")
        ORDER BY r.known_at DESC LIMIT 1) AS was ON true
    ORDER BY b.known_at DESC, b.symbol, b."interval", b."start"
"""
_REASONS = f"SELECT reason, count(*) AS bars FROM bars WHERE {_AMENDED} GROUP BY reason ORDER BY bars DESC, reason"
_GAPS_WANTED = (
    "(%(symbol)s::text IS NULL OR symbol = %(symbol)s) AND (%(state)s::text IS NULL OR state = %(state)s)"
    " AND end_us >= %(since_us)s"
)
_GAPS = f"""
    SELECT id, source, symbol, cause, start_us, end_us, first_id, last_id, state, filled, detail,
           {epoch_us("noticed_at", "noticed_at")}, {epoch_us("settled_at", "settled_at")}
    FROM gaps WHERE {_GAPS_WANTED} ORDER BY gaps.start_us DESC, id DESC LIMIT %(limit)s
"""
_GAP_STATES = f"SELECT state, count(*) AS gaps FROM gaps WHERE {_GAPS_WANTED} GROUP BY state"


class QualityReads(Pooled):
    """Times in epoch microseconds, days as dates, amounts as Decimal. Its calls raise what those of Pooled do."""

    async def reconciled(self, symbol: str, first_us: int, end_us: int) -> list[dict[str, Any]]:
        """`day` (a date), `checked`, `matched`, `amended`, `match_ratio` and `at` (epoch microseconds) by UTC day.

        Of a symbol's closed bars, over all intervals: those held against the tick log, those that were right as they
        were first made, and those that were not; the ratio of the first two, None where nothing was checked.
        """
        asked = [symbol, to_time(first_us).date(), to_time(end_us - 1).date()]
        return await self._rows(_RECONCILED, asked)

    async def reconciled_days(self, first: date, last: date, limit: int) -> list[dict[str, Any]]:
        """The same of all symbols, with `symbol`: the newest days first, and `limit` rows at most."""
        return await self._rows(_DAYS, [first, last, limit])

    async def reconciled_totals(self, first: date, last: date) -> list[dict[str, Any]]:
        """Over all symbols, oldest day first: `day symbols checked matched amended match_ratio at`."""
        return await self._rows(_TOTALS, [first, last])

    async def late_ticks(self, limit: int) -> list[dict[str, Any]]:
        """Newest runs that found late ticks: `at`, `ticks`, `p50_us`, `p90_us`, `p99_us`, `max_us`, microseconds."""
        return await self._rows(_LATE_TICKS, [limit])

    async def amendments(self, since_us: int, symbol: str | None, limit: int) -> list[dict[str, Any]]:
        """Bars of which the newest revision is an amendment known since then, the last one first.

        Keys: `symbol interval start rev reason known_at was_rev`, and of each of AMENDED_VALUES `was_…` and `now_…`;
        None in what was, where there was no such bar before.
        """
        return await self._rows(_AMENDMENTS, {"since": to_time(since_us), "symbol": symbol, "limit": limit})

    async def amendment_reasons(self, since_us: int, symbol: str | None) -> dict[str, int]:
        """How many bars were amended since then, by reason."""
        rows = await self._rows(_REASONS, {"since": to_time(since_us), "symbol": symbol})
        return {row["reason"] or "unknown": row["bars"] for row in rows}

    async def gaps(
        self, since_us: int, symbol: str | None, state: str | None, limit: int
    ) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Gaps of feeds that end at that event time or later, the newest first, and how many there are by state.

        Keys: the columns of the table `gaps`, whose times are epoch microseconds.
        """
        asked = {"since_us": since_us, "symbol": symbol, "state": state, "limit": limit}
        counted = await self._rows(_GAP_STATES, asked)
        return await self._rows(_GAPS, asked), {row["state"]: row["gaps"] for row in counted}
