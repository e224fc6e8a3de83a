"""`/api/v1/anomalies`: what the rules found in final bars, and the rules."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from api.cursor import Place, write_cursor
from api.models import PROBLEMS, REFUSED
from api.models_anomalies import AnomaliesAnswer, AnomalyRulesAnswer, RuleState, SeverityName
from api.paging import place_at
from api.params import DEFAULT_LIMIT, Configured, Cursor, Found, IntervalName, NoParams
from api.params import Time as TimeParam
from api.render import Json, time_text
from api.times import MAX_TIME_US, format_time
from conf.settings import Settings, variable
from core.anomalies import RULES, SEVERITIES, Limits, Rule
from core.validate import SYMBOL_PATTERN
from stores.anomalies import Asked

router = APIRouter(prefix="/api/v1/anomalies", tags=["anomalies"])
MAX_ROWS = 5_000
_FILTERS = ("symbol", "interval", "rule", "severity", "state", "start", "end")


def _known_rule(name: str) -> str:
    if name not in RULES:
        raise PydanticCustomError("unknown_rule", "unknown rule; known: {expected}", {"expected": ", ".join(RULES)})
    return name


RuleName = Annotated[str, AfterValidator(_known_rule), WithJsonSchema({"type": "string", "enum": list(RULES)})]


class AnomaliesQuery(BaseModel):
    """Which findings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str | None = Field(None, pattern=f"^{SYMBOL_PATTERN}$", description="missing: all", examples=["AAPL"])
    interval: IntervalName | None = Field(None, description="missing: all")
    rule: RuleName | None = Field(None, description="missing: all; `/api/v1/anomalies/rules` explains them")
    severity: SeverityName | None = Field(None, description="missing: all")
    state: RuleState | None = Field(None, description="missing: both")
    start: TimeParam | None = Field(None, description="first moment at which a bar may start; missing: open")
    end: TimeParam | None = Field(None, description="moment after the last; missing: open")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_ROWS, description="how many at most, newest first")
    cursor: Cursor = None

    @field_validator("end")
    @classmethod
    def _not_before_start(cls, end: int | None, info: ValidationInfo) -> int | None:
        start = info.data.get("start")
        if start is not None and end is not None and end < start:
            raise PydanticCustomError("before_start", "end is before start", {"ge": format_time(start)})
        return end

    @property
    def identity(self) -> tuple[object, ...]:
        """What a cursor is bound to."""
        return ("anomalies", *(getattr(self, name) for name in _FILTERS))

    @property
    def asked(self) -> Asked:
        chosen = {name: getattr(self, name) for name in _FILTERS[:5]}
        return Asked(**chosen, start_us=self.start or 0, end_us=MAX_TIME_US if self.end is None else self.end)


# More special than what may come below it, and first.
@router.get("/rules", response_model=AnomalyRulesAnswer, responses={422: PROBLEMS[422]})
async def anomaly_rules(_: NoParams, settings: Configured) -> Json:
    """Every rule with its threshold as it is set."""
    limits = Limits.of(settings, "anomaly_")
    return Json({"rules": [_rule_json(rule, limits, settings) for rule in RULES.values()]})


@router.get("", response_model=AnomaliesAnswer, responses=REFUSED)
async def anomalies(query: Annotated[AnomaliesQuery, Query()], found: Found) -> Json:
    """Findings of the rules, newest bar first.

    Each says in words what was found and from which bar. A finding changes only where its bar is amended.
    """
    rows = await found.newest(query.asked, query.limit + 1, _place(query))
    shown, more = rows[: query.limit], len(rows) > query.limit
    beyond = write_cursor(_place_of(shown[-1]), query.identity) if more else None
    said = {"start": time_text(query.start), "end": time_text(query.end), "truncated": more, "next": beyond}
    return Json({**said, "anomalies": [_finding_json(row) for row in shown]})


def _place(query: AnomaliesQuery) -> tuple[int, str] | None:
    """Raises InvalidParameter for a cursor that does not fit."""
    if query.cursor is None:
        return None
    place = place_at(query.cursor, query.identity)
    return place.us, place.identity


def _place_of(row: Mapping[str, Any]) -> Place:
    return Place("older", row["start"], identity=f"{row['symbol']}|{row['interval']}|{row['rule']}")


def _finding_json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, **{name: time_text(row[name]) for name in ("start", "end", "since")}}


def _rule_json(rule: Rule, limits: Limits, settings: Settings) -> dict[str, Any]:
    judged = settings.anomaly_bar_intervals
    shortest = min((each.us for each in judged), default=0)
    worst = SEVERITIES.index(rule.worst)
    return {
        "rule": rule.name,
        "means": rule.means,
        "threshold": rule.threshold(limits),
        "setting": variable(f"anomaly_{rule.limit}"),
        "release": rule.at(limits.release, limits),
        "warning": rule.at(limits.warning, limits) if worst >= 1 else None,
        "critical": rule.at(limits.critical, limits) if worst >= 2 else None,
        "intervals": [each.name for each in judged if each.us == shortest or not rule.shortest_only],
    }
