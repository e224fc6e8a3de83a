"""`/api/v1/alerts`: rules that are made, changed and tried on the past; alerts with the receipts of their messages."""

import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from alerts.rules import Rule, as_it_counts
from alerts.trials import Trial, tried
from api.cursor import Place, write_cursor
from api.errors import InvalidParameter, Stated
from api.models import REFUSED, Problem
from api.models_alerts import (
    DAY_HOURS,
    AlertModel,
    AlertsAnswer,
    AlertsQuery,
    RuleAnswer,
    RuleKept,
    RulesAnswer,
    RulesQuery,
    TrialAnswer,
    TrialRequest,
)
from api.paging import place_at
from api.params import Configured, Now, Services
from api.render import Json, time_text
from api.security.principal import CALLER, Caller
from api.times import format_time
from core.intervals import MINUTE_US
from stores.alert_rules import AlertReads, RuleRow

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])
RULES = "/api/v1/alerts/rules"
DAY_US = DAY_HOURS * 60 * MINUTE_US
SHOWN_ALERTS = 100
_VERSION = re.compile(r'(?:W/)?"(\d{1,18})"', re.ASCII)


def _problem(text: str) -> dict[str, Any]:
    return {"model": Problem, "description": text, "content": {"application/problem+json": {}}}


Responses = dict[int | str, dict[str, Any]]
NO_RULE = REFUSED | {404: _problem("There is no such rule")}
TAKEN: Responses = {409: _problem("Another rule has this name")}
STALE: Responses = {
    412: _problem("The rule was changed since: read it again"),
    428: _problem("`If-Match` is missing: send the `ETag` of the rule that you have read"),
}
_VERSIONED = {"ETag": {"description": "the version", "schema": {"type": "string"}}}
_PLACED = _VERSIONED | {"Location": {"description": "of the rule", "schema": {"type": "string"}}}
MADE: Responses = {201: {"headers": _PLACED}}
HELD: Responses = {200: {"headers": _VERSIONED}}


async def _reads(request: Request) -> AlertReads:
    services: Services = request.app.state.services
    return services.alerts


Alerts = Annotated[AlertReads, Depends(_reads)]
IfMatch = Annotated[str | None, Header(description="the `ETag` of the rule as it was read, or `*`")]


@router.get("/rules", response_model=RulesAnswer, responses=REFUSED)
async def rules(query: Annotated[RulesQuery, Query()], alerts: Alerts) -> Json:
    """The rules, by name."""
    place = None if query.cursor is None else place_at(query.cursor, query.identity)
    found = await alerts.rules(query.limit + 1, "" if place is None else place.identity)
    shown = found[: query.limit]
    more = len(found) > len(shown)
    beyond = write_cursor(Place("newer", 0, identity=shown[-1].rule["name"]), query.identity) if more else None
    return Json({"truncated": more, "next": beyond, "rules": [_rule_json(row) for row in shown]})


@router.post("/rules", status_code=201, response_model=RuleKept, responses=MADE | REFUSED | TAKEN)
async def create(rule: Rule, alerts: Alerts, settings: Configured, clock: Now) -> Json:
    """Keep a new rule; it is followed within about a second.

    It is tried on the last 24 hours first, and the answer says when it would have fired and with how many messages.
    """
    now_us = clock.now_us()
    trial = await tried(rule, alerts, now_us - DAY_US, now_us, settings.calendar)
    row = await alerts.create(rule.name, rule.model_dump(mode="json"))
    if row is None:
        raise _taken(rule.name)
    headers = {"Location": f"{RULES}/{row.id}", "ETag": _etag(row)}
    return Json(_rule_json(row) | {"trial": _trial_json(trial)}, status_code=201, headers=headers)


