"""`/api/v1/indicators/{symbol}`: those kept with final and forming bars; any other, with any parameters, on request."""

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from api.answering import answer_by_content, open_answer
from api.caching import Body
from api.formats import arrow_bytes, csv_bytes, indicator_form, wanted
from api.merge import Row
from api.models import TABLES, IndicatorsAnswer
from api.paging import Cursors, bar_place, page_of
from api.params import (
    Cached,
    Configured,
    FormatName,
    History,
    Live,
    Now,
    Symbol,
)
from api.params_indicators import IndicatorParams, IndicatorsParams, IndicatorsQuery
from api.reading import asked_json, is_closed
from api.render import FINAL_STATES, time_text
from api.series import Series, SeriesReader
from core.indicators import columns_of

router = APIRouter(prefix="/api/v1", tags=["indicators"])


# Before the series: its path would take `/latest` for the end of a symbol.
@router.get("/indicators/{symbol:path}/latest", response_model=IndicatorsAnswer, responses=TABLES)
async def latest(
    request: Request,
    symbol: Symbol,
    query: IndicatorParams,
    settings: Configured,
    history: History,
    live: Live,
) -> Response:
    """The values at the newest bar, forming or final: one row."""
    asked = IndicatorsQuery(**query.model_dump(), limit=1)
    page, form = page_of("indicators", symbol, asked), wanted(request, query.format)
    series = await SeriesReader(symbol, asked, settings, history, live, page).read()
    return open_answer(request, form, _body(symbol, asked, form, series, Cursors(None, None)))


@router.get("/indicators/{symbol:path}", response_model=IndicatorsAnswer, responses=TABLES)
async def indicators(
    request: Request,
    symbol: Symbol,
    query: IndicatorsParams,
    settings: Configured,
    history: History,
    live: Live,
    clock: Now,
    bodies: Cached,
) -> Response:
    """Indicators of the bars whose `start` lies in `[start, end)`, with warm-up from the bars before it.

    Without `type` the configured set. What was stored with a final bar, or published with a forming one, is what is
    answered; where that is not all that was asked for, the values are computed, and `source` says which. A value is
    null until its indicator is ready; `ready` and `stable` are of all that were asked for together.
    """
    page, form = page_of("indicators", symbol, query), wanted(request, query.format)
    series = await SeriesReader(symbol, query, settings, history, live, page).read()
    body = _body(symbol, query, form, series, page.cursors(series.bars, series.truncated, bar_place))
    closed = await is_closed(symbol, query.interval, page, history, clock)
    return await answer_by_content(request, form, body, closed, bodies)


def _body(symbol: str, query: IndicatorsQuery, form: FormatName, series: Series, cursors: Cursors) -> Body:
    rows = query.ordered(_rows(series))
    if form == "json":
        envelope = {
            **asked_json(symbol, query),
            "indicators": [each.spec for each in series.indicators],
            "tail": series.tail,
            "truncated": series.truncated,
            **cursors.fields(),
        }
        content = orjson.dumps(envelope | {"rows": [_shown(row) for row in rows]})
    else:
        columns = indicator_form([name for each in series.indicators for name in columns_of(each)])
        flat = [row | row["values"] for row in rows]
        said = {"symbol": symbol, "interval": query.interval}
        content = csv_bytes(columns, flat) if form == "csv" else arrow_bytes(columns, flat, said)
    return Body(content, cursors.next, cursors.previous, series.truncated, series.tail)


def _rows(series: Series) -> list[dict[str, Any]]:
    return [
        {
            "start": bar["start"],
            "end": bar["end"],
            "is_final": bar["state"] in FINAL_STATES,
            "rev": bar["rev"],
            "source": point.source,
            "ready": point.ready,
            "stable": point.stable,
            "values": point.values,
        }
        for bar, point in zip(series.bars, series.points, strict=True)
    ]


def _shown(row: Row) -> Row:
    return {**row, "start": time_text(row["start"]), "end": time_text(row["end"])}
