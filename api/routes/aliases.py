"""Paths that people know from elsewhere: each is another name of a resource, with the same handler behind it.

A `{symbol}` of a resource that its other name lacks is taken from the query.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, get_args, get_origin

from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, create_model

from api.routes import analytics, bars, indicators, latest, prices, symbols, ticks
from core.validate import SYMBOL_PATTERN

BARS = "/api/v1/bars/{symbol:path}"
TICKS = "/api/v1/ticks/{symbol:path}"
LATEST = "/api/v1/latest/{symbol:path}"
INDICATORS = "/api/v1/indicators/{symbol:path}"
INTRADAY = "/api/v1/analytics/intraday/{symbol:path}"
DAILY = "/api/v1/analytics/daily/{symbol:path}"
SYMBOLS = "/api/v1/symbols"
PRICE = "/api/v1/prices/latest"

ALIASES: dict[str, str] = {
    "/api/data/{symbol:path}": TICKS,
    "/api/ohlc/{symbol:path}": BARS,
    "/api/analytics/intraday/{symbol:path}": INTRADAY,
    "/api/analytics/daily/{symbol:path}": DAILY,
    "/api/indicators/{symbol:path}": INDICATORS,
    "/analytics/{symbol:path}": INTRADAY,
    "/symbols": SYMBOLS,
    "/price/latest": PRICE,
    "/trades": TICKS,
    "/candles": BARS,
    "/api/v1/aggregated/{symbol:path}": BARS,
    "/api/v1/stocks": SYMBOLS,
    "/api/v1/stocks/{symbol:path}/price": LATEST,
    "/api/v1/stocks/{symbol:path}/history": BARS,
    "/api/v1/stocks/{symbol:path}/indicators": INDICATORS,
}
"""Other name -> resource."""

Handler = Callable[..., Awaitable[Any]]
_SOURCES = (analytics, bars, indicators, latest, prices, symbols, ticks)


def _router() -> APIRouter:
    resources = {
        route.path: route for source in _SOURCES for route in source.router.routes if isinstance(route, APIRoute)
    }
    router = APIRouter()
    for path, resource in ALIASES.items():
        _add(router, path, resources[resource])
    return router


def _add(router: APIRouter, path: str, resource: APIRoute) -> None:
    from_query = "{symbol" in resource.path and "{symbol" not in path
    router.add_api_route(
        path,
        _by_query(resource.endpoint) if from_query else resource.endpoint,
        methods=["GET"],
        response_model=resource.response_model,
        response_class=resource.response_class,
        responses=resource.responses,
        dependencies=resource.dependencies,
        openapi_extra=resource.openapi_extra,
        tags=["aliases"],
        deprecated=False,
        summary=f"Another name of {_plain(resource.path)}",
        description=f"Answers what `{_plain(resource.path)}` does.",
        route_class_override=type(resource),
    )


def _by_query(handler: Handler) -> Handler:
    """The handler with its symbol as one more field of its query."""
    signature = inspect.signature(handler, eval_str=True)
    name, model = _query_of(signature)
    fields: dict[str, Any] = {"symbol": (str, Field(pattern=f"^{SYMBOL_PATTERN}$", examples=["BTC-USD"]))}
    extended: Any = create_model(f"{model.__name__}OfSymbol", __base__=model, **fields)

    async def call(**given: Any) -> Any:
        asked = given.pop(name)
        values = {field: getattr(asked, field) for field in model.model_fields}
        query = model.model_construct(asked.model_fields_set - {"symbol"}, **values)
        return await handler(symbol=asked.symbol, **{name: query}, **given)

    of_symbol = Annotated[extended, Query()]
    changed = [
        each.replace(kind=each.KEYWORD_ONLY, annotation=of_symbol if each.name == name else each.annotation)
        for each in signature.parameters.values()
        if each.name != "symbol"
    ]
    call.__signature__ = signature.replace(parameters=changed)  # type: ignore[attr-defined]
    call.__name__ = f"{handler.__name__}_of_symbol"
    return call


def _query_of(signature: inspect.Signature) -> tuple[str, type[BaseModel]]:
    """The parameter that holds the query, and its model."""
    for each in signature.parameters.values():
        if get_origin(each.annotation) is Annotated:
            model, *_ = get_args(each.annotation)
            if isinstance(model, type) and issubclass(model, BaseModel):
                return each.name, model
    raise TypeError(f"no query in {signature}")


def _plain(path: str) -> str:
    return path.replace(":path", "")


router = _router()
