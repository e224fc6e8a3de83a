"""Reads of predictions with what became of them: the newest ones, and sums for the scorecard."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from stores.pooled import Pooled, Values
from stores.postgres import EPOCH_US, Pool, to_time
from stores.prediction_sql import BLOCK, COLUMNS, PLANNING, QUARTER_US, SCORED, SUMS, window

TIMEOUT_SECONDS = 10.0
_READING = f" -c default_transaction_read_only=on{PLANNING}"

_SHOWN = f"""
    p.symbol, p.horizon, p.model, p.expected_return, p.rise_probability, p.volatility, p.abstains,
    {EPOCH_US.format('p."start"')} AS "start", {EPOCH_US.format("p.outcome_at")} AS outcome_us,
    {EPOCH_US.format("p.made_at")} AS made_us"""
_ORDER = 'p."start" DESC, p.horizon, p.made_at DESC, p.model COLLATE "C"'
# What comes after a key in this order; everything where none is given.
_AFTER = """
    p."start" <= coalesce(%(start)s::timestamptz, 'infinity') AND (
        p."start" IS DISTINCT FROM %(start)s OR p.horizon > %(horizon)s OR (p.horizon = %(horizon)s AND (
            p.made_at < %(made)s OR (p.made_at = %(made)s AND p.model COLLATE "C" > %(model)s))))"""
_NEWEST_KEYS = f"""
    SELECT p."start" FROM predictions AS p WHERE symbol = %(symbol)s AND "interval" = %(interval)s AND {_AFTER}
    ORDER BY {_ORDER} LIMIT %(limit)s"""
_EXTENT = f"""
    SELECT {EPOCH_US.format('min("start")')} AS low, {EPOCH_US.format('max("start")')} AS high
    FROM ({_NEWEST_KEYS}) AS newest"""
_NEWEST = f"""
    WITH parts AS (SELECT %(symbol)s::text AS symbol, %(since)s::timestamptz AS a, %(beyond)s::timestamptz AS b),
    {SCORED}
    SELECT {_SHOWN}, outcome, outcome_state FROM scored AS p WHERE {_AFTER}
    ORDER BY {_ORDER} LIMIT %(limit)s"""
_LATEST = f"""
    SELECT DISTINCT ON (p.symbol, p.horizon) {_SHOWN}
    FROM symbols CROSS JOIN LATERAL (
        SELECT * FROM predictions AS own WHERE own.symbol = symbols.symbol AND own."interval" = %(interval)s
          AND own."start" = (SELECT max(known."start") FROM predictions AS known
                             WHERE known.symbol = symbols.symbol AND known."interval" = %(interval)s)) AS p
    ORDER BY p.symbol, p.horizon, p.made_at DESC"""

# Where the sums of a series are kept they stand for its predictions: whole quarters of an hour after %(edge)s, before
# `settled`. The rest is looked at one by one.
_TOTAL = "".join(f", sum(found.{name})::bigint AS {name}" for name in COLUMNS[:5])
_TOTAL += "".join(f', sum(found."{name}") AS "{name}"' for name in COLUMNS[5:9])
_TOTAL += "".join(f", string_agg(found.{name}, '') AS {name}" for name in COLUMNS[9:])
_SCORECARD = f"""
    WITH begun AS MATERIALIZED (
        SELECT symbols.symbol, greatest(%(edge)s, series.begun) AS first, series.until FROM symbols
        LEFT JOIN prediction_scoring AS scoring ON scoring."interval" = %(interval)s AND calendar = %(calendar)s
        LEFT JOIN prediction_series AS series
            ON series."interval" = scoring."interval" AND series.symbol = symbols.symbol),
    progress AS MATERIALIZED (
        SELECT symbol, first, greatest(first, least(coalesce(until, first), %(last)s)) AS settled FROM begun),
    parts AS MATERIALIZED (
        SELECT symbol, %(since)s AS a, least(first, %(until)s) AS b FROM progress
        UNION ALL SELECT symbol, settled, %(until)s FROM progress),
    {SCORED},
    found AS (
        SELECT model, horizon, {BLOCK} AS block, {SUMS} FROM scored GROUP BY 1, 2, 3
        UNION ALL
        SELECT model, horizon, block{_TOTAL} FROM prediction_scores AS found
        JOIN progress ON progress.symbol = found.symbol
        WHERE "interval" = %(interval)s AND "start" >= %(edge)s AND "start" < %(last)s
          AND "start" >= first AND "start" < settled
        GROUP BY model, horizon, block)
    SELECT model, horizon, block{_TOTAL} FROM found GROUP BY model, horizon, block ORDER BY model, horizon, block"""


class Key(NamedTuple):
    """The key of one of a symbol's predictions; times in epoch microseconds."""

    start: int
    horizon: int
    made: int
    model: str


