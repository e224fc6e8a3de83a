"""`/api/v1/market/overview`: every symbol's session at a glance."""

from fastapi import APIRouter

from api.figures import standing_json
from api.models import REFUSED
from api.models_market import OverviewAnswer
from api.overview import ordered, read_overview
from api.params import Configured, Now
from api.params_market import Board, Market, OverviewParams
from api.render import Json

router = APIRouter(prefix="/api/v1/market", tags=["market"])


@router.get("/overview", response_model=OverviewAnswer, responses=REFUSED)
async def overview(query: OverviewParams, settings: Configured, market: Market, board: Board, clock: Now) -> Json:
    """Every symbol in its newest session: price, change against the last close before it, range, volume.

    Sessions are those of the calendar in the settings: UTC days for 24/7. Final bars come from the database and the
    bars that are not final yet from Redis; without Redis the answer is of stored bars, and `live` says so.

    Who adds live bars to the rows asks for `apart`: a row is then of the bars that start before its `until`, and of
    those from there on the WebSocket has the newest revision. So no bar is counted twice, whatever moves meanwhile.
    """
    found = await read_overview(
        query.asked, query.interval, query.points, settings.calendar, market, board, query.apart
    )
    shown = ordered(found.standings, query.sort)
    now_us = clock.now_us()
    return Json(
        {
            "calendar": settings.calendar,
            "interval": query.interval,
            "numeric": query.numeric,
            "sort": query.sort,
            "live": "ok" if found.live else "unavailable",
            "truncated": len(shown) > query.limit,
            "symbols": [
                standing_json(standing, query.numeric, query.stale_after, now_us) for standing in shown[: query.limit]
            ],
        }
    )
