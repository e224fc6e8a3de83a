"""`/api/v1/predictions`: what the predictor said, what became of it, and what it is worth."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from api.cursor import Place, write_cursor
from api.model_card import models_answer
from api.models import PROBLEMS, REFUSED
from api.models_predictions import LatestPredictionsAnswer, ModelsAnswer, PredictionsAnswer, ScorecardAnswer
from api.paging import place_at
from api.params import Configured, Cursor, History, IntervalQuery, Live, Now, Predicted, Remembered, Symbol
from api.reading import ensure_known
from api.render import Json, time_text
from api.scorecard import scorecard
from api.trading_days import trading_days
from core.intervals import DAY_US, Interval
from core.skill import HOUR_US, block_lengths
from stores.prediction_reads import Key

router = APIRouter(prefix="/api/v1/predictions", tags=["predictions"])
MAX_ROWS = 1000
MAX_HOURS = 24 * 7  # sums are kept for a little longer (stores/prediction_scores.py)
# What a horizon may need beyond its bar: the longest one that can be trained, over the longest holidays.
MOST_BARS_AHEAD = 1000
MARGIN_US = 12 * DAY_US
_TIMES = ("start", "outcome_us", "made_us")


class PredictionsQuery(IntervalQuery):
    """How many predictions."""

    limit: int = Field(
        60, ge=1, le=MAX_ROWS, description="how many rows at most, one per bar and horizon, newest first"
    )
    cursor: Cursor = None


class ScorecardQuery(IntervalQuery):
    """Over which time."""

    hours: int = Field(24, ge=1, le=MAX_HOURS, description="how many hours back from now")


# The three paths below are more special than the symbol's, and come first.
@router.get("", response_model=LatestPredictionsAnswer, responses=REFUSED)
async def latest_predictions(query: Annotated[IntervalQuery, Query()], predicted: Predicted, clock: Now) -> Json:
    """The newest prediction of every symbol and horizon; empty while no model has been trained."""
    rows = await predicted.latest(query.interval)
    shown = [_prediction_json(row, query.bar_interval) for row in rows]
    return Json({"interval": query.interval, "now": time_text(clock.now_us()), "predictions": shown})


@router.get("/scorecard", response_model=ScorecardAnswer, responses=REFUSED)
async def prediction_scorecard(
    query: Annotated[ScorecardQuery, Query()],
    predicted: Predicted,
    settings: Configured,
    clock: Now,
    recent: Remembered,
) -> Json:
    """Skill by model and horizon, with what it would have been without a model; outcomes are those known by now.

    Every prediction was stored before its outcome. Intervals are 95 %, from blocks of time with all symbols in them:
    predictions of one hour are no independent observations. Where an interval includes 0, no skill was shown. The
    answer is at most 15 seconds old.
    """

    async def find() -> dict[str, Any]:
        until_us = clock.now_us()
        since_us = until_us - query.hours * HOUR_US
        sessions = await _sessions(since_us, until_us, settings.calendar)
        bar_us = query.bar_interval.us
        sums = await predicted.scores(
            query.interval, since_us, until_us, sessions, settings.calendar, block_lengths(bar_us)
        )
        said = {"interval": query.interval, "since": time_text(since_us), "until": time_text(until_us)}
        return said | {"calendar": settings.calendar, "scores": await asyncio.to_thread(scorecard, sums, bar_us)}

    return Json(await recent.get(("scorecard", query.interval, query.hours), find))


@router.get("/models", response_model=ModelsAnswer, responses={422: PROBLEMS[422]})
async def prediction_models(query: Annotated[IntervalQuery, Query()], settings: Configured) -> Json:
    """The card of the model that serves: what it was trained on, and its skill out of sample before it served.

    Read from the folder of models on the API's machine; null where the predictor keeps them elsewhere.
    """
    return Json(await asyncio.to_thread(models_answer, settings.models_path, query.interval))


@router.get("/{symbol:path}", response_model=PredictionsAnswer, responses=PROBLEMS)
async def predictions(
    symbol: Symbol,
    query: Annotated[PredictionsQuery, Query()],
    predicted: Predicted,
    history: History,
    live: Live,
    settings: Configured,
    clock: Now,
) -> Json:
    """The newest predictions of a symbol, with their outcomes as far as these are known."""
    identity = ("predictions", symbol, query.interval)
    after = None if query.cursor is None else _key(query.cursor, identity)
    found = await predicted.extent(symbol, query.interval, query.limit + 1, after)
    rows: list[dict[str, Any]] = []
    if found is None:
        await ensure_known(symbol, history, live)
    else:
        until_us = found[1] + MOST_BARS_AHEAD * query.bar_interval.us + MARGIN_US
        sessions = await _sessions(found[0], min(until_us, clock.now_us() + 1), settings.calendar)
        rows = await predicted.newest(symbol, query.interval, query.limit + 1, found, until_us, sessions, after)
    shown, more = rows[: query.limit], len(rows) > query.limit
    beyond = write_cursor(_place_of(shown[-1]), identity) if more else None
    said = {"symbol": symbol, "interval": query.interval, "truncated": more, "next": beyond}
    return Json(said | {"predictions": [_prediction_json(row, query.bar_interval) for row in shown]})


def _key(cursor: str, identity: object) -> Key:
    """Raises InvalidParameter for a cursor that does not fit."""
    place = place_at(cursor, identity)
    made, _, model = place.identity.partition("|")
    return Key(place.us, place.seq, int(made), model)


def _place_of(row: Mapping[str, Any]) -> Place:
    return Place("older", row["start"], row["horizon"], f"{row['made_us']}|{row['model']}")


async def _sessions(since_us: int, until_us: int, calendar: str) -> list[int]:
    """The first moments of the sessions of a range."""
    days = await asyncio.to_thread(trading_days, since_us, until_us, calendar)
    return [day.start for day in days]


def _prediction_json(row: Mapping[str, Any], interval: Interval) -> dict[str, Any]:
    times = {"start": row["start"], "end": row["start"] + interval.us}
    times |= {f"{name}_at": row[f"{name}_us"] for name in ("outcome", "made")}
    named = {"symbol": row["symbol"]} | {name: time_text(us) for name, us in times.items()}
    return named | {name: value for name, value in row.items() if name not in (*_TIMES, *named)}
