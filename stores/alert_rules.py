"""Alerts as the API has them: rules that are made and changed, alerts with the receipts of their messages, and the past
that a rule is tried on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import msgspec

from stores.alerts import FIRST_BARS, HISTORY
from stores.pooled import Pooled
from stores.postgres import EPOCH_US, to_time

_RULE = (
    f"id, version, rule, {EPOCH_US.format('created_at')} AS created_us, {EPOCH_US.format('updated_at')} AS updated_us"
)
_CREATE = f"""
    INSERT INTO alert_rules (id, name, rule) VALUES (%s, %s, %s::jsonb)
    ON CONFLICT ON CONSTRAINT alert_rules_name DO NOTHING RETURNING {_RULE}
"""
_REPLACE = f"""
    UPDATE alert_rules SET name = %(name)s, rule = %(rule)s::jsonb, version = version + 1, updated_at = now()
    WHERE id = %(id)s AND version = %(version)s
      AND NOT EXISTS (SELECT FROM alert_rules AS other WHERE other.name = %(name)s AND other.id <> %(id)s)
    RETURNING {_RULE}
"""
_TIMES = ", ".join(
    f"{EPOCH_US.format(column)} AS {name}"
    for column, name in (
        ("alerts.since", "since_us"),
        ("until", "until_us"),
        ("created_at", "created_us"),
        ("updated_at", "updated_us"),
        ("acknowledged_at", "acknowledged_us"),
    )
)
_ALERT = f"""
    id, rule_id, rule_name, symbol, "interval", severity, state, crossings, messages, value, threshold, lowest, highest,
    "text", acknowledged_by, {_TIMES}
"""
_ALERTS = f"""
    SELECT {_ALERT} FROM alerts
    WHERE (%(rule)s::uuid IS NULL OR rule_id = %(rule)s) AND (%(symbol)s::text IS NULL OR symbol = %(symbol)s)
      AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(beyond)s::timestamptz IS NULL OR created_at < %(beyond)s OR (created_at = %(beyond)s AND id > %(id)s))
    ORDER BY alerts.created_at DESC, id LIMIT %(limit)s
"""
_DELIVERIES = f"""
    SELECT alert_id, message_id, target, kind, severity, crossings, title, state, attempts, detail, digest_id,
           {EPOCH_US.format("decided_at")} AS decided_us, {EPOCH_US.format("sent_at")} AS sent_us,
           CASE WHEN state = 'pending' THEN {EPOCH_US.format("next_at")} END AS next_us
    FROM (SELECT *, row_number() OVER (PARTITION BY alert_id ORDER BY seq DESC) AS place FROM alert_deliveries
          WHERE alert_id = ANY(%(alerts)s)) AS found
    WHERE place <= %(most)s ORDER BY seq
"""
# Whoever was first stays.
_ACKNOWLEDGE = f"""
    UPDATE alerts SET acknowledged_at = coalesce(acknowledged_at, clock_timestamp()),
        acknowledged_by = coalesce(acknowledged_by, %(who)s)
    WHERE id = %(id)s RETURNING {_ALERT}
"""
_FINDINGS = f"""
    SELECT symbol, "interval", {EPOCH_US.format('found."start"')} AS "start", {EPOCH_US.format('found."end"')} AS "end",
           rev, rule, severity, state, value, threshold, score, "text", {EPOCH_US.format("found.since")} AS since
    FROM anomalies AS found
    WHERE "interval" = %(interval)s AND found."start" >= %(start)s AND found."start" < %(end)s
      AND (%(symbols)s::text[] IS NULL OR symbol = ANY(%(symbols)s))
    ORDER BY found."start", symbol, rule LIMIT %(limit)s
"""
MOST_DELIVERIES = 50
"""Of one alert, the newest."""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A row of `alert_rules`; `rule` as it was written, times in epoch microseconds."""

    id: UUID
    version: int
    rule: dict[str, Any]
    created_us: int
    updated_us: int


