"""`/api/v1/latest/{symbol}`: the newest price, from Redis while it trades, from the database otherwise."""

from fastapi import APIRouter

from api.models import PROBLEMS, LatestAnswer
from api.params import History, Live, NumericParams, Symbol
from api.reading import read_latest
from api.render import Json, row_json

router = APIRouter(prefix="/api/v1", tags=["latest"])


@router.get("/latest/{symbol:path}", response_model=LatestAnswer, responses=PROBLEMS)
async def latest(symbol: Symbol, query: NumericParams, history: History, live: Live) -> Json:
    """The newest price with the 1-minute bar that it belongs to.

    `source` is `live` while Redis holds the symbol; a symbol that has gone quiet, or a Redis that does not answer, is
    answered from the newest stored bar, `source` `database`. Either store may be down.
    """
    row, source = await read_latest(symbol, history, live)
    answer = {"symbol": symbol, "source": source, "numeric": query.numeric, "is_final": row["rev"] > 0}
    return Json(answer | row_json(row, query.numeric))
