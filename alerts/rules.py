"""A rule: what is watched, of which symbols, and how it is told. Data, as the API and rule files have it."""

import functools
import hashlib
import itertools
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator

from alerts.conditions import BarCondition, Condition, HealthCondition, Severity, Strict
from alerts.expressions import Comparison
from alerts.states import Policy
from core.errors import InputError
from core.intervals import INTERVALS, SECOND_US
from core.validate import SYMBOL_PATTERN

EVERY: Final = "*"
"""All symbols; also the symbol of what is about the system as a whole."""
CALM_BARS = 3
HEALTH_CALM_US = 60 * SECOND_US
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONCE: Final = {
    "anomaly": "of anomalies it is 1: they tell when they begin and end, not each bar",
    "health": "of the system's health it is 1: it is looked at every few seconds, and `seconds` says how long",
}
"""Kinds of conditions that are not judged bar by bar, and what that means for `for_bars` and `resolve_bars`."""
_CLOCK = r"^([01]\d|2[0-3]):[0-5]\d$"
Seconds = Annotated[int, Field(ge=1, le=7 * 86_400)]
SymbolName = Annotated[str, Field(pattern=rf"^{SYMBOL_PATTERN}$")]
TargetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class QuietHours(Strict):
    """Hours of the day in which only critical messages pass; the rest is told in one message at their end."""

    start: str = Field(pattern=_CLOCK, examples=["22:00"])
    end: str = Field(pattern=_CLOCK, description="earlier than `start`: the next morning", examples=["07:00"])
    zone: str = Field("UTC", description="IANA time zone", examples=["Europe/Berlin"])

    @field_validator("zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("not a time zone of the IANA database, such as Europe/Berlin") from None
        return name

    def covers(self, now_us: int) -> bool:
        """Whether a moment (epoch us) is inside, by the clocks of the zone; an empty range is never."""
        local = (_EPOCH + timedelta(microseconds=now_us)).astimezone(_zone(self.zone)).time()
        start, end = _clock(self.start), _clock(self.end)
        if start <= end:
            return start <= local < end
        return local >= start or local < end


_EXAMPLE: dict[str, Any] = {
    "name": "BTC overbought",
    "symbols": ["BTC-USD"],
    "interval": "1m",
    "condition": {"kind": "indicator", "expression": "rsi:14 > 70", "hysteresis": 2.0},
    "severity": "warning",
    "quiet": {"start": "22:00", "end": "07:00", "zone": "Europe/Berlin"},
}


class Rule(Strict):
    """A rule as it is written down."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str = Field(min_length=1, max_length=80, pattern=r"^\S(.*\S)?$", examples=["BTC overbought"])
    enabled: bool = True
    symbols: list[SymbolName] | Literal["*"] = Field(EVERY, description="`*`: all", examples=[["BTC-USD"]])
    interval: Literal["1m", "5m", "15m"] = Field("1m", description="the bars, or the findings, that are watched")
    condition: Condition
    severity: Severity = Field("warning", description="of a finding of an anomaly, at least")
    targets: list[TargetName] = Field(
        default_factory=list, max_length=20, description="who is told; empty: every target that takes the severity"
    )
    for_bars: int = Field(
        1, ge=1, le=1000, description="how many bars in a row it has to hold before it fires; 1 unless it is of bars"
    )
    resolve_bars: int = Field(1, ge=1, le=1000, description="and how many it must not, before it is resolved")
    cooldown_seconds: int = Field(300, ge=0, le=86_400, description="least time between two messages of a symbol")
    escalation_seconds: list[Seconds] = Field(
        default=[300, 900, 3600, 14_400],
        max_length=10,
        description="pauses between reminders while it lasts and nobody acknowledges, each longer than the one before;"
        " the last one repeats; empty: no reminders",
    )
    quiet: QuietHours | None = None
    notify_resolved: bool = True

    @field_validator("symbols")
    @classmethod
    def _some(cls, symbols: list[str] | str) -> list[str] | str:
        if symbols != EVERY and not 1 <= len(symbols) <= 500:
            raise ValueError('between 1 and 500 symbols, or "*"')
        return symbols if isinstance(symbols, str) else list(dict.fromkeys(symbols))

    @field_validator("for_bars", "resolve_bars")
    @classmethod
    def _of_bars(cls, count: int, info: ValidationInfo) -> int:
        condition: Condition | None = info.data.get("condition")
        if count > 1 and condition is not None and condition.kind in _ONCE:
            raise ValueError(_ONCE[condition.kind])
        return count

    @field_validator("escalation_seconds")
    @classmethod
    def _widening(cls, pauses: list[int]) -> list[int]:
        if any(later <= earlier for earlier, later in itertools.pairwise(pauses)):
            raise ValueError("each pause has to be longer than the one before")
        return pauses

    @model_validator(mode="after")
    def _can_fire(self) -> "Rule":
        if self.for_bars > 1 and self.comparison is not None and self.comparison.crossing:
            raise ValueError("a crossing is of one bar: it cannot hold for several (`for_bars`)")
        system = isinstance(self.condition, HealthCondition) and self.condition.check != "feed_silent"
        if system and self.symbols != EVERY:
            raise ValueError("this check is of the system as a whole: leave `symbols` out")
        return self

    def about(self, symbol: str) -> bool:
        return self.symbols == EVERY or symbol in self._symbols

    def quiet_at(self, now_us: int) -> bool:
        return self.quiet is not None and self.quiet.covers(now_us)

    @functools.cached_property
    def watched(self) -> str:
        """What tells two rules apart that watch different things, however they tell about it."""
        fields = self.model_dump_json(include={"symbols", "interval", "condition", "for_bars", "resolve_bars"})
        return hashlib.sha256(fields.encode()).hexdigest()[:16]

    @functools.cached_property
    def comparison(self) -> Comparison | None:
        """What is compared on each bar; None for what is not about bars."""
        return self.condition.comparison() if isinstance(self.condition, BarCondition) else None

    @functools.cached_property
    def policy(self) -> Policy:
        health = isinstance(self.condition, HealthCondition)
        calm = HEALTH_CALM_US if health else CALM_BARS * INTERVALS[self.interval].us
        return Policy(
            for_bars=self.for_bars,
            resolve_bars=self.resolve_bars,
            cooldown_us=self.cooldown_seconds * SECOND_US,
            escalation_us=tuple(pause * SECOND_US for pause in self.escalation_seconds),
            calm_us=max(calm, self.cooldown_seconds * SECOND_US),
            notify_resolved=self.notify_resolved and not (self.comparison is not None and self.comparison.crossing),
        )

    @functools.cached_property
    def _symbols(self) -> frozenset[str]:
        return frozenset(self.symbols)


_rule: TypeAdapter[Rule] = TypeAdapter(Rule)


def parse_rule(data: Any) -> Rule:
    """A rule from data as JSON or YAML give it. Raises InputError with a line for each thing that is wrong."""
    try:
        return _rule.validate_python(data)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in each['loc']) or 'rule'}: {each['msg']}" for each in error.errors()]
        raise InputError("; ".join(lines)) from None


def stored_rule(data: dict[str, Any]) -> Rule:
    """A rule as it was stored and as it counts. Raises InputError as `parse_rule` does."""
    return parse_rule(as_it_counts(data))


def as_it_counts(data: dict[str, Any]) -> dict[str, Any]:
    """The data of a stored rule, `for_bars` and `resolve_bars` as 1 unless it is of bars: once they could be more."""
    condition = data.get("condition")
    if isinstance(condition, dict) and condition.get("kind") in _ONCE:
        return data | {"for_bars": 1, "resolve_bars": 1}
    return data


@functools.lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _clock(text: str) -> time:
    return time.fromisoformat(text)