def _after(key: Key | None) -> dict[str, Any]:
    if key is None:
        return dict.fromkeys(Key._fields)
    return key._asdict() | {"start": to_time(key.start), "made": to_time(key.made)}


class PredictionReader(Pooled):
    """Rows as dicts, times in epoch microseconds. Its calls raise what those of Pooled do.

    `sessions` are the first moments of the sessions around the bars asked for, ascending; an outcome that lies in
    another one than its bar does not count.
    """

    def __init__(self, dsn: str, *, timeout: float = TIMEOUT_SECONDS, pool_size: int = 2) -> None:
        super().__init__(dsn, "predictions", timeout=timeout, pool_size=pool_size, options=_READING)

    async def extent(self, symbol: str, interval: str, limit: int, after: Key | None = None) -> tuple[int, int] | None:
        """Start of the first and the last bar of a symbol's newest `limit` predictions; None without any.

        With a key, of those that come after it: the older ones, and of its bar those of greater horizons.
        """
        asked = {"symbol": symbol, "interval": interval, "limit": limit} | _after(after)
        (row,) = await self._rows(_EXTENT, asked)
        return None if row["low"] is None else (row["low"], row["high"])

    async def newest(
        self,
        symbol: str,
        interval: str,
        limit: int,
        extent: tuple[int, int],
        until_us: int,
        sessions: Sequence[int],
        after: Key | None = None,
    ) -> list[dict[str, Any]]:
        """The newest of a symbol's predictions after the bars of an extent, and after a key, by bar, then horizon.

        With `outcome` and `outcome_state`: outcomes are looked for among the bars that start before `until`. The state
        is `pending`, `known`, or `other-session` where the session ended before; the outcome is a log return, None
        unless it is known.
        """
        values = window(interval, extent[0], until_us, sessions) | {"beyond": to_time(extent[1] + 1)}
        return await self._rows(_NEWEST, values | {"symbol": symbol, "limit": limit} | _after(after))

    async def latest(self, interval: str) -> list[dict[str, Any]]:
        """The newest prediction of every symbol and horizon, by symbol and horizon."""
        return await self._rows(_LATEST, {"interval": interval})

    async def scores(
        self,
        interval: str,
        since_us: int,
        until_us: int,
        sessions: Sequence[int],
        calendar: str,
        block: tuple[int, int],
    ) -> list[dict[str, Any]]:
        """Sums over predictions of bars that start in `[since, until)`, by model, horizon and block.

        `sessions` are those of `calendar`; `block` is the least length of a block, and that of one for each bar of the
        horizon, in microseconds. Sums: `made abstained_return abstained_rise known other_session right brier error
        error_of_zero`, errors of returns in units of the predicted volatility; `rose` and `fell` are the probabilities
        said before a rise and before a fall, as big-endian doubles.
        """
        edge_us, last_us = -(-since_us // QUARTER_US) * QUARTER_US, until_us // QUARTER_US * QUARTER_US
        values = window(interval, since_us, until_us, sessions) | {"calendar": calendar}
        values |= {"edge": to_time(edge_us), "last": to_time(last_us), "hour": block[0], "per_block": block[1]}
        return await self._rows(_SCORECARD, values)

    async def _fetched(self, pool: Pool, sql: str, values: Values) -> list[dict[str, Any]]:
        """As it is on the wire: megabytes of probabilities would be twice as much in text."""
        async with pool.connection() as connection:
            return await (await connection.execute(sql.encode(), values, binary=True)).fetchall()
