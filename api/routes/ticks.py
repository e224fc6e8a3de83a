"""`/api/v1/ticks/{symbol}`: the accepted ticks, as archived."""

from fastapi import APIRouter

from api.models import PROBLEMS, TicksAnswer
from api.params import History, Live, Symbol, TicksParams
from api.reading import ensure_known
from api.render import Json, row_json, rows_json, time_text

router = APIRouter(prefix="/api/v1", tags=["ticks"])


@router.get("/ticks/{symbol:path}", response_model=TicksAnswer, responses=PROBLEMS)
async def ticks(symbol: Symbol, query: TicksParams, history: History, live: Live) -> Json:
    """Ticks whose event time lies in `[start, end)`, ordered by (event time, seq).

    Without `start` the newest `limit` ticks are answered. `truncated` says that the range holds more.
    """
    rows = await history.ticks(symbol, query.start_us, query.end_us, query.limit + 1, newest_first=query.newest)
    if not rows:
        await ensure_known(symbol, history, live)
    truncated = len(rows) > query.limit
    rows = rows[: query.limit]
    if query.newest != (query.order == "desc"):
        rows.reverse()
    return Json(
        {
            "symbol": symbol,
            "start": time_text(query.start),
            "end": time_text(query.end),
            "order": query.order,
            "numeric": query.numeric,
            "truncated": truncated,
            "ticks": await rows_json(row_json, rows, query.numeric),
        }
    )
