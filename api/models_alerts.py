"""The answers on alerts, as published in OpenAPI, and what may be asked for."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from alerts.rules import Rule
from api.models import Answer, Time
from api.params import DEFAULT_LIMIT, MAX_LIMIT, Cursor
from api.params import Time as TimeParam
from core.validate import SYMBOL_PATTERN

MAX_ALERTS = 1000
DAY_HOURS = 24
_ID = "0b8d7d5e-9a52-4d0e-a2f9-3ff6c1f2a7f1"
Severity = Literal["info", "warning", "critical"]
AlertState = Literal["firing", "resolved"]


class RulesQuery(BaseModel):
    """How many rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="how many rules at most")
    cursor: Cursor = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What a cursor is bound to."""
        return ("alert rules",)


class AlertsQuery(BaseModel):
    """Which alerts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: UUID | None = Field(None, description="id of a rule; missing: all")
    symbol: str | None = Field(
        None, pattern=f"^{SYMBOL_PATTERN}$", description="missing: all; `*`: the system as a whole", examples=["AAPL"]
    )
    state: AlertState | None = Field(None, description="missing: all")
    limit: int = Field(100, ge=1, le=MAX_ALERTS, description="how many alerts at most, newest first")
    cursor: Cursor = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What a cursor is bound to. What fires now may be over on the next page: it is left out there."""
        return ("alerts", self.rule, self.symbol, self.state)


def _as_text(value: Any) -> Any:
    """JSON has numbers where a query has text: they mean the same."""
    return str(value) if isinstance(value, int | float) else value


# The validator that is named last comes first.
BodyTime = Annotated[TimeParam, BeforeValidator(_as_text)]


class TrialRequest(BaseModel):
    """A rule, and the past that it is tried on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Rule
    start: BodyTime | None = Field(None, description="first moment, as in `bars`; missing: a day before `end`")
    end: BodyTime | None = Field(None, description="moment after the last; missing, or later than that: now")


class PastAlert(Answer):
    """An alert that would have been."""

    symbol: str
    since: Time = Field(description="start of the bar with which it last began")
    until: Time | None = Field(description="null: it lasts at the end of the range")
    severity: Severity
    crossings: int = Field(description="how often the condition began to hold")
    low: float | None = Field(description="least value while it held")
    high: float | None
    messages: int


class TrialAnswer(Answer):
    """What a rule would have done."""

    start: Time
    end: Time
    tried: bool
    why: str = Field(description="why it could not be tried; empty where it was")
    bars: int = Field(description="final bars that were judged")
    symbols: int
    truncated: bool = Field(description="there is more in the range than was tried; what is missing is at its end")
    fired: int = Field(description="how often the condition began to hold", examples=[17])
    messages: int = Field(description="how many messages that would have been, with cooldown and pauses", examples=[3])
    kinds: dict[str, int] = Field(
        description="messages by kind", examples=[{"firing": 1, "reminder": 1, "resolved": 1}]
    )
    alerts: list[PastAlert] = Field(description="the first 100")


class RuleAnswer(Answer):
    """A rule that is kept."""

    id: str = Field(examples=[_ID])
    version: int = Field(description="grows with each change; the `ETag`", examples=[1])
    created_at: Time
    updated_at: Time
    rule: Rule


class RuleKept(RuleAnswer):
    """A rule that was made or changed, and what it would have done in the last 24 hours."""

    trial: TrialAnswer


class RulesAnswer(Answer):
    """The rules, by name."""

    truncated: bool = Field(description="there are more than `limit`")
    next: str | None = Field(description="cursor of the page after this one; null where this is the last")
    rules: list[RuleAnswer]


class DeliveryModel(Answer):
    """A message to a target, and how it fared."""

    message_id: str = Field(examples=[_ID])
    target: str = Field(description="its name; URLs are shown nowhere", examples=["ops"])
    kind: str = Field(
        description="`firing`, `worse` (the severity rose), `reminder`, `resolved`, `passed` (over before anybody could"
        " be told) or `withdrawn` (the rule was changed)",
        examples=["firing"],
    )
    severity: Severity
    crossings: int = Field(description="how often the condition began to hold since the message before")
    title: str
    state: Literal["pending", "sending", "sent", "failed", "dry_run"]
    attempts: int = Field(examples=[1])
    detail: str = Field(description="what was wrong with the last attempt; empty for nothing")
    digest_id: str | None = Field(description="shared by what went out as one message", examples=[_ID])
    decided_at: Time
    sent_at: Time | None
    next_at: Time | None = Field(description="when it is tried again; null where it is not waiting")


class AlertModel(Answer):
    """An alert: from its first firing until the condition has been over for a while."""

    id: str = Field(examples=[_ID])
    rule_id: str = Field(examples=[_ID])
    rule: str = Field(description="name of the rule when it fired", examples=["BTC overbought"])
    symbol: str = Field(description="`*`: the system as a whole")
    interval: str
    severity: Severity = Field(description="the greatest so far")
    state: AlertState
    since: Time = Field(description="start of the bar with which it last began")
    until: Time | None
    crossings: int = Field(description="how often the condition began to hold", examples=[1])
    messages: int = Field(examples=[1])
    value: float | None = Field(description="the newest value", examples=[71.2])
    threshold: float | None = Field(examples=[70.0])
    lowest: float | None = Field(description="least value while it held", examples=[70.1])
    highest: float | None = Field(examples=[74.9])
    text: str = Field(examples=["rsi:14 > 70 on 1m bars"])
    created_at: Time
    updated_at: Time
    acknowledged_at: Time | None
    acknowledged_by: str | None
    deliveries: list[DeliveryModel] = Field(description="the newest 50 messages, oldest first")


class AlertsAnswer(Answer):
    """Alerts, newest first."""

    truncated: bool = Field(description="there are more than `limit`")
    next: str | None = Field(description="cursor of the page after this one; null where this is the last")
    alerts: list[AlertModel]
