"""Keeping the sums of the scorecard: what predictions came to, by series and quarter of an hour, once it is decided.

The sums say what a look at each prediction would; the reader looks at the rest itself (`stores.prediction_reads`), so
nothing is wrong while nobody keeps them. A bar that changes afterwards takes the sums from there on back.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from core.intervals import DAY_US, INTERVALS, SECOND_US
from stores.postgres import connect_args, to_time, translated
from stores.prediction_sql import BLOCK, COLUMNS, PLANNING, QUARTER, QUARTER_US, SCORED, SUMS, window
from stores.staging import quoted

KEPT_DAYS = 9
"""Longer than the longest scorecard."""
SERIES_AT_ONCE = 20
MARGIN_SECONDS = 60.0
"""Longer than it takes from the stamp of a bar to the end of its transaction."""
_LOCK = 7_203_146_699  # any number that nobody else locks in this database
_STATEMENT_MS = 60_000
_QUARTER = f"interval '{QUARTER_US // 1_000_000} seconds'"
_MARGIN = "make_interval(secs => %(margin)s)"

_RULES = 'SELECT calendar FROM prediction_scoring WHERE "interval" = %(interval)s'
_BEGIN = """
    INSERT INTO prediction_scoring ("interval", calendar, looked_at) VALUES (%(interval)s, %(calendar)s, now())
"""
_FORGET = [
    f'DELETE FROM {table} WHERE "interval" = %(interval)s'
    for table in ("prediction_scores", "prediction_series", "prediction_scoring")
]
# Sums are made in whole quarters, so that what is looked at one by one may begin with any of them.
_NEW_SERIES = f"""
    INSERT INTO prediction_series ("interval", symbol, begun, until)
    SELECT %(interval)s, symbol, {QUARTER.format("first")}, {QUARTER.format("first")} FROM (
        SELECT symbol, (SELECT min("start") FROM predictions AS p WHERE p.symbol = symbols.symbol
                        AND p."interval" = %(interval)s AND p."start" >= %(oldest)s) AS first
        FROM symbols WHERE NOT EXISTS (
            SELECT FROM prediction_series AS s WHERE s."interval" = %(interval)s AND s.symbol = symbols.symbol)) AS new
    WHERE first IS NOT NULL
"""
_TIDY = [
    'DELETE FROM prediction_scores WHERE "interval" = %(interval)s AND "start" < %(oldest)s',
    f"""
    UPDATE prediction_series SET begun = {QUARTER.format("%(oldest)s::timestamptz")} + {_QUARTER},
        until = greatest(until, {QUARTER.format("%(oldest)s::timestamptz")} + {_QUARTER})
    WHERE "interval" = %(interval)s AND begun < %(oldest)s
    """,
]
# What was said up to the longest horizon before a bar that changed may have come to something else.
_TAKE_BACK = f"""
    WITH changed AS MATERIALIZED (
        SELECT symbol, min("start") AS "start" FROM bars
        WHERE "interval" = %(interval)s AND "start" >= %(oldest)s AND known_at > (
            SELECT looked_at - {_MARGIN} FROM prediction_scoring WHERE "interval" = %(interval)s)
        GROUP BY symbol),
    touched AS (
        SELECT s.symbol, least(changed."start", (SELECT min("start") FROM (
            SELECT "start" FROM bars WHERE bars.symbol = s.symbol AND bars."interval" = s."interval"
              AND bars."close" IS NOT NULL AND bars."start" < changed."start"
            ORDER BY "start" DESC LIMIT s.longest) AS before)) AS "start"
        FROM changed JOIN prediction_series AS s ON s.symbol = changed.symbol AND s."interval" = %(interval)s),
    back AS (
        UPDATE prediction_series AS s SET until = greatest(begun, {QUARTER.format("touched.start")})
        FROM touched WHERE s.symbol = touched.symbol AND s."interval" = %(interval)s
          AND s.until > greatest(begun, {QUARTER.format("touched.start")})
        RETURNING s.symbol, s.until)
    DELETE FROM prediction_scores AS kept USING back
    WHERE kept."interval" = %(interval)s AND kept.symbol = back.symbol AND kept."start" >= back.until
"""
_LOOKED = 'UPDATE prediction_scoring SET looked_at = now() WHERE "interval" = %(interval)s'
# A quarter whose last prediction, of the longest horizon, can no longer be made.
_READY = f"%(until)s::timestamptz - {_MARGIN} - (1 + longest) * make_interval(secs => %(bar_seconds)s)"
_DUE = f"""
    SELECT symbol FROM prediction_series
    WHERE "interval" = %(interval)s AND tried_at < %(at)s AND until + {_QUARTER} <= {_READY}
    ORDER BY until, symbol LIMIT {SERIES_AT_ONCE}
