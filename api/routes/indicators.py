"""`/api/v1/indicators/{symbol}`: those kept with final and forming bars; any other, with any parameters, on request."""

from fastapi import APIRouter

from api.merge import Row
from api.models import PROBLEMS, IndicatorsAnswer
from api.params import Configured, History, IndicatorParams, IndicatorsParams, IndicatorsQuery, Live, Symbol
from api.reading import asked_json
from api.render import FINAL_STATES, Json, time_text
from api.series import Series, SeriesReader

router = APIRouter(prefix="/api/v1", tags=["indicators"])


# Before the series: its path would take `/latest` for the end of a symbol.
@router.get("/indicators/{symbol:path}/latest", response_model=IndicatorsAnswer, responses=PROBLEMS)
async def latest(symbol: Symbol, query: IndicatorParams, settings: Configured, history: History, live: Live) -> Json:
    """The values at the newest bar, forming or final: one row."""
    asked = IndicatorsQuery(**query.model_dump(), limit=1)
    return await _answer(symbol, asked, settings, history, live)


@router.get("/indicators/{symbol:path}", response_model=IndicatorsAnswer, responses=PROBLEMS)
async def indicators(
    symbol: Symbol, query: IndicatorsParams, settings: Configured, history: History, live: Live
) -> Json:
    """Indicators of the bars whose `start` lies in `[start, end)`, with warm-up from the bars before it.

    Without `type` the configured set. What was stored with a final bar, or published with a forming one, is what is
    answered; where that is not all that was asked for, the values are computed, and `source` says which. A value is
    null until its indicator is ready; `ready` and `stable` are of all that were asked for together.
    """
    return await _answer(symbol, query, settings, history, live)


async def _answer(symbol: str, query: IndicatorsQuery, settings: Configured, history: History, live: Live) -> Json:
    series = await SeriesReader(symbol, query, settings, history, live).read()
    return Json(
        {
            **asked_json(symbol, query),
            "indicators": [each.spec for each in series.indicators],
            "tail": series.tail,
            "truncated": series.truncated,
            "rows": query.ordered(_rows(series)),
        }
    )


def _rows(series: Series) -> list[Row]:
    return [
        {
            "start": time_text(bar["start"]),
            "end": time_text(bar["end"]),
            "is_final": bar["state"] in FINAL_STATES,
            "rev": bar["rev"],
            "source": point.source,
            "ready": point.ready,
            "stable": point.stable,
            "values": point.values,
        }
        for bar, point in zip(series.bars, series.points, strict=True)
    ]
