"""Reads of predictions with what became of them: the newest ones, and sums for the scorecard.

An outcome is that of training (`ml.dataset`): the log return from the bar's close to that of the h-th next bar that
has a price, in the same session. Bars are as they are known now, amended ones included.
"""

from collections.abc import Sequence
from typing import Any

from stores.pooled import Pooled
from stores.postgres import EPOCH_US, to_time

CLASSES = 10
"""Of a calibration: as many predictions in each."""
TIMEOUT_SECONDS = 10.0
# Sums over hundreds of thousands of predictions; with no statistics of its parts the planner would loop over them.
_READING = " -c default_transaction_read_only=on -c enable_nestloop=off -c jit=off -c work_mem=64MB"

_SHOWN = f"""
    p.symbol, p.horizon, p.model, p.expected_return, p.rise_probability, p.volatility, p.abstains,
    {EPOCH_US.format('p."start"')} AS "start", {EPOCH_US.format("p.outcome_at")} AS outcome_us,
    {EPOCH_US.format("p.made_at")} AS made_us"""
# The bars with a price, numbered by symbol; `session` tells sessions apart, which begin at %(sessions)s.
_BARS = """
    SELECT series.* FROM symbols CROSS JOIN LATERAL (
        SELECT bars.symbol, bars."start", bars."close"::float8 AS "close",
               row_number() OVER (ORDER BY bars."start") AS place,
               width_bucket(bars."start", %(sessions)s::timestamptz[]) AS session
        FROM bars
        WHERE bars.symbol = symbols.symbol AND "interval" = %(interval)s AND bars."close" IS NOT NULL
          AND bars."start" >= %(since)s AND bars."start" < %(until)s
    ) AS series
    WHERE %(symbol)s::text IS NULL OR symbols.symbol = %(symbol)s"""
_JOINED = """
    LEFT JOIN numbered AS base ON base.symbol = p.symbol AND base."start" = p."start"
    LEFT JOIN numbered AS later ON later.symbol = base.symbol AND later.place = base.place + p.horizon"""
_OUTCOME = 'CASE WHEN later.session = base.session THEN ln(later."close" / base."close") END'
# Bars that are gone leave a prediction as unknown as one whose bars have not come yet.
_STATE = """CASE WHEN later.session = base.session THEN 'known' WHEN later.symbol IS NOT NULL THEN 'other-session'
                 ELSE 'pending' END"""

_NEWEST_KEYS = """
    SELECT * FROM predictions WHERE symbol = %(symbol)s AND "interval" = %(interval)s
    ORDER BY "start" DESC, horizon, made_at DESC LIMIT %(limit)s"""
_EXTENT = f"""
    SELECT {EPOCH_US.format('min("start")')} AS low, {EPOCH_US.format('max("start")')} AS high
    FROM ({_NEWEST_KEYS}) AS newest"""
_NEWEST = f"""
    WITH numbered AS MATERIALIZED ({_BARS}), p AS MATERIALIZED ({_NEWEST_KEYS})
    SELECT {_SHOWN}, {_OUTCOME} AS outcome, {_STATE} AS outcome_state FROM p {_JOINED}
    ORDER BY p."start" DESC, p.horizon, p.made_at DESC"""
_LATEST = f"""
    SELECT DISTINCT ON (p.symbol, p.horizon) {_SHOWN}
    FROM symbols CROSS JOIN LATERAL (
        SELECT * FROM predictions AS own WHERE own.symbol = symbols.symbol AND own."interval" = %(interval)s
          AND own."start" = (SELECT max(known."start") FROM predictions AS known
                             WHERE known.symbol = symbols.symbol AND known."interval" = %(interval)s)) AS p
    ORDER BY p.symbol, p.horizon, p.made_at DESC"""

# What goes into a score. The rise is judged where the price moved; 0.5 names no direction and is half right.
_SCORED = f"""
    SELECT p.model, p.horizon, p.abstains, p.rise_probability AS said, {_STATE} AS outcome_state,
           {EPOCH_US.format('p."start"')} / greatest(%(hour)s::bigint, %(per_block)s::bigint * p.horizon) AS block,
           p.expected_return / nullif(p.volatility, 0) AS expected, {_OUTCOME} / nullif(p.volatility, 0) AS came
    FROM predictions AS p {_JOINED}
    WHERE p."interval" = %(interval)s AND p."start" >= %(since)s AND p."start" < %(until)s"""
