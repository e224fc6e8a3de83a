"""`/api/v1/ticks/{symbol}`: the accepted ticks, as archived."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from api.answering import answer_by_content
from api.caching import Body
from api.formats import TICK_FORM, arrow_bytes, csv_bytes, wanted
from api.merge import Row
from api.models import TABLES, TicksAnswer
from api.paging import Page, page_of, tick_place
from api.params import Cached, Configured, FormatName, History, Live, Now, Symbol, TicksParams, TicksQuery
from api.reading import ensure_known, is_closed, read_ticks
from api.render import json_with, row_json, time_text

router = APIRouter(prefix="/api/v1", tags=["ticks"])


@router.get("/ticks/{symbol:path}", response_model=TicksAnswer, responses=TABLES)
async def ticks(
    request: Request,
    symbol: Symbol,
    query: TicksParams,
    settings: Configured,
    history: History,
    live: Live,
    clock: Now,
    bodies: Cached,
) -> Response:
    """Ticks whose event time lies in `[start, end)`, ordered by (event time, seq).

    Without `start` the newest `limit` ticks are answered; `next` and `previous` lead to the ticks around them.
    `truncated` says that there are more.
    """
    page, form = page_of("ticks", symbol, query), wanted(request, query.format)
    rows = await read_ticks(symbol, query, page, settings.calendar, history)
    if not rows:
        await ensure_known(symbol, history, live)
    closed = await is_closed(symbol, "1m", page, history, clock)
    return await answer_by_content(request, form, await _body(symbol, query, page, form, rows), closed, bodies)


async def _body(symbol: str, query: TicksQuery, page: Page, form: FormatName, found: Sequence[Row]) -> Body:
    kept, truncated = page.cut(found)
    cursors = page.cursors(kept, truncated, tick_place)
    rows = query.ordered(kept)
    if form == "csv":
        content = csv_bytes(TICK_FORM, rows, query.numeric)
    elif form == "arrow":
        content = arrow_bytes(TICK_FORM, rows, {"symbol": symbol})
    else:
        envelope = {
            "symbol": symbol,
            "start": time_text(query.start),
            "end": time_text(query.end),
            "order": query.order,
            "session": query.session,
            "numeric": query.numeric,
            "truncated": truncated,
            **cursors.fields(),
        }
        content = await json_with(envelope, "ticks", rows, row_json, query.numeric)
    return Body(content, cursors.next, cursors.previous, truncated)
