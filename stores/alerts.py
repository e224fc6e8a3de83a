"""The alerter in PostgreSQL: rules, states, alerts, messages and places, each step in one transaction.

One process decides at a time: whoever holds the advisory lock. It is held by the connection that writes, so who has
lost the one can no longer do the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from stores.postgres import EPOCH_US, connect_args, to_time, translated

_LOCK = 7_203_146_613  # any number that nobody else locks in this database
STATEMENT_MS = 15_000
Place = tuple[str, int]
"""Topic and partition."""

_STATES = "SELECT rule_id::text, symbol, watched, state FROM alert_states"
_PUT_STATE = """
    INSERT INTO alert_states (rule_id, symbol, watched, state) VALUES (%s, %s, %s, %s::jsonb)
    ON CONFLICT ON CONSTRAINT alert_states_key DO UPDATE SET watched = excluded.watched, state = excluded.state
"""
_PUT_ALERT = """
    INSERT INTO alerts (id, rule_id, rule_name, symbol, "interval", severity, state, since, until, crossings, messages,
                        value, threshold, lowest, highest, "text")
    VALUES (%(id)s, %(rule_id)s, %(rule_name)s, %(symbol)s, %(interval)s, %(severity)s, %(state)s, %(since)s, %(until)s,
            %(crossings)s, %(messages)s, %(value)s, %(threshold)s, %(low)s, %(high)s, %(text)s)
    ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, state = excluded.state, until = excluded.until,
        crossings = excluded.crossings, messages = excluded.messages, value = excluded.value,
        threshold = excluded.threshold, "text" = excluded."text", updated_at = clock_timestamp(),
        lowest = least(alerts.lowest, excluded.lowest), highest = greatest(alerts.highest, excluded.highest)
"""
_CLOSE_ALERT = """
    UPDATE alerts SET state = 'resolved', until = clock_timestamp(), updated_at = clock_timestamp(),
        "text" = 'the rule was changed, switched off or deleted'
    WHERE id = %(id)s AND state = 'firing'
"""
_PUT_DELIVERY = """
    INSERT INTO alert_deliveries (message_id, alert_id, target, kind, severity, crossings, title, body, hold_seconds)
    VALUES (%(message_id)s, %(alert_id)s, %(target)s, %(kind)s, %(severity)s, %(crossings)s, %(title)s, %(body)s,
            %(hold_seconds)s)
    ON CONFLICT ON CONSTRAINT alert_deliveries_once DO NOTHING
"""
_PUT_PLACE = """
    INSERT INTO alert_offsets (topic, "partition", next) VALUES (%s, %s, %s)
    ON CONFLICT ON CONSTRAINT alert_offsets_key DO UPDATE SET next = excluded.next
"""
_ACKNOWLEDGED = "SELECT id::text FROM alerts WHERE state = 'firing' AND acknowledged_at IS NOT NULL"
_OLD = "state = 'resolved' AND updated_at < now() - make_interval(days => %s)"
_TIDY_DELIVERIES = f"""
    DELETE FROM alert_deliveries WHERE state NOT IN ('pending', 'sending')
      AND alert_id IN (SELECT id FROM alerts WHERE {_OLD})
"""
_TIDY_ALERTS = f"DELETE FROM alerts WHERE {_OLD}"
_FLOATS = ", ".join(f"b.{name}::float8 AS {name}" for name in ("open", "high", "low", "close", "volume", "notional"))
_BAR = f'b.symbol, {EPOCH_US.format("b.start")} AS "start", {EPOCH_US.format("b.end")} AS "end", b.rev, {_FLOATS}'
HISTORY = f"""
    SELECT {_BAR}
    FROM unnest(%(symbols)s::text[], %(before)s::timestamptz[]) AS asked (symbol, before)
    CROSS JOIN LATERAL (
        SELECT * FROM bars WHERE bars.symbol = asked.symbol AND "interval" = %(interval)s AND "start" < asked.before
        ORDER BY "start" DESC LIMIT %(count)s
    ) AS b
    ORDER BY b.symbol, b.start
"""
# Without a list of symbols the table of symbols drives the index, which begins with them.
FIRST_BARS = f"""
    SELECT b.* FROM symbols CROSS JOIN LATERAL (
        SELECT {_BAR} FROM bars AS b
        WHERE b.symbol = symbols.symbol AND b."interval" = %(interval)s AND b."start" >= %(start)s
          AND b."start" < %(end)s
        ORDER BY b."start" LIMIT %(limit)s
    ) AS b
    WHERE %(symbols)s::text[] IS NULL OR symbols.symbol = ANY(%(symbols)s)
    ORDER BY b."start", b.symbol LIMIT %(limit)s
"""
_SIGNS = f"""
    SELECT symbol, last_received_us AS received_us, {EPOCH_US.format("last_bar_end")} AS bar_end_us FROM symbols