"""
# A prediction is decided when its bars have been known for a while, or when its own bar is gone.
_SETTLE = f"""
    WITH parts AS MATERIALIZED (
        SELECT symbol, until AS a, least(until + interval '1 day', {QUARTER.format("ready")}) AS b, longest
        FROM (SELECT *, {_READY} AS ready FROM prediction_series
              WHERE "interval" = %(interval)s AND symbol = ANY(%(symbols)s)) AS series),
    {SCORED},
    reached AS MATERIALIZED (
        SELECT parts.symbol, greatest(parts.longest, max(scored.horizon)) AS longest,
               coalesce({
    QUARTER.format(
        '''min(scored."start") FILTER (
                   WHERE NOT gone AND (outcome_state = 'pending' OR scored.known_at > %(at)s - '''
        + _MARGIN
        + "))"
    )
},
                   parts.b) AS until
        FROM parts LEFT JOIN scored ON scored.symbol = parts.symbol GROUP BY parts.symbol, parts.b, parts.longest),
    kept AS (
        INSERT INTO prediction_scores ("interval", "start", symbol, model, horizon, block, {quoted(COLUMNS)})
        SELECT %(interval)s, {QUARTER.format('scored."start"')}, scored.symbol, model, horizon, {BLOCK}, {SUMS}
        FROM scored JOIN reached ON reached.symbol = scored.symbol WHERE scored."start" < reached.until
        GROUP BY 2, 3, 4, 5, 6)
    UPDATE prediction_series AS s SET until = reached.until, longest = reached.longest,
        tried_at = CASE WHEN reached.until > s.until THEN s.tried_at ELSE %(at)s END
    FROM reached WHERE s.symbol = reached.symbol AND s."interval" = %(interval)s
"""


class PredictionScores:
    """The keeper's own connection; of several keepers one does the work.

    Every call raises StoreUnavailable when the database does not answer, ConfigError where it is not migrated.
    """

    name = "timescale"

    def __init__(self, dsn: str, margin_seconds: float = MARGIN_SECONDS) -> None:
        self._args = connect_args(dsn)
        self._margin = margin_seconds
        self._args["options"] += f" -c statement_timeout={_STATEMENT_MS}{PLANNING}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._args.get('host', '')}:{self._args.get('port', '')})"

    def look(self, interval: str, calendar: str, now_us: int) -> datetime | None:
        """Begin the series that are new, take back what changed, forget what is old.

        The moment of it by the database's clock, for `settle`; None where somebody else keeps the sums.
        """
        values = self._values(interval, now_us) | {"calendar": calendar}
        with translated(), psycopg.connect(**self._args) as connection:
            if not _alone(connection):
                return None
            held = connection.execute(_RULES, values).fetchone()
            if held is not None and held[0] != calendar:
                _each(connection, _FORGET, values)
            if held is None or held[0] != calendar:
                connection.execute(_BEGIN, values)
            _each(connection, [*_TIDY, _TAKE_BACK, _LOOKED, _NEW_SERIES], values)
            row = connection.execute("SELECT now()").fetchone()
            return None if row is None else row[0]

    def settle(self, interval: str, at: datetime, now_us: int, sessions: Sequence[int], block: tuple[int, int]) -> int:
        """Sum up some of what was decided at the moment of a look; how many series that concerned: in the end none.

        `sessions` are the first moments of the calendar's sessions over the days that are kept; `block` as of
        `PredictionReader.scores`.
        """
        values = self._values(interval, now_us) | window(interval, 0, now_us, sessions)
        values |= {"at": at, "hour": block[0], "per_block": block[1]}
        with translated(), psycopg.connect(**self._args) as connection:
            if not _alone(connection):
                return 0
            symbols = [symbol for (symbol,) in connection.execute(_DUE.encode(), values).fetchall()]
            if symbols:
                connection.execute(_SETTLE.encode(), values | {"symbols": symbols})
            return len(symbols)

    def _values(self, interval: str, now_us: int) -> dict[str, Any]:
        oldest = to_time(now_us - KEPT_DAYS * DAY_US)
        bar_seconds = INTERVALS[interval].us / SECOND_US
        return {"interval": interval, "oldest": oldest, "bar_seconds": bar_seconds, "margin": self._margin}


def _alone(connection: psycopg.Connection[Any]) -> bool:
    """Whether nobody else keeps sums; nobody will before the end of the transaction."""
    row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK]).fetchone()
    return row is not None and bool(row[0])


def _each(connection: psycopg.Connection[Any], statements: Sequence[str], values: dict[str, Any]) -> None:
    for statement in statements:
        connection.execute(statement.encode(), values)
