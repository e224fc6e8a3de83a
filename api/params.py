"""What requests may say, and what handlers may touch, as annotated types.

A handler's signature tells both. An unknown query parameter is refused: a typo must not read as a default.
"""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

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
    model_validator,
)
from pydantic_core import PydanticCustomError

from api.caching import Bodies
from api.cursor import MAX_LENGTH
from api.errors import InvalidParameter
from api.kafka import KafkaOffsets
from api.merge import Fill
from api.recent import Recent
from api.render import Numeric
from api.times import EXAMPLE, MAX_TIME_US, format_time, parse_time
from conf.settings import Settings
from core.adjustment import Adjustment
from core.clock import Clock
from core.intervals import DAILY, INTERVALS, Interval
from core.validate import SYMBOL_PATTERN
from stores.alert_rules import AlertReads
from stores.anomalies import AnomalyReader
from stores.daily_reads import DailyReader
from stores.market_reads import MarketReader
from stores.polling import PollingJobs
from stores.prediction_reads import PredictionReader
from stores.prices import Prices
from stores.redis import RedisReader
from stores.redis_board import RedisBoard
from stores.timescale_reads import TimescaleReader

T = TypeVar("T")
DEFAULT_LIMIT = 500
MAX_LIMIT = 10_000

Order = Literal["asc", "desc"]
FormatName = Literal["json", "csv", "arrow"]
SessionName = Literal["all", "pre", "rth", "post"]
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# What may change from page to page: it says how much of the rows is shown and how, not which rows there are.
_PRESENTATION = frozenset({"limit", "cursor", "numeric", "format"})


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers work with; built by `api.app`."""

    settings: Settings
    clock: Clock
    history: TimescaleReader
    live: RedisReader
    polling: PollingJobs
    prices: Prices
    market: MarketReader
    board: RedisBoard
    kafka: KafkaOffsets
    alerts: AlertReads
    predictions: PredictionReader
    days: DailyReader
    anomalies: AnomalyReader
    bodies: Bodies = field(default_factory=Bodies)
    recent: Recent = field(default_factory=Recent)


async def stated_once(request: Request) -> None:
    """Raises InvalidParameter for one that comes twice: nobody could say which of them counts."""
    given = request.query_params
    if len(given) < len(items := given.multi_items()):
        names = [name for name, _ in items]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidParameter(twice, "given more than once", ", ".join(given.getlist(twice)))


# All of these are coroutines: a plain function would be a thread's work for each request.
def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _history(request: Request) -> TimescaleReader:
    return _services(request).history


async def _live(request: Request) -> RedisReader:
    return _services(request).live


async def _polling(request: Request) -> PollingJobs:
    return _services(request).polling


async def _prices(request: Request) -> Prices:
    return _services(request).prices


async def _days(request: Request) -> DailyReader:
    return _services(request).days


async def _predictions(request: Request) -> PredictionReader:
    return _services(request).predictions


async def _anomalies(request: Request) -> AnomalyReader:
    return _services(request).anomalies


async def _settings(request: Request) -> Settings:
    return _services(request).settings


async def _clock(request: Request) -> Clock:
    return _services(request).clock


async def _bodies(request: Request) -> Bodies:
    return _services(request).bodies


async def _recent(request: Request) -> Recent:
    return _services(request).recent


Cached = Annotated[Bodies, Depends(_bodies)]
Remembered = Annotated[Recent, Depends(_recent)]
History = Annotated[TimescaleReader, Depends(_history)]
Live = Annotated[RedisReader, Depends(_live)]
Polling = Annotated[PollingJobs, Depends(_polling)]
Polled = Annotated[Prices, Depends(_prices)]
Predicted = Annotated[PredictionReader, Depends(_predictions)]
Found = Annotated[AnomalyReader, Depends(_anomalies)]
Days = Annotated[DailyReader, Depends(_days)]
Configured = Annotated[Settings, Depends(_settings)]
Now = Annotated[Clock, Depends(_clock)]


def _parse(value: Any) -> Any:
    return parse_time(value) if isinstance(value, str) else value


def _known_interval(name: str) -> str:
    if name not in INTERVALS:
        known = ", ".join(INTERVALS)
        raise PydanticCustomError("unknown_interval", "unknown interval; known: {expected}", {"expected": known})
    return name


def _known_length(name: str) -> str:
    return name if name == DAILY else _known_interval(name)


Time = Annotated[
    int,
    BeforeValidator(_parse),
    WithJsonSchema({"type": "string", "examples": [EXAMPLE, "1714570200000"]}),
]
IntervalName = Annotated[
    str, AfterValidator(_known_interval), WithJsonSchema({"type": "string", "enum": list(INTERVALS)})
]
BarLength = Annotated[
    str, AfterValidator(_known_length), WithJsonSchema({"type": "string", "enum": [*INTERVALS, DAILY]})
]
BarStart = Annotated[
    Time, Path(description="first moment of the bar, RFC 3339 or epoch milliseconds", examples=["1714570200000"])
]
Symbol = Annotated[
    str,
    Path(
        pattern=f"^{SYMBOL_PATTERN}$",
        description="As in `/api/v1/symbols`; a slash may be plain or %2F",
        examples=["AAPL"],
    ),
]


Cursor = Annotated[
    str | None,
    Field(max_length=MAX_LENGTH, description="`next` of an answer, to go on with the same query from there"),
]
"""Of answers that lead one way; None for the first page."""


class NoQuery(BaseModel):
    """Nothing may be asked for: a parameter that changes nothing would read as if it did."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    cursor: str | None = Field(
        None,
        max_length=MAX_LENGTH,
        description="`next` or `previous` of an answer, to go on with the same query from there",
    )

    @field_validator("end")
    @classmethod
    def _not_before_start(cls, end: int | None, info: ValidationInfo) -> int | None:
        start = info.data.get("start")
        if start is not None and end is not None and end < start:
            raise PydanticCustomError("before_start", "end is before start", {"ge": format_time(start)})
        return end

    @property
    def start_us(self) -> int:
        return 0 if self.start is None else self.start

    @property
    def end_us(self) -> int:
        return MAX_TIME_US if self.end is None else self.end

    @property
    def newest(self) -> bool:
        """Whether the limit keeps the newest rows of the first page."""
        return self.start is None or self.order == "desc"

    def identity(self) -> tuple[tuple[str, object], ...]:
        """What a cursor is bound to: everything that decides which rows there are, and in which order."""
        return tuple((name, value) for name, value in sorted(self) if name not in _PRESENTATION)

    def ordered(self, rows: list[T]) -> list[T]:
        """Ascending rows in the order asked for."""
        return rows[::-1] if self.order == "desc" else rows


