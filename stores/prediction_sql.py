"""SQL of what predictions came to, for who reads a scorecard and for who keeps the sums behind it.

An outcome is that of training (`ml.dataset`): the log return from the bar's close to that of the h-th next bar that
has a price, in the same session. Bars are as they are known now, amended ones included.
"""

from collections.abc import Sequence
from typing import Any

from core.intervals import MINUTE_US
from stores.postgres import EPOCH_US, to_time

QUARTER_US = 15 * MINUTE_US
"""How long the time is of which a series' sums are kept together."""

# With no statistics of its parts the planner would loop over hundreds of thousands of predictions.
PLANNING = " -c enable_nestloop=off -c jit=off -c work_mem=64MB"

QUARTER = f"to_timestamp({EPOCH_US.format('{0}')} / {QUARTER_US} * {QUARTER_US // 1_000_000})"
"""The quarter of an hour of a time; `format` it with the column."""

# Of `parts` (symbol, a, b): the predictions after bars that start in [a, b), and the bars that their outcomes are made
# of, numbered; `session` tells sessions apart, which begin at %(sessions)s.
_NUMBERED = """
    SELECT found.*, row_number() OVER (PARTITION BY symbol, part ORDER BY "start") AS place FROM (
        SELECT parts.a AS part, own.* FROM parts CROSS JOIN LATERAL (
            (SELECT symbol, "start", "close", known_at FROM bars
             WHERE symbol = parts.symbol AND "interval" = %(interval)s AND "close" IS NOT NULL
               AND "start" >= parts.a AND "start" < parts.b)
            UNION ALL
            (SELECT symbol, "start", "close", known_at FROM bars
             WHERE symbol = parts.symbol AND "interval" = %(interval)s AND "close" IS NOT NULL
               AND "start" >= parts.b AND "start" < %(until)s
             ORDER BY "start" LIMIT (SELECT coalesce(max(horizon), 0) FROM p))) AS own) AS found"""
# Bars that are gone leave a prediction as unknown as one whose bars have not come yet.
_OUTCOMES = f"""
    SELECT p.*, {EPOCH_US.format('p."start"')} AS start_us, base.symbol IS NULL AS gone,
           greatest(base.known_at, later.known_at) AS known_at,
           CASE WHEN later.session = base.session THEN ln(later."close" / base."close") END AS outcome,
           CASE WHEN later.session = base.session THEN 'known' WHEN later.symbol IS NOT NULL THEN 'other-session'
                ELSE 'pending' END AS outcome_state
    FROM p
    LEFT JOIN numbered AS base ON base.symbol = p.symbol AND base.part = p.part AND base."start" = p."start"
    LEFT JOIN numbered AS later
        ON later.symbol = base.symbol AND later.part = base.part AND later.place = base.place + p.horizon"""
# OFFSET 0: looked up part by part, where the planner would rather read the whole table once.
SCORED = f"""
    p AS MATERIALIZED (
        SELECT parts.a AS part, own.* FROM parts CROSS JOIN LATERAL (
            SELECT * FROM predictions WHERE symbol = parts.symbol AND "interval" = %(interval)s
              AND "start" >= parts.a AND "start" < parts.b OFFSET 0) AS own),
    numbered AS MATERIALIZED (
        SELECT symbol, part, "start", "close"::float8 AS "close", known_at, place,
               width_bucket("start", %(sessions)s::timestamptz[]) AS session FROM ({_NUMBERED}) AS bars),
    scored AS MATERIALIZED (
        SELECT *, expected_return / nullif(volatility, 0) AS expected, outcome / nullif(volatility, 0) AS came
        FROM ({_OUTCOMES}) AS outcomes)"""
"""CTEs `p`, `numbered`, `scored` on top of one named `parts`."""

BLOCK = "start_us / greatest(%(hour)s::bigint, %(per_block)s::bigint * horizon)"
# The rise is judged where the price moved; 0.5 names no direction and is half right.
SUMS = """
    count(*) AS made,
    count(*) FILTER (WHERE 'return' = ANY(abstains)) AS abstained_return,
    count(*) FILTER (WHERE 'rise' = ANY(abstains)) AS abstained_rise,
    count(*) FILTER (WHERE outcome_state = 'known') AS known,
    count(*) FILTER (WHERE outcome_state = 'other-session') AS other_session,
    coalesce(sum(CASE WHEN rise_probability = 0.5 THEN 0.5 WHEN (rise_probability > 0.5) = (came > 0) THEN 1 ELSE 0 END)
             FILTER (WHERE came <> 0), 0)::float8 AS "right",
    coalesce(sum((rise_probability - (came > 0)::int) ^ 2) FILTER (WHERE came <> 0), 0)::float8 AS brier,
    coalesce(sum((expected - came) ^ 2), 0)::float8 AS error,
    coalesce(sum(came ^ 2), 0)::float8 AS error_of_zero,
    coalesce(string_agg(float8send(rise_probability), '') FILTER (WHERE came > 0), '') AS rose,
    coalesce(string_agg(float8send(rise_probability), '') FILTER (WHERE came < 0), '') AS fell"""
COLUMNS = ("made", "abstained_return", "abstained_rise", "known", "other_session", "right", "brier", "error",
           "error_of_zero", "rose", "fell")  # fmt: skip
"""Of `SUMS`, in order."""


def window(interval: str, since_us: int, until_us: int, sessions: Sequence[int]) -> dict[str, Any]:
    """The values of the names above; times in epoch microseconds."""
    return {
        "interval": interval,
        "since": to_time(since_us),
        "until": to_time(until_us),
        "sessions": [to_time(us) for us in sessions],
    }
