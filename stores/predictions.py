"""The predictor in PostgreSQL: the bars that it reads, and predictions, written before their outcome."""

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row

from stores.postgres import EPOCH_US, connect_args, to_time, translated


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
_LAST_BARS = f"""
    SELECT newest.* FROM symbols CROSS JOIN LATERAL (
        SELECT symbol, {EPOCH_US.format('"start"')} AS "start", open::float8, high::float8,
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