class AlertReads(Pooled):
    """The API's side; its calls raise what those of Pooled do."""

    def __init__(self, dsn: str, *, timeout: float = 2.0, pool_size: int = 2) -> None:
        super().__init__(dsn, "alerts", timeout=timeout, pool_size=pool_size)

    # Rules

    async def rules(self, limit: int, beyond: str = "") -> list[RuleRow]:
        """By name; those behind one of them."""
        sql = f'SELECT {_RULE} FROM alert_rules WHERE name COLLATE "C" > %s ORDER BY name COLLATE "C" LIMIT %s'
        return await self._found(sql, [beyond, limit])

    async def rule(self, rule_id: UUID) -> RuleRow | None:
        return next(iter(await self._found(f"SELECT {_RULE} FROM alert_rules WHERE id = %s", [rule_id])), None)

    async def create(self, name: str, rule: Mapping[str, Any]) -> RuleRow | None:
        """A new rule; None where there is one of that name."""
        return next(iter(await self._found(_CREATE, [uuid4(), name, _json(rule)])), None)

    async def replace(self, rule_id: UUID, version: int, name: str, rule: Mapping[str, Any]) -> RuleRow | None:
        """The rule in place of its version; None where that is not the version any more, or the name is taken."""
        values = {"id": rule_id, "version": version, "name": name, "rule": _json(rule)}
        return next(iter(await self._found(_REPLACE, values)), None)

    async def delete(self, rule_id: UUID, version: int | None = None) -> bool:
        """Whether there was one, of that version where one is given."""
        sql = "DELETE FROM alert_rules WHERE id = %s AND (%s::bigint IS NULL OR version = %s) RETURNING id"
        return bool(await self._rows(sql, [rule_id, version, version]))

    # Alerts

    async def alerts(
        self,
        rule: UUID | None,
        symbol: str | None,
        state: str | None,
        limit: int,
        beyond: tuple[int, UUID] | None = None,
    ) -> list[dict[str, Any]]:
        """The newest `limit` alerts, newest first; times in epoch microseconds. After a place, `created_us` and id."""
        created, last = (None, None) if beyond is None else (to_time(beyond[0]), beyond[1])
        values = {"rule": rule, "symbol": symbol, "state": state, "limit": limit, "beyond": created, "id": last}
        return await self._rows(_ALERTS, values)

    async def deliveries(self, alerts: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
        """The newest messages of each alert with their receipts, oldest first."""
        found: dict[UUID, list[dict[str, Any]]] = {alert: [] for alert in alerts}
        for row in await self._rows(_DELIVERIES, {"alerts": list(alerts), "most": MOST_DELIVERIES}):
            found[row.pop("alert_id")].append(row)
        return found

    async def acknowledge(self, alert_id: UUID, who: str) -> dict[str, Any] | None:
        """The alert, acknowledged by whoever was first; None where there is no such alert."""
        return next(iter(await self._rows(_ACKNOWLEDGE, {"id": alert_id, "who": who})), None)

    # The past

    async def bars(
        self, interval: str, symbols: Sequence[str] | None, start_us: int, end_us: int, limit: int
    ) -> list[dict[str, Any]]:
        """The first `limit` bars that start in the range, by start and symbol; amounts as doubles."""
        values = {"interval": interval, "symbols": None if symbols is None else list(symbols), "limit": limit}
        return await self._rows(FIRST_BARS, values | {"start": to_time(start_us), "end": to_time(end_us)})

    async def before(self, interval: str, firsts: Sequence[tuple[str, int]], count: int) -> list[dict[str, Any]]:
        """The last `count` bars of each symbol before its moment, by symbol and start."""
        symbols, moments = [symbol for symbol, _ in firsts], [to_time(us) for _, us in firsts]
        return await self._rows(HISTORY, {"interval": interval, "symbols": symbols, "before": moments, "count": count})

    async def findings(
        self, interval: str, symbols: Sequence[str] | None, start_us: int, end_us: int, limit: int
    ) -> list[dict[str, Any]]:
        """The first `limit` findings of bars that start in the range, oldest first."""
        values = {"interval": interval, "symbols": None if symbols is None else list(symbols), "limit": limit}
        return await self._rows(_FINDINGS, values | {"start": to_time(start_us), "end": to_time(end_us)})

    async def _found(self, sql: str, values: Sequence[object] | Mapping[str, object]) -> list[RuleRow]:
        return [RuleRow(**row) for row in await self._rows(sql, values)]


def _json(rule: Mapping[str, Any]) -> str:
    return msgspec.json.encode(rule).decode()
