"""Predictions in PostgreSQL: written by the predictor before their outcome, read with it by the API."""

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row

from core.intervals import SECOND_US
from stores.pooled import Pooled
from stores.postgres import connect_args, to_time, translated


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What a model said after one bar. Returns are log returns, `volatility` that of the return over the horizon.

    `abstains` names what the model did not beat its baselines in: `return`, `rise`, both or nothing. Times are epoch
    microseconds; the outcome is known at `outcome_us` at the earliest.
    """

    symbol: str
    interval: str
    start: int
    end: int
    horizon: int
    outcome_us: int
    expected_return: float
    rise_probability: float
    volatility: float
    abstains: tuple[str, ...]
    model: str


# One that comes too late is none: it is left out here, by the database's own clock.
_INSERT = """
    INSERT INTO predictions (symbol, "interval", "start", horizon, model, outcome_at, expected_return,
                             rise_probability, volatility, abstains)
    SELECT * FROM (VALUES (%s, %s, %s::timestamptz, %s::int, %s, %s::timestamptz, %s::float8, %s::float8, %s::float8,
                           %s::text[]))
        AS given (symbol, "interval", "start", horizon, model, outcome_at, expected, rise, volatility, abstains)
    WHERE clock_timestamp() < outcome_at
    ON CONFLICT DO NOTHING
"""
_LAST_BARS = """
    SELECT newest.* FROM symbols CROSS JOIN LATERAL (
        SELECT symbol, (extract(epoch FROM "start") * 1000000)::bigint AS "start", open::float8, high::float8,
               low::float8, close::float8, volume::float8, notional::float8
        FROM bars
        WHERE bars.symbol = symbols.symbol AND "interval" = %(interval)s AND close IS NOT NULL
        ORDER BY bars."start" DESC LIMIT %(count)s
    ) AS newest
    WHERE %(symbols)s::text[] IS NULL OR symbols.symbol = ANY(%(symbols)s)
    ORDER BY newest.symbol, newest."start"
"""


class PredictionStore:
    """The predictor's own connection: bars to warm up and train with, and the table `predictions`.

    Every call raises StoreUnavailable when the database does not answer, ConfigError where it is not migrated.
    """

    def __init__(self, dsn: str) -> None:
        self._args = connect_args(dsn)
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._args.get('host', '')}:{self._args.get('port', '')})"

    def last_bars(self, interval: str, count: int, symbols: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The last `count` bars with a price of each symbol, by symbol and start; amounts as doubles."""
        values = {"interval": interval, "count": count, "symbols": None if symbols is None else list(symbols)}
        with translated():
            return self._connected().execute(_LAST_BARS, values).fetchall()

    def write(self, predictions: Sequence[Prediction]) -> int:
        """Keep predictions; how many of them are new and in time."""
        with translated(), self._connected().transaction(), self._connected().cursor() as cursor:
            cursor.executemany(_INSERT, [_values(each) for each in predictions])
            return cursor.rowcount

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(**self._args, autocommit=True, row_factory=dict_row)
        return self._connection


def _values(each: Prediction) -> tuple[object, ...]:
    return (each.symbol, each.interval, to_time(each.start), each.horizon, each.model, to_time(each.outcome_us),
            each.expected_return, each.rise_probability, each.volatility, list(each.abstains))  # fmt: skip


_NEWEST = """
    SELECT symbol, "interval", "start", horizon, model, outcome_at, made_at, expected_return, rise_probability,
           volatility, abstains
    FROM predictions WHERE symbol = %(symbol)s AND "interval" = %(interval)s
    ORDER BY "start" DESC, horizon, made_at DESC LIMIT %(limit)s
"""
# Sums per hour of what a skill is made of: hours are the blocks whose spread says how sure it is.
_SCORED = """
    WITH held AS (
        SELECT symbol, "start", close::float8 AS close,
               row_number() OVER (PARTITION BY symbol ORDER BY "start") AS place
        FROM bars WHERE "interval" = %(interval)s AND "start" >= %(since)s AND close > 0
    ), scored AS (
        SELECT p.model, p.horizon, date_trunc('hour', p."start") AS hour, p.expected_return, p.rise_probability,
               p.volatility, p.abstains, ln(later.close / held.close) AS outcome
        FROM predictions p
        JOIN held USING (symbol, "start")
        LEFT JOIN held AS later ON later.symbol = p.symbol AND later.place = held.place + p.horizon
        WHERE p."interval" = %(interval)s AND p."start" >= %(since)s
    )
    SELECT model, horizon, hour, count(*) AS made, count(outcome) AS known,
           count(*) FILTER (WHERE 'rise' = ANY(abstains)) AS abstained,
           count(*) FILTER (WHERE outcome <> 0) AS moved,
           count(*) FILTER (WHERE outcome > 0) AS rose,
           count(*) FILTER (WHERE outcome <> 0 AND (outcome > 0) = (rise_probability > 0.5)) AS hits,
           coalesce(sum((rise_probability - (outcome > 0)::int)^2) FILTER (WHERE outcome <> 0), 0) AS brier,
           coalesce(sum(((expected_return - outcome) / volatility)^2), 0) AS error,
           coalesce(sum((outcome / volatility)^2), 0) AS error_of_zero
    FROM scored GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


class PredictionReader(Pooled):
    """What the API shows of predictions."""

    def __init__(self, dsn: str, timeout: float = 5.0, pool_size: int = 2) -> None:
        super().__init__(dsn, "predictions", timeout=timeout, pool_size=pool_size)

    async def newest(self, symbol: str, interval: str, limit: int) -> list[dict[str, Any]]:
        """The newest predictions of a symbol, the last bar's first."""
        return await self._rows(_NEWEST, {"symbol": symbol, "interval": interval, "limit": limit})

    async def scored(self, interval: str, since_us: int) -> list[dict[str, Any]]:
        """By model, horizon and hour: how many predictions, how many with an outcome by now, and sums of errors."""
        return await self._rows(_SCORED, {"interval": interval, "since": to_time(since_us // SECOND_US * SECOND_US)})
