"""Which bars may differ from the tick log, as the database knows it; `stores/amending.py` has the writes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, Self

import psycopg
from psycopg.rows import dict_row

from core.intervals import Interval
from core.rulesets import Ruleset
from stores import bar_checks
from stores.postgres import connect_args, to_time, translated

Verdict = Literal["equal", "differs", "behind", "nothing", "uncovered"]

_RUN_LOCK = 7_203_146_552  # any number that nobody else locks in this database
_TAKEN_AT_ONCE = 50_000
_EPOCH = "timestamptz 'epoch'"
_EPOCH_US = "(extract(epoch FROM {0}) * 1000000)::bigint"
_INTERVALS = "unnest(%(names)s::text[], %(lengths)s::interval[]) AS i (name, length)"
_WANTED = "(%(symbols)s::text[] IS NULL OR {0}.symbol = ANY(%(symbols)s))"

# Bars of a batch of the final query are there together, so all that end no later than the newest of them are closed.
_HORIZON = f"""
    SELECT {_EPOCH_US.format('max(newest."end")')} FROM symbols AS s, unnest(%(names)s::text[]) AS n (name), LATERAL (
        SELECT "end" FROM bars WHERE symbol = s.symbol AND "interval" = n.name AND reason IS DISTINCT FROM 'provider'
        ORDER BY "start" DESC LIMIT 1) AS newest
"""
# A minute that a writer holds is left for the next run: its ticks cannot be seen yet.
_TAKE = f"""
    SELECT symbol, minute FROM touched_minutes ORDER BY symbol, minute LIMIT {_TAKEN_AT_ONCE} FOR UPDATE SKIP LOCKED
"""
_TAKEN = "unnest(%(taken)s::text[], %(minutes)s::timestamptz[]) AS x (symbol, minute)"
_FORGET = f"DELETE FROM touched_minutes AS t USING {_TAKEN} WHERE t.symbol = x.symbol AND t.minute = x.minute"
_SPREAD = f"""
    INSERT INTO unchecked_bars AS u (symbol, "interval", "start")
    SELECT DISTINCT x.symbol, i.name, date_bin(i.length, x.minute, {_EPOCH}) FROM {_TAKEN}, {_INTERVALS}
    ORDER BY 1, 2, 3
    ON CONFLICT (symbol, "interval", "start") DO UPDATE SET version = u.version + 1
"""
_SPREAD_AMENDING = f"""
    INSERT INTO unchecked_bars AS u (symbol, "interval", "start", corrected, cancelled)
    SELECT t.symbol, i.name, date_bin(i.length, t.event_time, {_EPOCH}),
           bool_or(a.kind = 'correct'), bool_or(a.kind = 'cancel')
    FROM {_TAKEN}
        JOIN ticks AS a ON a.symbol = x.symbol AND a.kind IN ('correct', 'cancel')
            AND a.event_time >= x.minute AND a.event_time < x.minute + interval '1 minute'
        JOIN ticks AS t ON t.symbol = a.symbol AND t.trade_id = a.trade_id AND t.kind = 'trade'
            AND t.venue IS NOT DISTINCT FROM a.venue
            AND t.event_time BETWEEN a.event_time - %(reach)s::interval AND a.event_time + interval '1 hour',
        {_INTERVALS}
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (symbol, "interval", "start") DO UPDATE SET version = u.version + 1,
        corrected = u.corrected OR excluded.corrected, cancelled = u.cancelled OR excluded.cancelled
"""
_MARK_OTHER_RULES = """
    INSERT INTO unchecked_bars (symbol, "interval", "start")
    SELECT s.symbol, n.name, b."start" FROM symbols AS s, unnest(%(names)s::text[]) AS n (name), LATERAL (
        SELECT "start" FROM bars WHERE symbol = s.symbol AND "interval" = n.name AND "start" >= %(since)s
            AND ruleset <> %(ruleset)s AND reason IS DISTINCT FROM 'provider') AS b
    ON CONFLICT DO NOTHING
"""
_UNCHECKED = f"""
    SELECT symbol, "interval" AS name, "start", version, corrected, cancelled FROM unchecked_bars AS u
    WHERE "start" >= %(since)s AND "start" < %(until)s AND {_WANTED.format("u")}
"""
_IN_RANGE = f"""
    SELECT found.*, coalesce(u.version, 0) AS version, coalesce(u.corrected, false) AS corrected,
           coalesce(u.cancelled, false) AS cancelled
    FROM (SELECT t.symbol, i.name, date_bin(i.length, t.event_time, {_EPOCH}) AS "start"
          FROM ticks AS t, {_INTERVALS} WHERE t.event_time >= %(since)s AND t.event_time < %(until)s
          AND t.kind = 'trade' AND {_WANTED.format("t")}
          UNION SELECT n.symbol, n."interval", n."start" FROM unchecked_bars AS n
          WHERE n."start" >= %(since)s AND n."start" < %(until)s AND {_WANTED.format("n")}) AS found
        LEFT JOIN unchecked_bars AS u ON (u.symbol, u."interval", u."start") = (found.symbol, found.name, found."start")
