"""What requests to the market overview, the analytics and the metrics may say, and what their handlers may touch."""

import re
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
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
from pydantic_core import PydanticCustomError

from api.dead_letters import MOST
from api.kafka import KafkaOffsets
from api.overview import Sort
from api.params import IntervalQuery, NumericQuery, Order, Services
from api.times import parse_time
from api.trading_days import EPOCH
from core.intervals import DAY_US
from core.validate import SYMBOL_PATTERN
from stores.market_reads import MarketReader
from stores.redis_board import RedisBoard

MAX_SYMBOLS = 100
MAX_ROWS = 1000
MAX_POINTS = 120
LAST_DAY = date(9999, 12, 30)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SYMBOL = re.compile(SYMBOL_PATTERN)


def _market(request: Request) -> MarketReader:
    services: Services = request.app.state.services
    return services.market


def _board(request: Request) -> RedisBoard:
    services: Services = request.app.state.services
    return services.board


def _brokers(request: Request) -> KafkaOffsets:
    services: Services = request.app.state.services
    return services.kafka


Brokers = Annotated[KafkaOffsets, Depends(_brokers)]
Market = Annotated[MarketReader, Depends(_market)]
Board = Annotated[RedisBoard, Depends(_board)]


def _parse_date(value: Any) -> Any:
    """A day as pydantic takes it; a date has four digits for its year and nothing after its day."""
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("not a date such as 2024-05-01")
    return value


def _known_day(day: date) -> date:
    if not EPOCH <= day <= LAST_DAY:
        limits = {"ge": EPOCH.isoformat(), "le": LAST_DAY.isoformat()}
        raise PydanticCustomError("day_range", "outside {ge} to {le}", limits)
    return day


def _parse_moment(value: Any) -> Any:
    """A date, or epoch microseconds of an RFC 3339 time or epoch milliseconds."""
    if not isinstance(value, str):
        return value
    if not _DATE.fullmatch(value):
        return parse_time(value)
    day = date.fromisoformat(value)
    if day < EPOCH:
        raise ValueError("outside the years 1970 to 9999")
    return day


Day = Annotated[
    date,
    BeforeValidator(_parse_date),
    AfterValidator(_known_day),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2024-05-01"]}),
]
Moment = Annotated[
    int | date,
    BeforeValidator(_parse_moment),
    WithJsonSchema({"type": "string", "examples": ["2024-05-01", "2024-05-01T00:00:00Z", "1714521600000"]}),
]


class OverviewQuery(NumericQuery):
    """Which symbols, in which order, with how much of a line."""

    symbols: str | None = Field(
        None,
        description=f"comma-separated, at most {MAX_SYMBOLS}; missing: all. Those that no store has seen are left out",
        examples=["BTC-USD,ETH-USD"],
    )
    sort: Sort = Field("symbol", description="by name, or the largest change in percent or volume first")
    limit: int = Field(100, ge=1, le=MAX_ROWS, description="how many symbols at most")
    points: int = Field(30, ge=0, le=MAX_POINTS, description="how many of the newest closes of each symbol")
    interval: Literal["1m", "5m"] = Field("1m", description="length of the bars of these closes")
    stale_after: int = Field(60, ge=1, le=86_400, description="seconds without a trade after which a symbol is `stale`")
    apart: int = Field(
        0, ge=0, le=10, description="leave the newest so many 1-minute bars of each symbol out of its row; see `until`"
    )

    @field_validator("symbols")
    @classmethod
    def _names(cls, text: str | None) -> str | None:
        names = [] if text is None else text.split(",")
        if len(names) > MAX_SYMBOLS:
            raise ValueError(f"at most {MAX_SYMBOLS} symbols")
        wrong = next((name for name in names if not _SYMBOL.fullmatch(name)), None)
        if wrong is not None:
            raise ValueError(f"not a symbol: {wrong[:40]!r}")
        return text

    @property
    def asked(self) -> list[str] | None:
        return None if self.symbols is None else list(dict.fromkeys(self.symbols.split(",")))


class IntradayQuery(IntervalQuery, NumericQuery):
    """Which session, and how finely it is cut."""

    day: Day | None = Field(None, description="date of the session, in the calendar's terms; missing: the newest one")
    buckets: int = Field(20, ge=1, le=200, description="price ranges of the volume profile at most")
    bucket_minutes: Literal[5, 15, 30, 60] = Field(30, description="length of the ranges of time that volume falls in")
    largest: int = Field(5, ge=0, le=50, description="how many of the bars with most volume")

    @field_validator("bucket_minutes", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value in ("5", "15", "30", "60") else value


class DailyQuery(NumericQuery):
    """Which sessions."""

    start: Moment | None = Field(
        None, description="first date, or a moment in the first session, as in `bars`; missing: open"
    )
    end: Moment | None = Field(
        None, description="date after the last, or a moment: sessions that begin before it; missing: open"
    )
    interval: Literal["1m", "5m", "15m"] = Field("5m", description="length of the bars that are added up")
    limit: int = Field(100, ge=1, le=MAX_ROWS, description="how many sessions at most")
    order: Order = Field("asc", description="`asc`: oldest first; `desc`: newest first")

    @field_validator("end")
    @classmethod
    def _not_before_start(cls, end: int | date | None, info: ValidationInfo) -> int | date | None:
        start = info.data.get("start")
        if start is not None and end is not None and _least(end) < _least(start):
            raise ValueError("end is before start")
        return end

    @property
    def newest(self) -> bool:
        """Whether the limit keeps the newest sessions."""
        return self.start is None or self.order == "desc"


class LatencyQuery(BaseModel):
    """How far back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: int = Field(5, ge=1, le=60, description="of the bars that ended in the last so many minutes")


class DeadLettersQuery(BaseModel):
    """How many, and what counts as recent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(20, ge=1, le=MOST, description="how many letters at most, newest first")
    minutes: int = Field(60, ge=1, le=1440, description="what counts as recent")


class GapsQuery(BaseModel):
    """What counts as recent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hours: int = Field(24, ge=1, le=720, description="how far back settled gaps are counted")


class JobsQuery(BaseModel):
    """How many runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: int = Field(5, ge=1, le=50, description="how many runs of each job at most, newest first")


def _least(moment: int | date) -> int:
    return (moment - EPOCH).days * DAY_US if isinstance(moment, date) else moment


OverviewParams = Annotated[OverviewQuery, Query()]
IntradayParams = Annotated[IntradayQuery, Query()]
DailyParams = Annotated[DailyQuery, Query()]
LatencyParams = Annotated[LatencyQuery, Query()]
DeadLettersParams = Annotated[DeadLettersQuery, Query()]
GapsParams = Annotated[GapsQuery, Query()]
JobsParams = Annotated[JobsQuery, Query()]