"""


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A row of `alert_rules`; `rule` as it was written."""

    id: str
    version: int
    rule: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the alerter leaves, rows as the columns of their tables are named; times in epoch us.

    `states`: (rule, symbol) to what it watches and its JSON, None for one that is gone. `closed`: alerts that end
    because nobody watches any more.
    """

    places: Mapping[Place, int]
    states: Mapping[tuple[str, str], tuple[str, bytes] | None]
    alerts: Sequence[Mapping[str, Any]] = ()
    closed: Sequence[Mapping[str, Any]] = ()
    deliveries: Sequence[Mapping[str, Any]] = ()


class AlertStore:
    """The deciding process's own connection. Every call raises StoreUnavailable when the database does not answer,
    ConfigError where it is not migrated."""

    name = "timescale"

    def __init__(self, dsn: str) -> None:
        self._args = connect_args(dsn)
        self._args["options"] += f" -c statement_timeout={STATEMENT_MS}"
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._args.get('host', '')}:{self._args.get('port', '')})"

    def lead(self) -> bool:
        """Whether this process decides from now on; another one that lives does otherwise."""
        return bool(self._rows("SELECT pg_try_advisory_lock(%s) AS got", [_LOCK])[0]["got"])

    def rules(self) -> list[StoredRule]:
        """All rules, by name."""
        rows = self._rows("SELECT id::text, version, rule FROM alert_rules ORDER BY name")
        return [StoredRule(**row) for row in rows]

    def versions(self) -> dict[str, int]:
        """Of each rule; two answers that differ mean that a rule was made, changed or deleted."""
        return {row["id"]: row["version"] for row in self._rows("SELECT id::text, version FROM alert_rules")}

    def states(self) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
        """By rule and symbol: what is watched, and the state."""
        return {(row["rule_id"], row["symbol"]): (row["watched"], row["state"]) for row in self._rows(_STATES)}

    def places(self) -> dict[Place, int]:
        return {(row["topic"], row["partition"]): row["next"] for row in self._rows("SELECT * FROM alert_offsets")}

    def acknowledged(self) -> frozenset[str]:
        """Alerts that fire and that somebody has acknowledged."""
        return frozenset(row["id"] for row in self._rows(_ACKNOWLEDGED))

    def write(self, step: Step) -> None:
        """All of a step, or nothing."""
        gone = [key for key, kept in step.states.items() if kept is None]
        kept = [(*key, *found) for key, found in step.states.items() if found is not None]
        with translated(), self._connected().transaction(), self._connected().cursor() as cursor:
            _many(cursor, "DELETE FROM alert_states WHERE rule_id = %s AND symbol = %s", gone)
            _many(cursor, _PUT_STATE, [(rule, symbol, watched, text.decode()) for rule, symbol, watched, text in kept])
            _many(cursor, _PUT_ALERT, [_timed(row, "since", "until") for row in step.alerts])
            _many(cursor, _CLOSE_ALERT, step.closed)
            _many(cursor, _PUT_DELIVERY, step.deliveries)
            _many(cursor, _PUT_PLACE, [(*place, offset) for place, offset in step.places.items()])

    def tidy(self, days: int) -> None:
        """Delete alerts that have been over for so many days, and their messages."""
        with translated(), self._connected().transaction():
            self._rows(_TIDY_DELIVERIES, [days])
            self._rows(_TIDY_ALERTS, [days])

    def history(self, interval: str, before: Sequence[tuple[str, int]], count: int) -> list[dict[str, Any]]:
        """The last `count` bars of each symbol before its moment, by symbol and start; amounts as doubles or None."""
        values = {
            "interval": interval,
            "symbols": [symbol for symbol, _ in before],
            "before": [to_time(us) for _, us in before],
            "count": count,
        }
        return self._rows(HISTORY, values)

    def signs_of_life(self) -> list[dict[str, Any]]:
        """By symbol `received_us` of its newest tick and `bar_end_us` of its newest final bar, None for neither."""
        return self._rows(_SIGNS)

    def put_rule(self, rule_id: str, name: str, rule: Mapping[str, Any]) -> bool:
        """Make a rule, or replace the one of that name; whether it is new."""
        text = msgspec.json.encode(rule).decode()
        found = self._rows(
            "INSERT INTO alert_rules (id, name, rule) VALUES (%s, %s, %s::jsonb) ON CONFLICT ON CONSTRAINT"
            " alert_rules_name DO UPDATE SET rule = excluded.rule, version = alert_rules.version + 1,"
            " updated_at = now() RETURNING version",
            [rule_id, name, text],
        )
        return bool(found[0]["version"] == 1)

    def delete_rule(self, name: str) -> bool:
        """Whether there was one of that name."""
        return bool(self._rows("DELETE FROM alert_rules WHERE name = %s RETURNING id::text", [name]))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _rows(self, statement: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[dict[str, Any]]:
        with translated():
            cursor = self._connected().execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        """One connection for the whole life: a new one would not hold the lock."""
        if self._connection is None:
            self._connection = psycopg.connect(**self._args, autocommit=True, row_factory=dict_row)
        return self._connection


def _many(cursor: psycopg.Cursor[Any], statement: str, rows: Iterable[Any]) -> None:
    found = list(rows)
    if found:
        cursor.executemany(sql.SQL(statement), found)


def _timed(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    times = {name: None if row[name] is None else to_time(row[name]) for name in names}
    return {**row, **times}