"""
_JUDGED = f"""
    WITH asked AS MATERIALIZED ({{asked}}), amending AS MATERIALIZED (
        SELECT DISTINCT symbol FROM ticks WHERE kind IN ('correct', 'cancel')),
    d AS MATERIALIZED (
        SELECT asked.*, asked."start" + i.length AS "end", asked.symbol IN (SELECT symbol FROM amending) AS amending
        FROM asked JOIN {_INTERVALS} ON i.name = asked.name WHERE asked."start" + i.length <= %(horizon)s)
    SELECT d.symbol, d.name, {_EPOCH_US.format('d."start"')}, d.version, d.corrected, d.cancelled, CASE
        WHEN log.trades = 0 THEN 'nothing'
        WHEN b.reason = 'provider'
            AND NOT EXISTS (SELECT FROM ticks WHERE symbol = d.symbol AND event_time < d."start") THEN 'uncovered'
        WHEN b.reason IS DISTINCT FROM 'provider' AND (log.trades < b.trade_count OR log.newest < b.last_offset)
            THEN 'behind'
        WHEN b.ruleset = %(ruleset)s AND log.named = 0 AND {{agrees}} THEN 'equal'
        ELSE 'differs' END
    FROM d LEFT JOIN bars AS b ON (b.symbol, b."interval", b."start") = (d.symbol, d.name, d."start"),
        LATERAL ({{log}}) AS log
    ORDER BY 1, 3, 2
"""
_RESOLVE = """
    DELETE FROM unchecked_bars AS u
    USING unnest(%s::text[], %s::text[], %s::timestamptz[], %s::bigint[]) AS done (symbol, name, start, version)
    WHERE u.symbol = done.symbol AND u."interval" = done.name AND u."start" = done.start AND u.version <= done.version
"""
_OLDER = 'SELECT count(*), min("start") FROM unchecked_bars WHERE "start" < %s'
_COUNT = f"""
    INSERT INTO reconciled (symbol, day, checked, matched, amended, at)
    SELECT x.symbol, x.day, count(*), count(*) FILTER (WHERE b.state <> 'amended'),
           count(*) FILTER (WHERE b.state = 'amended'), clock_timestamp()
    FROM (SELECT DISTINCT * FROM unnest(%(taken)s::text[], %(days)s::date[]) AS x (symbol, day)) AS x
        LEFT JOIN reconciled AS r ON (r.symbol, r.day) = (x.symbol, x.day), {_INTERVALS}, LATERAL (
        SELECT state FROM bars AS b WHERE b.symbol = x.symbol AND b."interval" = i.name
            AND b."start" >= x.day AND b."start" < x.day + 1 AND b."end" <= %(horizon)s
            AND b.reason IS DISTINCT FROM 'provider' AND NOT EXISTS (SELECT FROM unchecked_bars AS u
                WHERE (u.symbol, u."interval", u."start") = (b.symbol, b."interval", b."start"))) AS b
    WHERE r.at IS NULL OR r.at < now() - %(every)s::interval
    GROUP BY 1, 2
    ON CONFLICT (symbol, day) DO UPDATE SET
        checked = excluded.checked, matched = excluded.matched, amended = excluded.amended, at = excluded.at
    RETURNING symbol, day
"""

_NEWEST_DAY = """
    SELECT day, symbol, checked, matched FROM reconciled WHERE day = (SELECT max(day) FROM reconciled)
"""

_REACHED = "SELECT horizon FROM reconciling_reached"
_REACH = """
    INSERT INTO reconciling_reached (horizon) VALUES (%s) ON CONFLICT (one) DO UPDATE SET horizon = excluded.horizon