@router.post("/rules/test", response_model=TrialAnswer, responses=REFUSED)
async def test(request: TrialRequest, alerts: Alerts, settings: Configured, clock: Now) -> Json:
    """Try a rule on the past; nothing is kept.

    Each bar is judged at its end, as it would have been if it had been final in that moment. Rules on the system's
    health cannot be tried.
    """
    now_us = clock.now_us()
    end_us = now_us if request.end is None else min(request.end, now_us)
    start_us = max(0, end_us - DAY_US) if request.start is None else request.start
    if end_us < start_us:
        raise InvalidParameter("end", "end, which is now at the latest, is before start", format_time(end_us))
    return Json(_trial_json(await tried(request.rule, alerts, start_us, end_us, settings.calendar)))


@router.get("/rules/{rule_id}", response_model=RuleAnswer, responses=HELD | NO_RULE)
async def one(rule_id: UUID, alerts: Alerts) -> Json:
    """A rule; its `ETag` is what a change has to name."""
    row = await alerts.rule(rule_id)
    if row is None:
        raise _unknown(rule_id)
    return Json(_rule_json(row), headers={"ETag": _etag(row)})


@router.put("/rules/{rule_id}", response_model=RuleKept, responses=HELD | NO_RULE | TAKEN | STALE)
async def replace(
    rule_id: UUID, rule: Rule, alerts: Alerts, settings: Configured, clock: Now, if_match: IfMatch = None
) -> Json:
    """Put a rule in the place of another version of it, which `If-Match` has to name.

    Where it watches something else than before, what fires is withdrawn and it begins anew; otherwise it goes on.
    """
    now_us = clock.now_us()
    trial = await tried(rule, alerts, now_us - DAY_US, now_us, settings.calendar)
    held = await alerts.rule(rule_id)
    if held is None:
        raise _unknown(rule_id)
    version = _wanted(if_match, held)
    row = await alerts.replace(rule_id, version, rule.name, rule.model_dump(mode="json"))
    if row is None:
        raise await _why_not(alerts, rule_id, version, rule.name)
    return Json(_rule_json(row) | {"trial": _trial_json(trial)}, headers={"ETag": _etag(row)})


@router.delete("/rules/{rule_id}", status_code=204, responses=NO_RULE | {412: STALE[412]})
async def delete(rule_id: UUID, alerts: Alerts, if_match: IfMatch = None) -> Response:
    """End a rule; what fires is withdrawn, and its alerts stay. With `If-Match`, only that version."""
    held = await alerts.rule(rule_id)
    if held is None:
        raise _unknown(rule_id)
    version = None if if_match is None else _wanted(if_match, held)
    if not await alerts.delete(rule_id, version):
        raise _stale()
    return Response(status_code=204)


@router.get("", response_model=AlertsAnswer, responses=REFUSED)
async def alerts_list(query: Annotated[AlertsQuery, Query()], alerts: Alerts) -> Json:
    """Alerts that fire and that were, newest first, each with its messages and their receipts.

    Newest is who began last; a page shows each as it stands when it is asked for.
    """
    found = await alerts.alerts(query.rule, query.symbol, query.state, query.limit + 1, _alerts_place(query))
    shown, more = found[: query.limit], len(found) > query.limit
    beyond = None
    if more:
        last = shown[-1]
        beyond = write_cursor(Place("older", last["created_us"], identity=str(last["id"])), query.identity)
    deliveries = await alerts.deliveries([row["id"] for row in shown])
    rows = [_alert_json(row, deliveries[row["id"]]) for row in shown]
    return Json({"truncated": more, "next": beyond, "alerts": rows})


@router.post(
    "/{alert_id}/acknowledge",
    response_model=AlertModel,
    responses=REFUSED | {404: _problem("There is no such alert")},
)
async def acknowledge(alert_id: UUID, request: Request, alerts: Alerts) -> Json:
    """Somebody looks after it: no more reminders; its end is still told. Once more changes nothing."""
    caller: Caller = request.scope[CALLER]
    row = await alerts.acknowledge(alert_id, caller.principal.id)
    if row is None:
        raise Stated(404, "unknown-alert", f"no alert {alert_id}; GET /api/v1/alerts lists those there are")
    return Json(_alert_json(row, (await alerts.deliveries([alert_id]))[alert_id]))


