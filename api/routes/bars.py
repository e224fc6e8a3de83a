"""`/api/v1/bars/{symbol}`: final bars from the database joined with the forming tail from Redis."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from api.answering import answer_by_content, closed_answer, not_modified
from api.caching import Bodies, Body, etag_of
from api.daily import DailyBars, check, wait_us
from api.formats import BAR_FORM, DAILY_FORM, arrow_bytes, csv_bytes, wanted, with_flags
from api.merge import Row
from api.models import PROBLEMS, TABLES, BarsAnswer, RevisionsAnswer
from api.models_daily import DailyBarsAnswer
from api.paging import Page, bar_place, page_of
from api.params import (
    BarsParams,
    BarsQuery,
    BarStart,
    Cached,
    Configured,
    Days,
    FormatName,
    History,
    IntervalName,
    Live,
    Now,
    NumericParams,
    Symbol,
)
from api.reading import BarsReader, Tail, asked_json, ensure_known
from api.render import Json, bar_json, daily_json, json_with, time_text
from core.intervals import DAILY

router = APIRouter(prefix="/api/v1", tags=["bars"])


@router.get("/bars/{symbol:path}/{interval}/{start}/revisions", response_model=RevisionsAnswer, responses=PROBLEMS)
async def revisions(
    symbol: Symbol, interval: IntervalName, start: BarStart, query: NumericParams, history: History, live: Live
) -> Json:
    """Everything that was ever final of one bar, oldest first: what it was, when that became known, and why it changed.

    Empty where no such bar is stored.
    """
    rows = await history.revisions(symbol, interval, start)
    if not rows:
        await ensure_known(symbol, history, live)
    shown = [bar_json(row, query.numeric) | {"known_at": time_text(row["known_at"])} for row in rows]
    asked = {"symbol": symbol, "interval": interval, "start": time_text(start), "numeric": query.numeric}
    return Json({**asked, "revisions": shown})


@router.get("/bars/{symbol:path}", response_model=BarsAnswer | DailyBarsAnswer, responses=TABLES)
async def bars(
    request: Request,
    symbol: Symbol,
    query: BarsParams,
    settings: Configured,
    history: History,
    live: Live,
    days: Days,
    clock: Now,
    bodies: Cached,
) -> Response:
    """Bars whose `start` lies in `[start, end)`.

    Without `start` the newest `limit` bars are answered; `next` and `previous` lead to the bars around them. For one
    start the higher revision wins. `tail` says whether the bars still forming could be read. With `fill`, a slot
    without trades becomes a row marked `synthetic`, with volume 0, from the symbol's first bar to its last one, or to
    `end` (never beyond now) when `end` is given.

    A range that ends before the newest final bar does is closed: it comes from the database alone, with an `ETag` that
    changes when one of its bars is amended.

    `interval=1d` gives a bar for each session: as published, where the historical tier has the day, and otherwise
    rolled up from intraday bars; `source` says which. `adjustment` applies splits and dividends on read, anchored at
    the newest bar. `session` is then `rth` unless it is given: the regular hours; with `all`, under the calendar of an
    exchange, days are rolled up only, with what trades before and after.
    """
    check(query)
    page, form = page_of("bars", symbol, query), wanted(request, query.format)
    if query.interval == DAILY:
        wait = wait_us(settings.lateness_seconds)
        daily = DailyBars(symbol, query, page, settings.calendar, settings.bar_intervals, wait, days, live, clock)
        found, told = await daily.read()
        content = await _daily_body(daily, form, found, told)
        return await answer_by_content(request, form, content, daily.closed, bodies)
    reader = BarsReader(symbol, query, page, settings.calendar, history, live, clock)
    newest_end_us, validator = await _validator(reader, bodies)
    closed = newest_end_us is not None and page.end <= newest_end_us
    if not closed or query.fill != "none" or query.as_of is not None:
        rows, tail = await reader.read()
        if not rows:
            await ensure_known(symbol, history, live)
        body = await _body(symbol, query, page, form, rows, tail)
        return await answer_by_content(request, form, body, closed, bodies)
    etag = etag_of(page.identity, page.place, query.limit, query.numeric, form, settings.calendar, validator)
    if (unchanged := not_modified(request, etag, bodies)) is not None:
        return unchanged

    async def render() -> Body:
        return await _body(symbol, query, page, form, await reader.read_closed(), "ok")

    body = await bodies.body(etag, render)
    return await closed_answer(request, form, body, etag, bodies)


async def _validator(reader: BarsReader, bodies: Bodies) -> tuple[int | None, tuple[int, ...]]:
    """What the database says of the range; nothing where it cannot be closed."""
    page = reader.page
    if page.end > reader.clock.now_us():
        return None, ()
    key = (reader.symbol, reader.query.interval, page.start, page.end)
    return await bodies.validators.ask(key, lambda: reader.history.bars_validator(*key))


async def _body(symbol: str, query: BarsQuery, page: Page, form: FormatName, found: Sequence[Row], tail: Tail) -> Body:
    kept, truncated = page.cut(found)
    cursors = page.cursors(kept, truncated, bar_place)
    rows = query.ordered(kept)
    if form == "csv":
        content = csv_bytes(BAR_FORM, with_flags(rows), query.numeric)
    elif form == "arrow":
        content = arrow_bytes(BAR_FORM, with_flags(rows), {"symbol": symbol, "interval": query.interval})
    else:
        envelope = {
            **asked_json(symbol, query),
            "session": query.session,
            "fill": query.fill,
            "as_of": time_text(query.as_of),
            "numeric": query.numeric,
            "tail": tail,
            "truncated": truncated,
            **cursors.fields(),
        }
        content = await json_with(envelope, "bars", rows, bar_json, query.numeric)
    return Body(content, cursors.next, cursors.previous, truncated, tail)


async def _daily_body(daily: DailyBars, form: FormatName, found: Sequence[Row], tail: Tail) -> Body:
    symbol, query, page = daily.symbol, daily.query, daily.page
    kept, truncated = page.cut(found)
    cursors = page.cursors(kept, truncated, bar_place)
    rows = query.ordered(kept)
    asked = {"adjustment": query.adjustment, "session": query.session}
    if form == "csv":
        content = csv_bytes(DAILY_FORM, with_flags(rows), query.numeric)
    elif form == "arrow":
        about = {"symbol": symbol, "interval": query.interval, **asked}
        content = arrow_bytes(DAILY_FORM, with_flags(rows), about)
    else:
        envelope = {
            **asked_json(symbol, query),
            **asked,
            "as_of": time_text(query.as_of),
            "numeric": query.numeric,
            "calendar": daily.calendar,
            "tail": tail,
            "truncated": truncated,
            **cursors.fields(),
        }
        content = await json_with(envelope, "bars", rows, daily_json, query.numeric)
    return Body(content, cursors.next, cursors.previous, truncated, tail)
