"""What pages of figures and tables are made of: cards, sections that explain themselves, tables, links to charts."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import dash_bootstrap_components as dbc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component

from dashboard.client import ApiClient, ApiDown, ApiRefused

EVERY = "*"
"""The choice of all symbols: no symbol is called so."""


def head(title: str, choice: Component) -> Component:
    """The page's title, and what is chosen on it."""
    return html.Div([html.H1(title, className="h4"), html.Div(choice, className="part-choice")], className="part-head")


def symbol_choice(key: str, symbol: str) -> Component:
    """A choice of one symbol or all of them, until the API has told which there are."""
    made: Component = dbc.Select(id=key, options=symbol_options([], symbol), value=symbol, size="sm")
    return made


def symbol_options(known: Sequence[str], chosen: str | None) -> list[dict[str, str]]:
    """All symbols, those that are known, and the one that is chosen, whether it is known or not."""
    named = sorted({*known, *([chosen] if chosen not in (None, EVERY) else [])})
    return [{"label": "All symbols", "value": EVERY}, *({"label": name, "value": name} for name in named)]


def register_symbols(app: Dash, client: ApiClient, key: str) -> None:
    """The callback that fills a choice of symbols with those that the API knows."""

    @app.callback(Output(key, "options"), Input("api-state", "data"), State(key, "value"))
    async def choices(_: Any, chosen: str | None) -> Any:
        try:
            return symbol_options(await client.symbols(), chosen)
        except (ApiDown, ApiRefused):
            return no_update


def register_fill(
    app: Dash,
    page: str,
    parts: Sequence[tuple[str, str]],
    filled: Callable[[str | None, str | None], Awaitable[tuple[Any, ...]]],
) -> None:
    """The callbacks of a page of one symbol or all: its parts anew when there is news, and the symbol into the URL.

    `parts` are names after `{page}-` and their properties; the first one says so when the API refuses. `filled` gets
    the symbol, None for all, and the theme; it returns the parts and raises ApiDown, which changes nothing, and
    ApiRefused.
    """
    inputs = [Input(f"{page}-symbol", "value"), Input(f"{page}-news", "data"), Input("api-state", "data")]

    @app.callback(*(Output(f"{page}-{name}", prop) for name, prop in parts), *inputs, Input("theme", "data"))
    async def fill(chosen: str | None, _news: Any, _state: Any, theme: str | None) -> tuple[Any, ...]:
        try:
            return await filled(None if chosen in (None, EVERY) else chosen, theme)
        except ApiDown:
            return (no_update,) * len(parts)
        except ApiRefused as refused:
            return (f"The API says: {refused.detail}", *(no_update,) * (len(parts) - 1))

    app.clientside_callback(ClientsideFunction(page, "chosen"), Input(f"{page}-symbol", "value"))


def newest_only(truncated: bool, count: int) -> Component | None:
    """A word about rows that are left out."""
    return html.P(f"Only the newest {count} are shown.", className="muted") if truncated else None


def section(key: str, title: str, explanation: str, content: Any) -> Component:
    """A part of a page under a heading with a button that explains it."""
    heading = html.H2([title, " ", *info(key, explanation)], className="h6")
    return html.Section([heading, *(content if isinstance(content, list) else [content])], className="part")


def card(key: str, title: str, explanation: str, value: str, more: str = "") -> Component:
    """A figure in large type, with what it means."""
    return html.Div(
        [
            html.Div([title, " ", *info(f"{key}-info", explanation)], className="part-card-title"),
            html.Div(value, className="part-card-value", id=key),
            html.Div(more or "\u00a0", className="muted part-card-more"),
        ],
        className="part-card",
    )


def info(key: str, text: str) -> list[Component]:
    """A button that explains something."""
    button = html.Button("i", id=key, type="button", className="part-info", title="What this is")
    return [button, dbc.Popover(worded(text), target=key, body=True, trigger="hover focus", placement="bottom")]


def worded(text: str) -> list[Any]:
    """A text whose parts in backticks are code.

    >>> worded("or `make up`")
    ['or ', Code('make up'), '']
    """
    return [html.Code(part) if place % 2 else part for place, part in enumerate(text.split("`"))]


def graph(key: str) -> Component:
    """A figure that is not there yet."""
    empty = {"data": [], "layout": {"height": 200, "xaxis": {"visible": False}, "yaxis": {"visible": False}}}
    return dcc.Graph(id=key, figure=empty, config={"displayModeBar": False})


def chart_link(symbol: str, interval: str = "1m") -> Component:
    """A symbol's name, which leads to its chart."""
    return dcc.Link(symbol, href=f"/?{urlencode({'symbol': symbol, 'interval': interval})}")


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]], wrapped: Sequence[str] = ()) -> Component:
    """Rows under their titles; cells of the columns `wrapped` may take several lines."""
    # A few components each, as the browser looks at all of them at every change. On a narrow screen a row is a list,
    # and the style sheet shows each cell's title.
    body = [html.Tr([_cell(title, cell, wrapped) for title, cell in zip(titles, row, strict=True)]) for row in rows]
    made = html.Table(
        [html.Thead(html.Tr([html.Th(title, scope="col") for title in titles])), html.Tbody(body)],
        className="table table-sm part-table",
    )
    return html.Div(made, className="part-scroll", tabIndex=0)


def _cell(title: str, cell: Any, wrapped: Sequence[str]) -> Component:
    return html.Td(cell, title=title, className="words") if title in wrapped else html.Td(cell, title=title)