def _alerts_place(query: AlertsQuery) -> tuple[int, UUID] | None:
    """Raises InvalidParameter for a cursor that does not fit."""
    if query.cursor is None:
        return None
    place = place_at(query.cursor, query.identity)
    try:
        return place.us, UUID(place.identity)
    except ValueError:  # made by somebody else
        raise InvalidParameter("cursor", "not a cursor: take `next` of an answer as it is", query.cursor) from None


def _unknown(rule_id: UUID) -> Stated:
    return Stated(404, "unknown-rule", f"no rule {rule_id}; GET {RULES} lists those there are")


def _taken(name: str) -> Stated:
    return Stated(409, "name-taken", f"another rule is named {name!r}")


def _stale() -> Stated:
    return Stated(412, "stale", "the rule was changed since; read it again, and send its ETag as If-Match")


def _wanted(if_match: str | None, held: RuleRow) -> int:
    """The version that a change may replace. Raises Stated where it is not the one there is."""
    if if_match is None:
        raise Stated(428, "precondition-required", "send the ETag of the rule as If-Match, so that no change is lost")
    if if_match.strip() == "*":
        return held.version
    named = {int(match[1]) for match in _VERSION.finditer(if_match)}
    if held.version not in named:
        raise _stale()
    return held.version


async def _why_not(alerts: AlertReads, rule_id: UUID, version: int, name: str) -> Stated:
    held = await alerts.rule(rule_id)
    if held is None:
        return _unknown(rule_id)
    return _taken(name) if held.version == version else _stale()


def _etag(row: RuleRow) -> str:
    return f'"{row.version}"'


def _rule_json(row: RuleRow) -> dict[str, Any]:
    times = {"created_at": time_text(row.created_us), "updated_at": time_text(row.updated_us)}
    return {"id": str(row.id), "version": row.version} | times | {"rule": as_it_counts(row.rule)}


def _trial_json(trial: Trial) -> dict[str, Any]:
    alerts = [
        {"symbol": past.symbol, "since": time_text(past.since_us), "until": time_text(past.until_us)}
        | {name: getattr(past, name) for name in ("severity", "crossings", "low", "high", "messages")}
        for past in trial.alerts[:SHOWN_ALERTS]
    ]
    return {
        "start": time_text(trial.start_us),
        "end": time_text(trial.end_us),
        "tried": not trial.untried,
        "why": trial.untried,
        "bars": trial.bars,
        "symbols": trial.symbols,
        "truncated": trial.truncated,
        "fired": trial.crossings,
        "messages": sum(trial.messages.values()),
        "kinds": trial.messages,
        "alerts": alerts,
    }


def _alert_json(row: dict[str, Any], deliveries: list[dict[str, Any]]) -> dict[str, Any]:
    same = ("symbol", "interval", "severity", "state", "crossings", "messages", "value", "threshold", "lowest",
            "highest", "text", "acknowledged_by")  # fmt: skip
    named = {"id": str(row["id"]), "rule_id": str(row["rule_id"]), "rule": row["rule_name"]}
    times = {"since": time_text(row["since_us"]), "until": time_text(row["until_us"])}
    times |= {f"{name}_at": time_text(row[f"{name}_us"]) for name in ("created", "updated", "acknowledged")}
    told = [_delivery_json(each) for each in deliveries]
    return named | {name: row[name] for name in same} | times | {"deliveries": told}


def _delivery_json(row: dict[str, Any]) -> dict[str, Any]:
    same = ("target", "kind", "severity", "crossings", "title", "state", "attempts", "detail")
    ids = {name: None if row[name] is None else str(row[name]) for name in ("message_id", "digest_id")}
    times = {f"{name}_at": time_text(row[f"{name}_us"]) for name in ("decided", "sent", "next")}
    return ids | {name: row[name] for name in same} | times
