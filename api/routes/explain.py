"""`/api/v1/bars/{symbol}/{interval}/{start}/explain`: one bar taken apart."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.errors import UnknownBar
from api.explaining import answer, explained, log_state, rules_of, tick_json
from api.models import PROBLEMS
from api.models_explain import ExplainAnswer
from api.params import BarStart, Configured, History, Live, NumericQuery, Symbol
from api.reading import ensure_known
from api.render import Json
from api.times import format_time
from core.errors import InputError
from core.intervals import DAILY, INTERVALS, MINUTE_US

router = APIRouter(prefix="/api/v1", tags=["bars"])
MAX_RECORDS = 50_000
_KNOWN = (*INTERVALS, DAILY)


def _explained_interval(name: str) -> str:
    if name not in _KNOWN:
        known = ", ".join(_KNOWN)
        raise PydanticCustomError("unknown_interval", "unknown interval; known: {expected}", {"expected": known})
    return name


ExplainedInterval = Annotated[
    str, AfterValidator(_explained_interval), WithJsonSchema({"type": "string", "enum": list(_KNOWN)})
]


class ExplainQuery(NumericQuery):
    """Which of the records are shown."""

    limit: int = Field(100, ge=0, le=1000, description="how many records of the log at most")
    skip: int = Field(0, ge=0, le=MAX_RECORDS, description="how many of them are passed over first")


@router.get("/bars/{symbol:path}/{interval}/{start}/explain", response_model=ExplainAnswer, responses=PROBLEMS)
async def explain_bar(
    symbol: Symbol,
    interval: ExplainedInterval,
    start: BarStart,
    query: Annotated[ExplainQuery, Query()],
    history: History,
    live: Live,
    settings: Configured,
) -> Json:
    """One final bar, recomputed from the tick log by the rules that it names, beside what is stored of it.

    Every record of the log says what it was in the bar: which fields it made, or why it did not count. Where the log
    does not hold all that the bar was made of, `log_complete` is false and nothing is compared. A bar of more than
    50,000 records is refused.
    """
    revisions = await history.revisions(symbol, interval, start)
    if not revisions:
        await ensure_known(symbol, history, live)
        raise UnknownBar(symbol, interval, format_time(start))
    stored = revisions[-1]
    # Two copies of a trade may lie on either side of the bar's edge.
    edges = stored["start"] - MINUTE_US, stored["end"] + MINUTE_US
    log = await history.log_around(symbol, *edges, MAX_RECORDS + 1)
    if len(log) > MAX_RECORDS:
        raise InputError(f"the log has more than {MAX_RECORDS:,} records of this bar; explain shorter ones")
    ruleset = rules_of(stored, settings.ruleset)
    found = await asyncio.to_thread(explained, log, stored, ruleset)
    state = log_state(found, stored, await history.log_begins(symbol))
    said = answer(symbol, revisions, found, state, ruleset, settings.retention_ticks_days, query.numeric)
    shown = found.roles[query.skip : query.skip + query.limit]
    rest = len(found.roles) > query.skip + len(shown)
    ticks = [tick_json(role, ruleset, query.numeric) for role in shown]
    return Json({**said, "skip": query.skip, "truncated": rest, "ticks": ticks})
