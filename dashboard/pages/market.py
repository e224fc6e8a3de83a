"""The page `market`: every symbol in a grid and a heat map, live.

The server answers with the API's roll-ups; the browser adds live bars to them (`assets/market.js`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import ClientsideFunction, Dash, Input, Output, ctx, dcc, html, no_update
from dash.development.base_component import Component

from dashboard.client import ApiClient, ApiDown, ApiRefused
from dashboard.figures.heat import heat_figure
from dashboard.pages.market_grid import STALE_SECONDS, market_grid
from dashboard.theme import theme_of

MOST_ROWS = 1000
MOST_FOLLOWED = 450  # one socket of the API may follow 500 streams
POINTS = 30
APART = 3  # bars left to the socket: the forming one, and those that may not be final yet
MARKET = "market-page"


def layout(query: dict[str, str]) -> Component:
    """The page without rows."""
    return html.Div(
        [
            html.Div(
                [
                    html.H1("Market", className="h4"),
                    html.Span(id="market-summary", role="status"),
                    html.Div(
                        dbc.Input(
                            id="market-search",
                            type="search",
                            value=query.get("q", ""),
                            placeholder="Find a symbol",
                            size="sm",
                            autocomplete="off",
                        ),
                        className="market-find",
                    ),
                ],
                className="market-head",
            ),
            html.P("Waiting for the market …", id="market-notice"),
            html.Div(
                [_heat(), html.Div(market_grid(), className="market-card market-grid-card")], className="market-body"
            ),
            dcc.Store(id="market-base"),
            dcc.Store(id="market-reload"),
        ],
        id=MARKET,
    )


def register(app: Dash, client: ApiClient) -> None:
    """One callback asks the API; the rest happens in the browser."""

    @app.callback(
        Output("market-base", "data"),
        Output("market-heat", "figure"),
        Output("market-problem", "children"),
        Input("api-state", "data"),
        Input("market-reload", "data"),
        Input("theme", "data"),
    )
    async def load(_: Any, asked: Mapping[str, Any] | None, theme: str | None) -> tuple[Any, Any, Any]:
        symbols = (asked or {}).get("symbols") if ctx.triggered_id == "market-reload" else None
        try:
            found = await client.overview(**parameters(symbols))
        except ApiDown:
            return no_update, no_update, no_update
        except ApiRefused as refused:
            return no_update, no_update, f"The API refuses to show the market: {refused.detail}"
        if symbols:
            return base(found, partial=True), no_update, ""
        return base(found), heat_figure(found["symbols"], theme_of(theme)), ""

    app.clientside_callback(ClientsideFunction("market", "load"), Input("market-base", "data"))
    app.clientside_callback(ClientsideFunction("market", "onTile"), Input("market-heat", "clickData"))


def parameters(symbols: Sequence[str] | None) -> dict[str, Any]:
    """What is asked of `/api/v1/market/overview`, for all symbols or for these."""
    named = {"symbols": ",".join(symbols)} if symbols else {}
    return named | {
        "limit": MOST_ROWS,
        "points": POINTS,
        "apart": APART,
        "stale_after": STALE_SECONDS,
        "sort": "volume",
    }


def base(found: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
    """What the browser begins with: the overview's rows, and the symbols that it follows live.

    Those with the least notional are left out where a socket cannot follow all.
    """
    rows = found["symbols"]
    ranked = sorted(rows, key=lambda row: (-float(row["notional"] or 0), row["symbol"]))
    return {
        "rows": rows,
        "followed": sorted(row["symbol"] for row in ranked[:MOST_FOLLOWED]),
        "partial": partial,
        "truncated": found["truncated"],
        "live": found["live"],
        "stale_after": STALE_SECONDS,
        "points": POINTS,
    }


def _heat() -> Component:
    return html.Section(
        [
            html.P(
                "Size: notional of the session. Colour: change against the prior close, or since the open where no such"
                " close is known; blue rose, orange fell."
            ),
            dcc.Graph(
                id="market-heat",
                config={"displayModeBar": False},
                figure={"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}},
                responsive=True,
            ),
            html.P(id="market-problem", role="alert"),
        ],
        className="market-card market-heat-card",
    )
