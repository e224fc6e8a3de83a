"""`/api/v1/bars/{symbol}`: final bars from the database joined with the forming tail from Redis."""

from fastapi import APIRouter

from api.models import PROBLEMS, BarsAnswer
from api.params import BarsParams, History, Live, Now, Symbol
from api.reading import asked_json, ensure_known, read_bars
from api.render import Json, bar_json, rows_json

router = APIRouter(prefix="/api/v1", tags=["bars"])


@router.get("/bars/{symbol:path}", response_model=BarsAnswer, responses=PROBLEMS)
async def bars(symbol: Symbol, query: BarsParams, history: History, live: Live, clock: Now) -> Json:
    """Bars whose `start` lies in `[start, end)`.

    Without `start` the newest `limit` bars are answered. For one start the higher revision wins. `tail` says whether
    the bars still forming could be read. With `fill`, a slot without trades becomes a row marked `synthetic`, with
    volume 0, from the symbol's first bar to its last one, or to `end` (never beyond now) when `end` is given.
    """
    rows, tail = await read_bars(symbol, query, history, live, clock)
    if not rows:
        await ensure_known(symbol, history, live)
    rows, truncated = query.cut(rows)
    return Json(
        {
            **asked_json(symbol, query),
            "fill": query.fill,
            "numeric": query.numeric,
            "tail": tail,
            "truncated": truncated,
            "bars": await rows_json(bar_json, query.ordered(rows), query.numeric),
        }
    )
