"""What requests may say, and what handlers may touch, as annotated types.

A handler's signature tells both. An unknown query parameter is refused: a typo must not read as a default.
"""

from dataclasses import dataclass, fields
from inspect import getdoc
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from api.merge import Fill, Row
from api.render import Numeric
from api.times import EXAMPLE, MAX_TIME_US, parse_time
from conf.settings import Settings
from core.clock import Clock
from core.errors import InputError
from core.indicators import INDICATORS, Indicator, for_interval, parse_all
from core.indicators.base import number_text
from core.intervals import INTERVALS, Interval
from core.validate import SYMBOL_PATTERN
from stores.polling import PollingJobs
from stores.prices import Prices
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

DEFAULT_LIMIT = 500
MAX_LIMIT = 10_000

Order = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers work with; built by `api.app`."""

    settings: Settings
    clock: Clock
    history: TimescaleReader
    live: RedisReader
    polling: PollingJobs
    prices: Prices


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _history(request: Request) -> TimescaleReader:
    return _services(request).history


def _live(request: Request) -> RedisReader:
    return _services(request).live


def _polling(request: Request) -> PollingJobs:
    return _services(request).polling


def _prices(request: Request) -> Prices:
    return _services(request).prices


def _settings(request: Request) -> Settings:
    return _services(request).settings


def _clock(request: Request) -> Clock:
    return _services(request).clock


History = Annotated[TimescaleReader, Depends(_history)]
Live = Annotated[RedisReader, Depends(_live)]
Polling = Annotated[PollingJobs, Depends(_polling)]
Polled = Annotated[Prices, Depends(_prices)]
Configured = Annotated[Settings, Depends(_settings)]
Now = Annotated[Clock, Depends(_clock)]


def _parse(value: Any) -> Any:
    return parse_time(value) if isinstance(value, str) else value


def _known_interval(name: str) -> str:
    if name not in INTERVALS:
        raise ValueError(f"unknown interval; known: {', '.join(INTERVALS)}")
    return name


Time = Annotated[
    int,
    BeforeValidator(_parse),
    WithJsonSchema({"type": "string", "examples": [EXAMPLE, "1714570200000"]}),
]
IntervalName = Annotated[
    str, AfterValidator(_known_interval), WithJsonSchema({"type": "string", "enum": list(INTERVALS)})
]
Symbol = Annotated[
    str,
    Path(pattern=SYMBOL_PATTERN, description="As in `/api/v1/symbols`; a slash may be plain or %2F", examples=["AAPL"]),
]


class NumericQuery(BaseModel):
    """How numbers are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    numeric: Numeric = Field(
        "text", description="`text`: exact decimal text; `float`: JSON numbers, rounded to doubles"
    )


class TimeRange(BaseModel):
    """A half-open range `[start, end)`.

    The limit keeps the newest rows when `start` is missing or the order is `desc`, the oldest ones otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Time | None = Field(None, description="first moment, RFC 3339 or epoch milliseconds; missing: open")
    end: Time | None = Field(None, description="moment after the last, RFC 3339 or epoch milliseconds; missing: open")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="how many rows at most")
    order: Order = Field("asc", description="`asc`: oldest first; `desc`: newest first")

    @field_validator("end")
    @classmethod
    def _not_before_start(cls, end: int | None, info: ValidationInfo) -> int | None:
        start = info.data.get("start")
        if start is not None and end is not None and end < start:
            raise ValueError("end is before start")
        return end

    @property
    def start_us(self) -> int:
        return 0 if self.start is None else self.start

    @property
    def end_us(self) -> int:
        return MAX_TIME_US if self.end is None else self.end

    @property
    def newest(self) -> bool:
        """Whether the limit keeps the newest rows."""
        return self.start is None or self.order == "desc"

    def cut(self, rows: list[Row]) -> tuple[list[Row], bool]:
        """Ascending rows within the limit, from the side it keeps, and whether there were more."""
        kept = rows[-self.limit :] if self.newest else rows[: self.limit]
        return kept, len(rows) > len(kept)

    def ordered(self, rows: list[Row]) -> list[Row]:
        """Ascending rows in the order asked for."""
        return rows[::-1] if self.order == "desc" else rows


class RangeQuery(TimeRange, NumericQuery):
    """A range, and how numbers are written."""


class IntervalQuery(BaseModel):
    """Which length of bars."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval: IntervalName = Field("1m", description="length of the bars")

    @property
    def bar_interval(self) -> Interval:
        return INTERVALS[self.interval]


class BarRange(TimeRange, IntervalQuery):
    """Bars whose start lies in a range."""


class BarsQuery(BarRange, NumericQuery):
    """Which bars, and what to say where there is none."""

    fill: Fill = Field("none", description="rows for slots without trades: none, `null` prices or the `prev`ious close")


def _registered() -> str:
    """Every registered indicator, as a list in Markdown."""
    return "\n".join(f"- {_described(kind)}" for kind in INDICATORS.values())


def _described(kind: type[Indicator]) -> str:
    """Spec, the names of the parameters with their defaults, and the first paragraph on it."""
    usual = kind()
    parameters = ", ".join(f"{item.name}={number_text(getattr(usual, item.name))}" for item in fields(kind))
    about = " ".join((getdoc(kind) or "").partition("\n\n")[0].split())
    return f"`{usual.spec}`{f' ({parameters})' if parameters else ''}: {about}"


class IndicatorChoice(IntervalQuery):
    """Which indicators of which bars."""

    type: str | None = Field(
        None,
        description="an indicator with its parameters, `macd:12,26,9`, or its name alone; several are separated by `;`;"
        f" missing: the configured set. With their defaults there are\n\n{_registered()}",
        examples=["rsi", "rsi:14", "sma:20;sma:50"],
    )
    period: int | None = Field(None, description="the first parameter of a `type` without parameters")

    @field_validator("type")
    @classmethod
    def _known_type(cls, text: str | None) -> str | None:
        if text is not None and not _indicators(text):
            raise ValueError("names no indicator")
        return text

    @field_validator("period")
    @classmethod
    def _fits_type(cls, period: int | None, info: ValidationInfo) -> int | None:
        text = info.data.get("type")
        if period is None or "type" not in info.data:
            return period
        if text is None or ":" in text or ";" in text:
            raise ValueError("period goes with one type that has no parameters of its own, such as type=rsi")
        _indicators(f"{text}:{period}")
        return period

    def indicators(self, configured: str) -> tuple[Indicator, ...]:
        """Those asked for, else the configured ones of the interval. Raises InputError if there are none."""
        if self.type is None:
            chosen = for_interval(configured, self.interval)
            if not chosen:
                raise InputError(f"no indicator is configured for {self.interval} bars; name one, such as type=rsi")
            return chosen
        return parse_all(self.type if self.period is None else f"{self.type}:{self.period}")


class IndicatorsQuery(BarRange, IndicatorChoice):
    """A range of bars, and indicators."""


def _indicators(text: str) -> tuple[Indicator, ...]:
    try:
        return parse_all(text)
    except InputError as error:
        raise ValueError(str(error)) from None


NumericParams = Annotated[NumericQuery, Query()]
TicksParams = Annotated[RangeQuery, Query()]
BarsParams = Annotated[BarsQuery, Query()]
IndicatorParams = Annotated[IndicatorChoice, Query()]
IndicatorsParams = Annotated[IndicatorsQuery, Query()]
