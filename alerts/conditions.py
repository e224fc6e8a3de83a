"""The conditions that a rule may have, as people write them. Whatever is compared on bars becomes one `Comparison`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from alerts.expressions import Comparison, Operand, parse_expression
from core.errors import InputError
from core.indicators import parse

Severity = Literal["info", "warning", "critical"]
RANKS: dict[str, int] = {"info": 0, "warning": 1, "critical": 2}
Store = Literal["timescale", "redis", "kafka", "influx"]
Check = Literal["store_down", "feed_silent", "bars_late", "dead_letters"]
_OPERATORS = {"above": ">", "below": "<"}


class Strict(BaseModel):
    """No field that is not named; no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Numeric(Strict):
    """A comparison of numbers."""

    hysteresis: float = Field(
        0.0, ge=0, description="how far the value has to go back before the condition counts as over, in its own units"
    )


class PriceCondition(Numeric):
    """A price against a level."""

    kind: Literal["price"]
    field: Literal["open", "high", "low", "close"] = "close"
    when: Literal["above", "below", "crosses", "crosses_above", "crosses_below"]
    level: float = Field(gt=0, examples=[70000.0])

    def comparison(self) -> Comparison:
        operator = _OPERATORS.get(self.when, self.when)
        level = Operand(f"{self.level:.12g}", number=self.level)
        return Comparison(Operand(self.field, self.field), operator, level, self.hysteresis)  # type: ignore[arg-type]


class MoveCondition(Numeric):
    """The close against that of some bars ago."""

    kind: Literal["move"]
    percent: float = Field(gt=0, le=1000, examples=[5.0])
    bars: int = Field(5, ge=1, le=5000, description="how many bars back")
    direction: Literal["any", "up", "down"] = "any"

    def comparison(self) -> Comparison:
        indicator = parse(f"roc:{self.bars}")
        moved = Operand(indicator.spec, f"roc_{self.bars}", indicator=indicator)
        least = -self.percent if self.direction == "down" else self.percent
        limit = Operand(f"{least:.12g}", number=least)
        operator: Literal["<=", ">="] = "<=" if self.direction == "down" else ">="
        return Comparison(moved, operator, limit, self.hysteresis, size=self.direction == "any")


class IndicatorCondition(Numeric):
    """An indicator or a field of the bar against a number or another one."""

    kind: Literal["indicator"]
    expression: str = Field(
        min_length=5,
        max_length=200,
        description="two operands and `>`, `>=`, `<`, `<=`, `crosses`, `crosses_above` or `crosses_below` between them;"
        " an operand is a number, a field of the bar, or an indicator with an output where it has several:"
        " `bbands:20,2.upper`",
        examples=["rsi:14 > 70", "close crosses_below sma:200"],
    )

    @field_validator("expression")
    @classmethod
    def _can_be_read(cls, text: str) -> str:
        try:
            parse_expression(text)
        except InputError as error:
            raise ValueError(str(error)) from None
        return text

    def comparison(self) -> Comparison:
        return parse_expression(self.expression, self.hysteresis)


class AnomalyCondition(Strict):
    """Findings of the anomaly detectors: it holds while any of those that are meant is firing."""

    kind: Literal["anomaly"]
    rules: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        default_factory=list, max_length=50, description="names of detectors; empty: all", examples=[["price_move"]]
    )
    least: Severity = Field("info", description="the least severity of a finding that counts")


class HealthCondition(Strict):
    """How the pipeline fares. Of the system as a whole; `feed_silent` of each symbol where the rule names symbols."""

    kind: Literal["health"]
    check: Check = Field(
        description="`store_down`: a store has not answered for `seconds`; `feed_silent`: no tick was received for"
        " `seconds`; `bars_late`: the newest final bar ended `seconds` ago; `dead_letters`: more than `count` records"
        " were refused in the last `seconds`"
    )
    store: Store | None = Field(None, description="of `store_down`")
    seconds: float = Field(60.0, ge=1, le=86_400)
    count: int = Field(0, ge=0, description="of `dead_letters`")

    @model_validator(mode="after")
    def _names_a_store(self) -> "HealthCondition":
        if (self.check == "store_down") != (self.store is not None):
            raise ValueError("`store` goes with the check `store_down`, and with no other")
        return self


BarCondition = PriceCondition | MoveCondition | IndicatorCondition
Condition = Annotated[
    PriceCondition | MoveCondition | IndicatorCondition | AnomalyCondition | HealthCondition,
    Field(discriminator="kind"),
]