class FormatQuery(BaseModel):
    """What the answer is written as."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: FormatName | None = Field(None, description="overrides the header `Accept`, for browsers")


class SessionQuery(BaseModel):
    """Which part of the trading day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: SessionName = Field(
        "all",
        description="`rth`: the hours of the exchange's session, early closes included; `pre`: before the open of the"
        " same local day; `post`: after the close; by the calendar of the settings, of which `24/7` is all `rth`",
    )


class TicksQuery(TimeRange, SessionQuery, NumericQuery, FormatQuery):
    """Which ticks, and how they are written."""


class IntervalQuery(BaseModel):
    """Which length of bars."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval: IntervalName = Field("1m", description="length of the bars")

    @property
    def bar_interval(self) -> Interval:
        return INTERVALS[self.interval]


class BarRange(TimeRange, IntervalQuery):
    """Bars whose start lies in a range."""


class BarsQuery(BarRange, SessionQuery, NumericQuery, FormatQuery):
    """Which bars, and what to say where there is none."""

    interval: BarLength = Field(
        "1m", description="length of the bars; `1d`: by session, also of years ago, and dates will do for start and end"
    )
    adjustment: Adjustment = Field(
        "raw",
        description="of `1d` bars: as they traded, in shares of the newest bar (`split`), or with dividends (`all`)",
    )
    fill: Fill = Field(
        "none",
        description="rows for slots without trades: none, `null` prices or the `prev`ious close; under the calendar of"
        " an exchange within its sessions only",
    )
    as_of: Time | None = Field(
        None,
        description="the final bars as they were known at that moment, RFC 3339 or epoch milliseconds: of each the"
        " newest revision then, and none that was made later; nothing that was forming",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_days(cls, given: Any) -> Any:
        """A day may be named by its date, and a daily bar is of the regular session unless something else is said."""
        if not isinstance(given, dict) or given.get("interval") != DAILY:
            return given
        dates = {name: given[name] for name in ("start", "end") if _DATE.fullmatch(str(given.get(name)))}
        return {"session": "rth"} | given | {name: f"{text}T00:00:00Z" for name, text in dates.items()}


NoParams = Annotated[NoQuery, Query()]
NumericParams = Annotated[NumericQuery, Query()]
TicksParams = Annotated[TicksQuery, Query()]
BarsParams = Annotated[BarsQuery, Query()]
