"""`/api/v1/quality/{symbol}` and `/api/v1/metrics/late-ticks`: how right final bars were, and how late ticks came."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.models import PROBLEMS, Answer, Time
from api.params import History, Live, Symbol
from api.params import Time as TimeParam
from api.reading import ensure_known
from api.render import Json, time_text
from api.times import MAX_TIME_US

router = APIRouter(prefix="/api/v1", tags=["quality"])
MAX_RUNS = 1000


class QualityQuery(BaseModel):
    """Which days."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: TimeParam | None = Field(None, description="a moment of the first day (UTC); missing: open")
    end: TimeParam | None = Field(None, description="moment after the last day; missing: open")


class LateTicksQuery(BaseModel):
    """How many runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(60, ge=1, le=MAX_RUNS, description="how many runs at most, newest first")


class QualityDay(Answer):
    """A UTC day of a symbol, over all intervals."""

    day: str = Field(description="UTC", examples=["2024-05-01"])
    checked: int = Field(description="closed bars held against the tick log", examples=[432])
    matched: int = Field(description="those that were right as they were first made", examples=[431])
    amended: int = Field(description="those that were not", examples=[1])
    match_ratio: float | None = Field(description="matched / checked; null where nothing was checked", examples=[0.998])
    at: Time = Field(description="of the last check")


class QualityAnswer(Answer):
    """How right a symbol's bars were when they first became final."""

    symbol: str
    days: list[QualityDay] = Field(description="oldest first")


class LateTicks(Answer):
    """The late ticks that one run of reconciling found."""

    at: Time
    ticks: int = Field(examples=[3])
    p50_us: int = Field(description="receipt after event time, microseconds", examples=[12_400_000])
    p90_us: int = Field(examples=[15_100_000])
    p99_us: int = Field(examples=[15_900_000])
    max_us: int = Field(examples=[16_000_000])


class LateTicksAnswer(Answer):
    """Runs that found ticks behind the watermark; those are in their bars by now."""

    runs: list[LateTicks] = Field(description="newest first")


@router.get("/quality/{symbol:path}", response_model=QualityAnswer, responses=PROBLEMS)
async def quality(symbol: Symbol, query: Annotated[QualityQuery, Query()], history: History, live: Live) -> Json:
    """By day, how many final bars were held against the tick log and how many of them had to be amended.

    At most a few minutes old. Days on which reconciling has not looked at the symbol are left out.
    """
    first_us = 0 if query.start is None else query.start
    end_us = MAX_TIME_US if query.end is None else max(query.end, 1)
    rows = await history.reconciled(symbol, first_us, end_us)
    if not rows:
        await ensure_known(symbol, history, live)
    days = [row | {"day": row["day"].isoformat(), "at": time_text(row["at"])} for row in rows]
    return Json({"symbol": symbol, "days": days})


@router.get("/metrics/late-ticks", response_model=LateTicksAnswer, responses={key: PROBLEMS[key] for key in (422, 503)})
async def late_ticks(query: Annotated[LateTicksQuery, Query()], history: History) -> Json:
    """How many ticks came behind the watermark and how late, by run of reconciling."""
    runs = await history.late_ticks(query.limit)
    return Json({"runs": [run | {"at": time_text(run["at"])} for run in runs]})