_SUMS = """
    SELECT model, horizon, block, count(*) AS made,
           count(*) FILTER (WHERE 'return' = ANY(abstains)) AS abstained_return,
           count(*) FILTER (WHERE 'rise' = ANY(abstains)) AS abstained_rise,
           count(*) FILTER (WHERE outcome_state = 'known') AS known,
           count(*) FILTER (WHERE outcome_state = 'other-session') AS other_session,
           count(*) FILTER (WHERE came <> 0) AS moved,
           count(*) FILTER (WHERE came > 0) AS rises,
           coalesce(sum(CASE WHEN said = 0.5 THEN 0.5 WHEN (said > 0.5) = (came > 0) THEN 1 ELSE 0 END)
                    FILTER (WHERE came <> 0), 0)::float8 AS "right",
           coalesce(sum((said - (came > 0)::int) ^ 2) FILTER (WHERE came <> 0), 0)::float8 AS brier,
           coalesce(sum((expected - came) ^ 2), 0)::float8 AS error,
           coalesce(sum(came ^ 2), 0)::float8 AS error_of_zero
    FROM scored GROUP BY model, horizon, block"""
_CALIBRATION = """
    SELECT model, horizon, class, avg(said) AS said, avg((came > 0)::int)::float8 AS came, count(*) AS samples
    FROM (SELECT *, ntile(%(classes)s) OVER (PARTITION BY model, horizon ORDER BY said) AS class
          FROM scored WHERE came <> 0) AS ranked
    GROUP BY model, horizon, class"""
_SCORECARD = f"""
    WITH numbered AS MATERIALIZED ({_BARS}), scored AS MATERIALIZED ({_SCORED})
    SELECT (SELECT coalesce(json_agg(sums ORDER BY model, horizon, block), '[]') FROM ({_SUMS}) AS sums) AS sums,
           (SELECT coalesce(json_agg(classes ORDER BY model, horizon, class), '[]')
            FROM ({_CALIBRATION}) AS classes) AS classes"""


class PredictionReader(Pooled):
    """Rows as dicts, times in epoch microseconds. Its calls raise what those of Pooled do.

    `sessions` are the first moments of the sessions around the bars asked for, ascending; an outcome that lies in
    another one than its bar does not count.
    """

    def __init__(self, dsn: str, *, timeout: float = TIMEOUT_SECONDS, pool_size: int = 2) -> None:
        super().__init__(dsn, "predictions", timeout=timeout, pool_size=pool_size, options=_READING)

    async def extent(self, symbol: str, interval: str, limit: int) -> tuple[int, int] | None:
        """Start of the first and the last bar of a symbol's newest `limit` predictions; None without any."""
        (row,) = await self._rows(_EXTENT, {"symbol": symbol, "interval": interval, "limit": limit})
        return None if row["low"] is None else (row["low"], row["high"])

    async def newest(
        self, symbol: str, interval: str, limit: int, since_us: int, until_us: int, sessions: Sequence[int]
    ) -> list[dict[str, Any]]:
        """The newest predictions of a symbol by bar, then horizon, with `outcome` and `outcome_state`.

        Outcomes are looked for among the bars that start in `[since, until)`. The state is `pending`, `known`, or
        `other-session` where the session ended before; the outcome is a log return, None unless it is known.
        """
        values = _window(interval, since_us, until_us, sessions) | {"symbol": symbol, "limit": limit}
        return await self._rows(_NEWEST, values)

    async def latest(self, interval: str) -> list[dict[str, Any]]:
        """The newest prediction of every symbol and horizon, by symbol and horizon."""
        return await self._rows(_LATEST, {"interval": interval})

    async def scores(
        self, interval: str, since_us: int, until_us: int, sessions: Sequence[int], block: tuple[int, int]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Sums over predictions of bars that start in `[since, until)`, and classes of a calibration.

        `block` is the least length of a block, and that of one for each bar of the horizon, in microseconds. Sums, by
        model, horizon and block: `made abstained_return abstained_rise known other_session moved rises right brier
        error error_of_zero`; errors of returns are in units of the predicted volatility. Classes, by model and horizon:
        `said came samples`, of equal size by what was said.
        """
        values = _window(interval, since_us, until_us, sessions) | {"symbol": None, "classes": CLASSES}
        (row,) = await self._rows(_SCORECARD, values | {"hour": block[0], "per_block": block[1]})
        return row["sums"], row["classes"]


def _window(interval: str, since_us: int, until_us: int, sessions: Sequence[int]) -> dict[str, Any]:
    return {
        "interval": interval,
        "since": to_time(since_us),
        "until": to_time(until_us),
        "sessions": [to_time(us) for us in sessions],
    }
