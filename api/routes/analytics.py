"""`/api/v1/analytics`: one session taken apart, and a table of sessions."""

from datetime import date

from fastapi import APIRouter

from api.analytics import of_session
from api.day_reads import read_days, read_session
from api.figures import profile_json, session_json
from api.models import PROBLEMS
from api.models_market import DailyAnswer, IntradayAnswer
from api.params import Configured, Now, Symbol
from api.params_market import Board, DailyParams, IntradayParams, Market
from api.render import Json, time_text
from api.rollup import rollup_of

router = APIRouter(prefix="/api/v1/analytics", tags=["analytics"])


@router.get("/intraday/{symbol:path}", response_model=IntradayAnswer, responses=PROBLEMS)
async def intraday(
    symbol: Symbol, query: IntradayParams, settings: Configured, market: Market, board: Board, clock: Now
) -> Json:
    """One session: its bar, volatility, where and when its volume traded, its largest bars.

    Bars count to sessions by the calendar in the settings: UTC days for 24/7, otherwise the exchange's sessions with
    what trades before and after them. Bars that are not final yet are counted in. `prior_close` is the last one before
    the session. A bar says only what its trades cost on average, so its volume stands in the profile at its VWAP.
    """
    now_us = clock.now_us()
    found = await read_session(symbol, query.day, query.interval, settings.calendar, market, board, now_us)
    session = of_session(found.bars, query.buckets, query.bucket_minutes, query.largest)
    asked = {"symbol": symbol, "calendar": settings.calendar, "interval": query.interval, "numeric": query.numeric}
    figures = session_json(
        found.day,
        session.bar,
        found.prior_close,
        query.numeric,
        bars=len(found.bars),
        revisions=session.amended,
        volatility=session.volatility,
        now_us=now_us,
    )
    return Json(asked | {"tail": found.tail} | figures | profile_json(session, query.numeric))


@router.get("/daily/{symbol:path}", response_model=DailyAnswer, responses=PROBLEMS)
async def daily(symbol: Symbol, query: DailyParams, settings: Configured, market: Market, clock: Now) -> Json:
    """Sessions of `[start, end)`, each rolled up from its final bars: exact, as notional and volume add up.

    `start` and `end` are dates, or moments: then sessions that they cut are in. Sessions without a bar are left out.
    Without `start` the newest `limit` sessions are answered. `change` is against the last close before the session.
    """
    found, truncated = await read_days(symbol, query, settings.calendar, market)
    now_us = clock.now_us()
    days = [
        session_json(
            day,
            rollup_of(row),
            row["prior_close"],
            query.numeric,
            bars=row["bars"],
            revisions=row["amended"],
            volatility=row["volatility"],
            now_us=now_us,
        )
        for day, row in found
    ]
    return Json(
        {
            "symbol": symbol,
            "calendar": settings.calendar,
            "interval": query.interval,
            "start": _moment_text(query.start),
            "end": _moment_text(query.end),
            "order": query.order,
            "numeric": query.numeric,
            "truncated": truncated,
            "days": days[::-1] if query.order == "desc" else days,
        }
    )


def _moment_text(moment: int | date | None) -> str | None:
    return moment.isoformat() if isinstance(moment, date) else time_text(moment)
