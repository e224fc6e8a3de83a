"""One stretch of the alerter's work: steps from the stored state on, each one transaction, until something fails."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from alerts.direct import on_database
from alerts.engine import Changes, Engine, Held, Key, Told
from alerts.feeding import Feed
from alerts.messages import message
from alerts.rules import Rule, stored_rule
from alerts.states import State
from alerts.targets import route
from alerts.values import ClosedBar, closed
from core.errors import InputError
from core.intervals import SECOND_US
from stores.alerts import AlertStore, Step

if TYPE_CHECKING:
    from alerts.server import Server

WAIT_SECONDS = 0.5
LOOK_SECONDS = 1.0
TIDY_SECONDS = 3600.0
LATE_SECONDS = 60.0
LONGEST_HOLD_SECONDS = 60.0
LEAST_HOLD_SECONDS = 60.0
"""An attempt of which nobody knows how it ended is not repeated before that."""
_state = msgspec.json.Encoder()
_log = structlog.get_logger("alerts")


class Session:
    """One stretch of work over one connection and one consumer."""

    def __init__(self, server: "Server", store: AlertStore, feed: Feed) -> None:
        self._server = server
        self._store = store
        self._feed = feed
        self._engine = Engine(self._history, server.settings.calendar)
        self._versions: dict[str, int] = {}
        self._acknowledged: frozenset[str] = frozenset()
        self._looked_at = self._tidied_at = float("-inf")
        self._held_since: float | None = None
        self._behind_late = True

    def run(self) -> None:
        self._restore()
        _log.info("alerts decide", rules=len(self._engine.rules), targets=[each.name for each in self._server.targets])
        while not self._server.stopping:
            self._step()

    def _step(self) -> None:
        late_us = int((LATE_SECONDS + self._server.settings.lateness_seconds) * SECOND_US)
        batch = self._feed.take(WAIT_SECONDS)
        now_us = self._server.now_us()
        self._look(now_us)
        self._engine.bars(batch.bars, now_us)
        self._engine.findings(batch.findings, now_us)
        symptoms = self._server.watch.latest()
        self._engine.symptoms(symptoms, now_us)
        self._server.direct.step(symptoms, now_us)
        ends = [bar.end for bar in batch.bars] + [finding.end for finding in batch.findings]
        if not self._holds_back(ends, now_us - late_us):
            self._engine.time(now_us, self._acknowledged.__contains__)
        self._write(batch.places)
        if self._feed.connected:
            self._server.follows()

    def _restore(self) -> None:
        stored = self._store.states()
        self._engine.restore({key: msgspec.convert(state, State) for key, (_, state) in stored.items()})
        self._use({key[0]: watched for key, (watched, _) in stored.items()}, self._server.now_us())
        self._look(self._server.now_us())

    def _look(self, now_us: int) -> None:
        """From time to time: other rules, acknowledgements?"""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if now - self._tidied_at > TIDY_SECONDS:
            self._tidied_at = now
            self._store.tidy(self._server.settings.retention_bars_days)
        self._acknowledged = self._store.acknowledged()
        if self._store.versions() != self._versions:
            self._use({}, now_us)

    def _use(self, watched: dict[str, str], now_us: int) -> None:
        rows = self._store.rules()
        self._versions = {row.id: row.version for row in rows}
        rules = {row.id: rule for row in rows if (rule := _readable(row.id, row.rule)) is not None}
        self._engine.use([Held(name, rule) for name, rule in rules.items() if not on_database(rule)], watched, now_us)
        self._server.direct.use(rules, now_us)
        self._server.watch.want(rule for rule in rules.values() if rule.enabled)

    def _holds_back(self, ends: Sequence[int], old_us: int) -> bool:
        """Whether a backlog is being read: nothing is told before its end, or for a minute at most."""
        if ends:
            self._behind_late = max(ends) < old_us
        if not (self._feed.behind and self._behind_late):
            self._held_since = None
            return False
        now = time.monotonic()
        self._held_since = now if self._held_since is None else self._held_since
        if now - self._held_since < LONGEST_HOLD_SECONDS:
            return True
        self._held_since = now
        return False

    def _write(self, places: dict[tuple[str, int], int]) -> None:
        changes = self._engine.changes()
        if changes or places:
            self._store.write(self._as_step(changes, places))
        self._server.went_well(len(changes.told))

    def _as_step(self, changes: Changes, places: dict[tuple[str, int], int]) -> Step:
        rules = self._engine.rules
        states = {
            key: None if state is None else (rules[key[0]].watched, _state.encode(state))
            for key, state in changes.states.items()
        }
        alerts = [_alert(key, rules[key[0]], state) for key, state in changes.states.items() if state and state.alert]
        return Step(
            places=places,
            states=states,
            alerts=alerts,
            closed=[{"id": alert} for alert in changes.closed],
            deliveries=[row for each in changes.told for row in self._deliveries(each)],
        )

    def _deliveries(self, told: Told) -> list[dict[str, Any]]:
        rule, notice = told.rule, told.notice
        made = message(rule, told.symbol, notice)
        names = [target.name for target in route(self._server.targets, rule.targets, notice.severity)]
        if not names:
            _log.info("nobody to tell", rule=rule.name, symbol=told.symbol, severity=notice.severity)
        common = {
            "message_id": notice.id,
            "alert_id": notice.alert,
            "kind": notice.kind,
            "severity": notice.severity,
            "crossings": notice.crossings,
            "title": made.title,
            "body": made.body,
            "hold_seconds": max(LEAST_HOLD_SECONDS, rule.cooldown_seconds),
        }
        return [{**common, "target": name} for name in names]

    def _history(self, interval: str, before: Sequence[tuple[str, int]], count: int) -> list[ClosedBar]:
        rows = self._store.history(interval, before, count)
        return [closed({"interval": interval} | row) for row in rows]


def _alert(key: Key, rule: Rule, state: State) -> dict[str, Any]:
    return {
        "id": state.alert,
        "rule_id": key[0],
        "rule_name": rule.name,
        "symbol": key[1],
        "interval": rule.interval,
        "severity": state.severity,
        "state": "firing" if state.phase == "firing" else "resolved",
        "since": state.since_us,
        "until": None if state.phase == "firing" else state.end_us,
        "crossings": state.crossings,
        "messages": state.messages,
        "value": state.value,
        "threshold": state.threshold,
        "low": state.low,
        "high": state.high,
        "text": state.text,
    }


def _readable(rule_id: str, data: dict[str, Any]) -> Rule | None:
    try:
        return stored_rule(data)
    except InputError as error:  # of a newer version, say
        _log.error("a rule that cannot be read is not followed", rule=rule_id, error=str(error))
        return None
