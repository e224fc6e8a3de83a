"""`/udf`: TradingView's Universal Datafeed, so that its charts read us without a line of code.

Parameters that we do not know are left alone: charts send what their version thinks of. Errors have the datafeed's own
shape, with the status that says what kind they are.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import PlainTextResponse, Response

from api import errors
from api.models_udf import UdfBars, UdfConfig, UdfError, UdfFound, UdfNoData, UdfSymbol
from api.params import Configured, Now
from api.params_market import Board, Market
from api.render import Json
from api.udf import RESOLUTIONS, Asked, found_json, read_history, resolve, symbol_json
from core.errors import ConfigError, InputError, Retryable, TickstreamError
from core.intervals import SECOND_US
from core.validate import SYMBOL_PATTERN

MAX_SECONDS = 253_402_300_799
MAX_FOUND = 100
WRONG: dict[int | str, dict[str, Any]] = {
    status: {"model": UdfError, "description": text}
    for status, text in (
        (404, "No store has seen the symbol"),
        (422, "A parameter is wrong"),
        (503, "A store does not answer; try again after `Retry-After` seconds"),
    )
}


class UdfRoute(APIRoute):
    """Errors as `{"s": "error", "errmsg": …}`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def call(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                return _error(422, "; ".join(_sentence(problem) for problem in error.errors()))
            except TickstreamError as error:
                return _translated(error)

        return call


router = APIRouter(prefix="/udf", tags=["udf"], route_class=UdfRoute)
SymbolName = Annotated[str, Query(pattern=f"^{SYMBOL_PATTERN}$", examples=["BTC-USD"])]


class SearchQuery(BaseModel):
    """What is looked for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    query: str = Field("", max_length=64, description="part of a name, in any case; empty: all")
    type: str = Field("", max_length=64)
    exchange: str = Field("", max_length=64)
    limit: int = Field(30, ge=1, le=MAX_FOUND)


class HistoryQuery(BaseModel):
    """Which bars."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    symbol: str = Field(pattern=f"^{SYMBOL_PATTERN}$", examples=["BTC-USD"])
    resolution: str = Field(
        description="minutes", examples=["1"], json_schema_extra={"enum": list(RESOLUTIONS)}, max_length=8
    )
    start: int = Field(
        alias="from", ge=-MAX_SECONDS, le=MAX_SECONDS, description="epoch seconds", examples=[1714570200]
    )
    end: int = Field(
        alias="to", ge=-MAX_SECONDS, le=MAX_SECONDS, description="epoch seconds, exclusive", examples=[1714573800]
    )
    countback: int | None = Field(
        None, ge=1, le=1_000_000, description="as many bars before `to`, whatever `from` is", examples=[300]
    )


@router.get("/config", response_model=UdfConfig, responses={503: WRONG[503]})
async def config(settings: Configured) -> Json:
    """What this datafeed can do."""
    kind = "crypto" if settings.calendar == "24/7" else "stock"
    return Json(
        {
            "supports_search": True,
            "supports_group_request": False,
            "supports_marks": False,
            "supports_timescale_marks": False,
            "supports_time": True,
            "supported_resolutions": [name for name, each in RESOLUTIONS.items() if each in settings.bar_intervals],
            "exchanges": [
                {"value": "", "name": "All", "desc": ""},
                {"value": settings.calendar, "name": settings.calendar, "desc": "the calendar of the sessions"},
            ],
            "symbols_types": [{"value": "", "name": "All"}, {"value": kind, "name": kind}],
        }
    )


@router.get("/symbols", response_model=UdfSymbol, responses=WRONG)
async def symbols(symbol: SymbolName, settings: Configured, market: Market, clock: Now) -> Json:
    """One symbol: its hours, its time zone, how its prices are written."""
    row = await resolve(symbol, market)
    return Json(await symbol_json(row, settings.calendar, settings.bar_intervals, market, clock.now_us()))


@router.get("/search", response_model=list[UdfFound], responses={key: WRONG[key] for key in (422, 503)})
async def search(query: Annotated[SearchQuery, Query()], settings: Configured, market: Market) -> Json:
    """Symbols by part of their name."""
    wanted = query.query.upper()
    found = [found_json(row, settings.calendar) for row in await market.seen() if wanted in row["symbol"].upper()]
    fitting = [each for each in found if query.type in ("", each["type"]) and query.exchange in ("", each["exchange"])]
    return Json(fitting[: query.limit])


@router.get("/history", response_model=UdfBars | UdfNoData, responses=WRONG)
async def history(query: Annotated[HistoryQuery, Query()], settings: Configured, market: Market, board: Board) -> Json:
    """Bars that start in `[from, to)`, or with `countback` so many before `to`, by column; at most 10,000.

    Bars still forming are there too. Without any bar `s` is `no_data`, and `nextTime` is where the chart should go on
    looking backwards. Under an exchange's calendar these are the bars of its regular hours.
    """
    interval = RESOLUTIONS.get(query.resolution)
    if interval is None or interval not in settings.bar_intervals:
        raise InputError(f"resolution: unknown; known: {', '.join(RESOLUTIONS)}")
    if query.countback is None and query.end < query.start:
        raise InputError("to: before from")
    row = await resolve(query.symbol, market)
    start_us, end_us = max(0, query.start) * SECOND_US, max(0, query.end) * SECOND_US
    asked = Asked(row["symbol"], interval, start_us, end_us, query.countback)
    return Json(await read_history(asked, settings.calendar, market, board))


@router.get("/time", response_class=PlainTextResponse)
async def time(clock: Now) -> PlainTextResponse:
    """Epoch seconds, as text."""
    return PlainTextResponse(str(clock.now_us() // SECOND_US))


def _translated(error: TickstreamError) -> Json:
    if isinstance(error, errors.UnknownSymbol):
        return _error(404, "unknown_symbol")
    if isinstance(error, Retryable | ConfigError):
        seconds = getattr(error, "retry_after", errors.MIGRATION_RETRY_SECONDS)
        return _error(503, str(error), {"Retry-After": str(max(1, round(seconds)))})
    if isinstance(error, InputError):
        return _error(422, str(error))
    raise error


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Json:
    return Json({"s": "error", "errmsg": message}, status_code=status, headers=headers)


def _sentence(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"][1:])
    return f"{name}: {problem['msg']}".encode(errors="backslashreplace").decode()