"""


@dataclass(frozen=True, slots=True)
class Due:
    """A closed bar that was held against the log. `start_us` in epoch microseconds.

    `verdict`: it is equal, it differs, the log is behind it, the log has nothing of it, or it is a provider's and the
    log begins within it. `corrected` and `cancelled`: a correction, a cancel of one of its trades came since.
    """

    symbol: str
    interval: str
    start_us: int
    version: int
    corrected: bool
    cancelled: bool
    verdict: Verdict

    @property
    def key(self) -> tuple[str, str, int]:
        return self.symbol, self.interval, self.start_us


class Reconciling:
    """One connection for one run. Every call raises StoreUnavailable or ConfigError. Use as a context manager."""

    def __init__(self, dsn: str, intervals: Sequence[Interval], ruleset: Ruleset) -> None:
        self._args = connect_args(dsn)
        self._ruleset = ruleset
        self._named = {
            "names": [each.name for each in intervals],
            "lengths": [timedelta(microseconds=each.us) for each in intervals],
            "ruleset": ruleset.id,
        }

    def __enter__(self) -> Self:
        with translated():
            self.connection = psycopg.connect(**self._args, autocommit=True)
            # Before the first ANALYZE the planner would rather read whole tables; and queries this short gain no code.
            self.connection.execute("SET enable_seqscan = off")
            self.connection.execute("SET jit = off")
        return self

    def __exit__(self, *_: object) -> None:
        # The server notices a closed connection only after a while, and the next run would find the lock taken.
        with suppress(psycopg.Error):
            self.connection.execute("SELECT pg_advisory_unlock_all()")
        self.connection.close()

    def lock(self, wait: bool) -> bool:
        """Whether this is now the only run on this database; it stays so until the connection closes."""
        if wait:
            self._rows("SELECT pg_advisory_lock(%s)", [_RUN_LOCK])
            return True
        return bool(self._rows("SELECT pg_try_advisory_lock(%s)", [_RUN_LOCK])[0][0])

    def horizon_us(self) -> int | None:
        """Bars that end no later are closed and stored; None before the first one."""
        found: int | None = self._rows(_HORIZON, self._named)[0][0]
        return found

    def reached_us(self) -> int | None:
        """What the horizon was at the end of the last run that looked at what changed; None before any."""
        rows = self._rows(_REACHED, ())
        return us(rows[0][0]) if rows else None

    def reach(self, horizon_us: int) -> None:
        """A run that looked at what changed is over."""
        self._rows(_REACH, [to_time(horizon_us)])

    def collect(self, reach: timedelta) -> int:
        """Note every bar that ticks came for since the last call; how many minutes of event time had any.

        A correction or cancel is looked up among the trades that are up to `reach` older.
        """
        count = 0
        while taken := self._collect(reach):
            count += taken
        return count

    def mark_other_rules(self, since_us: int) -> None:
        """Note the bars since then that were made by other rules."""
        self._rows(_MARK_OTHER_RULES, self._named | {"since": to_time(since_us)})

    def due(self, since_us: int, until_us: int, horizon_us: int, symbols: Sequence[str] | None = None) -> list[Due]:
        """Closed bars that were noted and start in `[since_us, until_us)`, with their verdicts, by symbol and start."""
        return self._judged(_UNCHECKED, since_us, until_us, horizon_us, symbols)

    def in_range(self, since_us: int, until_us: int, horizon_us: int, symbols: Sequence[str] | None) -> list[Due]:
        """Every closed bar with a trade of the log in `[since_us, until_us)`, and those noted that start there."""
        return self._judged(_IN_RANGE, since_us, until_us, horizon_us, symbols)

    def older(self, since_us: int) -> tuple[int, int | None]:
        """How many noted bars start before, and when the oldest of them does."""
        count, first = self._rows(_OLDER, [to_time(since_us)])[0]
        return count, None if first is None else round(first.timestamp() * 1_000_000)

    def resolve(self, done: Sequence[Due]) -> None:
        """These need no further look, unless something came for them meanwhile."""
        if done:
            starts = [to_time(each.start_us) for each in done]
            columns = [[each.symbol for each in done], [each.interval for each in done]]
            self._rows(_RESOLVE, [*columns, starts, [each.version for each in done]])

    def count(self, days: Sequence[tuple[str, date]], horizon_us: int, every: timedelta) -> set[tuple[str, date]]:
        """Bring the table `reconciled` up to date for these days of symbols, where it is older than `every`: which."""
        asked = {"taken": [symbol for symbol, _ in days], "days": [day for _, day in days]}
        return set(self._rows(_COUNT, self._named | asked | {"horizon": to_time(horizon_us), "every": every}))

    def newest_day(self) -> tuple[date, list[tuple[str, int, int]]] | None:
        """The newest counted day, and by symbol its bars checked and those that were right; None before any."""
        rows = self._rows(_NEWEST_DAY, ())
        return (rows[0][0], [(symbol, checked, matched) for _, symbol, checked, matched in rows]) if rows else None

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        with translated(), self.connection.transaction():
            yield self.connection

    def _collect(self, reach: timedelta) -> int:
        with self.transaction() as connection:
            rows = connection.execute(_TAKE.encode()).fetchall()
            if rows:
                taken = {"taken": [symbol for symbol, _ in rows], "minutes": [minute for _, minute in rows]}
                # Statements of their own: each sees the ticks that came with the minutes just taken.
                connection.execute(_FORGET.encode(), taken)
                connection.execute(_SPREAD.encode(), self._named | taken)
                connection.execute(_SPREAD_AMENDING.encode(), self._named | taken | {"reach": reach})
        return len(rows)

    def _judged(
        self, asked: str, since_us: int, until_us: int, horizon_us: int, symbols: Sequence[str] | None
    ) -> list[Due]:
        query = _JUDGED.format(asked=asked, log=bar_checks.log_of(self._ruleset), agrees=bar_checks.agrees("log", "b"))
        names = None if symbols is None else list(symbols)
        times = {"since": to_time(since_us), "until": to_time(until_us), "horizon": to_time(horizon_us)}
        return [Due(*row) for row in self._rows(query, self._named | times | {"symbols": names})]

    def _rows(self, sql: str, values: Sequence[object] | Mapping[str, object]) -> list[Any]:
        with translated():
            cursor = self.connection.execute(sql.encode(), values)
            return cursor.fetchall() if cursor.description else []


def dicts(connection: psycopg.Connection, sql: str, values: Sequence[object]) -> list[dict[str, Any]]:
    """Rows by column name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql.encode(), values).fetchall()


def us(time: datetime) -> int:
    """Epoch microseconds, exactly."""
    since = time - to_time(0)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
