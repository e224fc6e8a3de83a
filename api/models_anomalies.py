"""The answers on anomalies, as published in OpenAPI."""

from typing import Literal

from pydantic import Field

from api.models import Answer, NextCursor, Time

RuleState = Literal["firing", "resolved"]
SeverityName = Literal["info", "warning", "critical"]


class Anomaly(Answer):
    """A rule that begins to fire with a bar, grows more severe while it does, or is over."""

    symbol: str
    interval: str
    start: Time = Field(description="of the bar")
    end: Time
    rev: int = Field(description="revision of the bar; 0: there is no bar, since nobody traded")
    rule: str = Field(examples=["price_move"])
    severity: SeverityName = Field(description="the worst since it began to fire", examples=["warning"])
    state: RuleState = Field(description="`resolved`: over with this bar", examples=["firing"])
    value: float = Field(description="what was compared, in the unit of the rule", examples=[-5.4])
    threshold: float = Field(examples=[5.0])
    score: float = Field(description="how far the value is from the usual; 1 at the threshold", examples=[1.08])
    since: Time = Field(description="start of the bar with which it began to fire")
    text: str = Field(
        description="in words, with the numbers",
        examples=["AAPL 1m closed at 187.30, 5.4 % below the bar before: more than 5 %"],
    )


class AnomaliesAnswer(Answer):
    """Findings of the rules, the newest bar first, those of one bar by symbol, interval and rule."""

    start: Time | None
    end: Time | None
    truncated: bool = Field(description="there are more than `limit`")
    next: NextCursor
    anomalies: list[Anomaly]


class AnomalyRule(Answer):
    """What a rule looks at, and from when it fires."""

    rule: str = Field(examples=["price_move"])
    means: str = Field(examples=["the close moved by more than so many percent from the bar before"])
    threshold: float = Field(description="as it is set", examples=[5.0])
    setting: str = Field(description="what sets the threshold", examples=["TICKSTREAM_ANOMALY_MOVE_PERCENT"])
    release: float = Field(description="the value at which it is over", examples=[4.5])
    warning: float | None = Field(description="the value from which it is a warning; null: never", examples=[7.5])
    critical: float | None = Field(description="the value from which it is critical; null: never", examples=[10.0])
    intervals: list[str] = Field(description="whose bars are judged", examples=[["1m", "5m", "15m"]])


class AnomalyRulesAnswer(Answer):
    """Every rule."""

    rules: list[AnomalyRule]
