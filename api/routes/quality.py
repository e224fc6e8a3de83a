"""`/api/v1/quality` and `/api/v1/metrics/late-ticks`: how right final bars were, and how late ticks came."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.models import PROBLEMS, REFUSED
from api.models_quality import (
    AmendmentsAnswer,
    GapsAnswer,
    GapState,
    LateTicksAnswer,
    QualityAnswer,
    QualityDaysAnswer,
)
from api.params import History, Live, Now, NumericQuery, Symbol
from api.params import Time as TimeParam
from api.params_market import Day
from api.reading import ensure_known
from api.render import Json, Numeric, row_json, time_text
from api.times import MAX_TIME_US
from api.trading_days import EPOCH
from core.intervals import DAY_US, SECOND_US
from core.validate import SYMBOL_PATTERN
from stores.quality_reads import AMENDED_VALUES

router = APIRouter(prefix="/api/v1", tags=["quality"])
MAX_RUNS = 1000
MAX_ROWS = 1000
MAX_DAY_ROWS = 50_000
DAYS = 14


class QualityQuery(BaseModel):
    """Which days."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: TimeParam | None = Field(None, description="a moment of the first day (UTC); missing: open")
    end: TimeParam | None = Field(None, description="moment after the last day; missing: open")


class DaysQuery(BaseModel):
    """Which days of all symbols."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    last: Day | None = Field(None, description="the last day (UTC); missing: today")
    days: int = Field(DAYS, ge=1, le=366, description="how many days up to the last one")
    limit: int = Field(5_000, ge=0, le=MAX_DAY_ROWS, description="how many rows of `days` at most, newest first")


class OfSymbol(BaseModel):
    """Of one symbol or of all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str | None = Field(None, pattern=f"^{SYMBOL_PATTERN}$", description="missing: all", examples=["AAPL"])
    limit: int = Field(100, ge=1, le=MAX_ROWS, description="how many rows at most, newest first")


class AmendmentsQuery(OfSymbol, NumericQuery):
    """Which amendments."""

    since: TimeParam | None = Field(None, description="when they became known at the earliest; missing: a day ago")


class GapsQuery(OfSymbol):
    """Which gaps."""

    since: TimeParam | None = Field(None, description="event time at which they end at the earliest; missing: open")
    state: GapState | None = Field(None, description="missing: all")


class LateTicksQuery(BaseModel):
    """How many runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(60, ge=1, le=MAX_RUNS, description="how many runs at most, newest first")


# The three paths below are more special than the symbol's, and come first.
@router.get("/quality/days", response_model=QualityDaysAnswer, responses=REFUSED)
async def quality_days(query: Annotated[DaysQuery, Query()], history: History, clock: Now) -> Json:
    """The bars checked and amended of every symbol by UTC day, and the totals of each day."""
    last = query.last or EPOCH + timedelta(days=clock.now_us() // DAY_US)
    first = max(EPOCH, last - timedelta(days=query.days - 1))
    totals = await history.reconciled_totals(first, last)
    found = await history.reconciled_days(first, last, query.limit + 1) if query.limit else []
    rows = found[: query.limit]
    truncated = len(found) > query.limit if query.limit else bool(totals)
    said = {"first": first.isoformat(), "last": last.isoformat(), "truncated": truncated}
    return Json({**said, "totals": [_day_json(row) for row in totals], "days": [_day_json(row) for row in rows]})


@router.get("/quality/amendments", response_model=AmendmentsAnswer, responses=REFUSED)
async def amendments(query: Annotated[AmendmentsQuery, Query()], history: History, clock: Now) -> Json:
    """The bars that were amended last, with what they were before, and how many there were by reason.

    A bar that was amended several times is there once: its newest revision, and the one before.
    """
    since_us = clock.now_us() - DAY_US if query.since is None else query.since
    rows = await history.amendments(since_us, query.symbol, query.limit + 1)
    reasons = await history.amendment_reasons(since_us, query.symbol)
    said = {"since": time_text(since_us), "symbol": query.symbol, "numeric": query.numeric, "reasons": reasons}
    shown = [_amendment_json(row, query.numeric) for row in rows[: query.limit]]
    return Json({**said, "truncated": len(rows) > query.limit, "amendments": shown})


@router.get("/quality/gaps", response_model=GapsAnswer, responses=REFUSED)
async def gaps(query: Annotated[GapsQuery, Query()], history: History) -> Json:
    """Gaps that feeds have noticed, and what became of them. Ticks that came later are in their bars."""
    since_us = 0 if query.since is None else query.since
    rows, states = await history.gaps(since_us, query.symbol, query.state, query.limit + 1)
    said = {"since": time_text(query.since), "symbol": query.symbol, "states": states}
    shown = [_gap_json(row) for row in rows[: query.limit]]
    return Json({**said, "truncated": len(rows) > query.limit, "gaps": shown})


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
    return Json({"symbol": symbol, "days": [_day_json(row) for row in rows]})


@router.get("/metrics/late-ticks", response_model=LateTicksAnswer, responses=REFUSED)
async def late_ticks(query: Annotated[LateTicksQuery, Query()], history: History) -> Json:
    """How many ticks came behind the watermark and how late, by run of reconciling."""
    runs = await history.late_ticks(query.limit)
    return Json({"runs": [run | {"at": time_text(run["at"])} for run in runs]})


def _day_json(row: Mapping[str, Any]) -> dict[str, Any]:
    day: date = row["day"]
    return {**row, "day": day.isoformat(), "at": time_text(row["at"])}


def _amendment_json(row: Mapping[str, Any], numeric: Numeric) -> dict[str, Any]:
    was, now = ({name: row[f"{when}_{name}"] for name in AMENDED_VALUES} for when in ("was", "now"))
    named = {name: row[name] for name in ("symbol", "interval", "rev", "reason")}
    times = {name: time_text(row[name]) for name in ("start", "known_at")}
    before = None if row["was_rev"] is None else row_json(was, numeric)
    return {**named, **times, "was": before, "now": row_json(now, numeric)}


def _gap_json(row: Mapping[str, Any]) -> dict[str, Any]:
    first, last, start, end = row["first_id"], row["last_id"], row["start_us"], row["end_us"]
    named = {name: row[name] for name in ("symbol", "source", "cause", "state", "filled", "detail")}
    return named | {
        "start": time_text(start),
        "end": time_text(end),
        "seconds": (end - start) / SECOND_US,
        "missing": None if first is None or last is None else last - first + 1,
        "noticed_at": time_text(row["noticed_at"]),
        "settled_at": time_text(row["settled_at"]),
    }
