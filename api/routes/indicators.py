"""`/api/v1/indicators/{symbol}`: any registered indicator with any parameters, over final and forming bars."""

from typing import Any

from fastapi import APIRouter

from api.models import PROBLEMS, IndicatorsAnswer
from api.params import Configured, History, IndicatorParams, IndicatorsParams, IndicatorsQuery, Live, Now, Symbol
from api.render import FINAL_STATES, Json, time_text
from api.series import Series, read_series

router = APIRouter(prefix="/api/v1", tags=["indicators"])


# Before the series: its path would take `/latest` for the end of a symbol.
@router.get("/indicators/{symbol:path}/latest", response_model=IndicatorsAnswer, responses=PROBLEMS)
async def latest(
    symbol: Symbol, query: IndicatorParams, settings: Configured, history: History, live: Live, clock: Now
) -> Json:
    """The values at the newest bar, forming or final: one row."""
    asked = IndicatorsQuery(**query.model_dump(), limit=1)
    return await _answer(symbol, asked, settings, history, live, clock)


@router.get("/indicators/{symbol:path}", response_model=IndicatorsAnswer, responses=PROBLEMS)
async def indicators(
    symbol: Symbol, query: IndicatorsParams, settings: Configured, history: History, live: Live, clock: Now
) -> Json:
    """Indicators of the bars whose `start` lies in `[start, end)`, with warm-up from the bars before it.

    Without `type` the configured set. A value is null until its indicator is ready; `ready` and `stable` are of all
    that were asked for together.
    """
    return await _answer(symbol, query, settings, history, live, clock)


async def _answer(
    symbol: str, query: IndicatorsQuery, settings: Configured, history: History, live: Live, clock: Now
) -> Json:
    chosen = query.indicators(settings.indicators)
    series = await read_series(symbol, query, chosen, settings.calendar, history, live, clock)
    rows = _rows(series)
    if query.order == "desc":
        rows.reverse()
    return Json(
        {
            "symbol": symbol,
            "interval": query.interval,
            "start": time_text(query.start),
            "end": time_text(query.end),
            "order": query.order,
            "indicators": [each.spec for each in chosen],
            "tail": series.tail,
            "truncated": series.truncated,
            "rows": rows,
        }
    )


def _rows(series: Series) -> list[dict[str, Any]]:
    return [
        {
            "start": time_text(bar["start"]),
            "end": time_text(bar["end"]),
            "is_final": bar["state"] in FINAL_STATES,
            "rev": bar["rev"],
            "ready": ready,
            "stable": stable,
            "values": values,
        }
        for bar, values, ready, stable in zip(series.bars, series.values, series.ready, series.stable, strict=True)
    ]
