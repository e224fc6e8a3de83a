"""The page `chart`: candles of one symbol with indicators, live.

The server brings columns of bars (`figures/candles.py`); the browser fills the chart with them, follows the push, and
keeps the URL (`assets/chart.js`). With `engine=plotly` the same is drawn by Plotly.
"""

import asyncio
from dataclasses import asdict
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State
from dash.development.base_component import Component

from dashboard.client import ApiClient, ApiDown, ApiRefused
from dashboard.figures.candles import columns
from dashboard.figures.plotly_candles import figure
from dashboard.pages.chart_layout import page
from dashboard.pages.chart_query import SECONDS, Asked, asked_of
from dashboard.pages.chart_reading import Bars, newest_bars, older_bars, text_of, unpushed_columns
from dashboard.theme import theme_of

Payload = dict[str, Any]
OLDER = 2000
"""Bars that are read when somebody scrolls to the left edge."""


def layout(query: dict[str, str]) -> Component:
    """The page as a URL asks for it, still without bars."""
    return page(asked_of(query))


def register(app: Dash, client: ApiClient) -> None:
    """The callbacks: what the server reads, and the browser's."""

    @app.callback(Output("chart-data", "data"), Input("chart-asked", "data"), State("theme", "data"))
    async def load(data: dict[str, Any], theme: str | None) -> Payload:
        return await loaded(client, asked_of(data), data.get("theme") or theme)

    @app.callback(Output("chart-older", "data"), Input("chart-older-asked", "data"), prevent_initial_call=True)
    async def older(data: dict[str, Any]) -> Payload:
        return await extended(client, asked_of(data), int(data["before"]))

    @app.callback(Output("chart-symbol", "options"), Input("api-state", "data"), State("chart-symbol", "value"))
    async def options(_: object, chosen: str | None) -> list[str]:
        return await symbols(client, chosen)

    _in_browser(app)


def _in_browser(app: Dash) -> None:
    pickers = [Input(f"chart-{name}", "value") for name in ("symbol", "interval", "range", "overlays")]
    inputs: dict[str, list[Input | State]] = {
        "load": [Input("chart-data", "data"), State("chart-styles", "data")],
        "older": [Input("chart-older", "data")],
        "ranged": [Input("chart", "visibleLogicalRange")],
        "pointed": [Input("chart", "crosshair")],
        "picked": [*pickers],
        "visited": [Input("location", "search")],
        "recovered": [Input("api-state", "data")],
    }
    for name, given in inputs.items():
        app.clientside_callback(
            ClientsideFunction("chart", name),
            Output(f"chart-done-{name}", "data"),
            *given,
            prevent_initial_call=name not in ("load", "picked"),
        )


async def loaded(client: ApiClient, asked: Asked, theme: str | None = None) -> Payload:
    """What the chart starts with. Says `problem` when the API refuses, and when to `retry` while it is down."""
    try:
        symbol = asked.symbol or await _some_symbol(client)
        if symbol is None:
            return _answer(asked, problem="No symbol has traded yet.")
        found, unpushed = await asyncio.gather(
            newest_bars(client, symbol, asked.interval, asked.count),
            unpushed_columns(client, symbol, asked.interval),
        )
    except ApiDown as error:
        return _answer(asked, retry=error.retry_after)
    except ApiRefused as error:
        return _answer(asked, problem=_refusal(error, asked))
    payload = _answer(asked, found, symbol, unpushed=unpushed)
    payload["visible"] = _visible(payload, asked)
    if asked.engine == "plotly":
        payload["figure"] = figure(payload, asked.groups, theme_of(theme)).to_plotly_json()
    return payload


def _refusal(error: ApiRefused, asked: Asked) -> str:
    return f"Nobody has heard of {asked.symbol}. Choose another symbol." if error.status == 404 else error.detail


async def extended(client: ApiClient, asked: Asked, before: int) -> Payload:
    """Bars that start before `before`, epoch seconds, up to it."""
    try:
        found = await older_bars(client, str(asked.symbol), asked.interval, OLDER, text_of(before))
    except ApiDown as error:
        return _answer(asked, retry=error.retry_after, symbol=asked.symbol)
    except ApiRefused as error:
        return _answer(asked, problem=error.detail, symbol=asked.symbol)
    return _answer(asked, found, asked.symbol, until=before)


async def symbols(client: ApiClient, chosen: str | None) -> list[str]:
    """What there is to choose, the chosen one in any case."""
    try:
        known = await client.symbols()
    except (ApiDown, ApiRefused):
        known = []
    return sorted({*known, *([chosen] if chosen else [])})


async def _some_symbol(client: ApiClient) -> str | None:
    return next(iter(await client.symbols()), None)


def _answer(
    asked: Asked, found: Bars | None = None, symbol: str | None = None, until: int | None = None, **said: Any
) -> Payload:
    payload = {"asked": asdict(asked), "symbol": symbol, "interval": asked.interval, **said}
    if found is not None:
        payload |= columns(found.bars, found.indicators, SECONDS[asked.interval], until) | {"more": found.more}
    return payload


def _visible(payload: Payload, asked: Asked) -> int:
    """How many slots the asked range has, counted back from the newest bar."""
    times = payload["columns"]["time"]
    if asked.seconds is None or not len(times):
        return len(times)
    return int((times > times[-1] - asked.seconds).sum())
