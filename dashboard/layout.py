"""The shell around every page: navigation, theme, banner, keys, footer; and which page a path is."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import dash_bootstrap_components as dbc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from dashboard.pages import PAGES, Page, page_keys

KEYS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Everywhere",
        (
            *((f"g {key}", f"go to {PAGES[name].title}") for name, key in page_keys(PAGES).items()),
            ("t", "light or dark"),
            ("?", "show or hide these keys"),
        ),
    ),
    (
        "Chart",
        (
            ("← →", "move through time"),
            ("+ −", "zoom"),
            ("1 5 f", "bars of 1, 5 or 15 minutes"),
            ("/", "choose a symbol"),
            ("End", "go to now"),
        ),
    ),
)
"""What the help shows; the first column is what is pressed."""

INDEX = """<!DOCTYPE html>
<html lang="en" data-bs-theme="light">
<head>
{%metas%}
<meta name="theme-color" content="#171e28">
<title>{%title%}</title>
<link rel="icon" href="/assets/favicon.svg" type="image/svg+xml">
<script>THEME</script>
{%css%}
</head>
<body>
<div id="banner" role="alert" hidden></div>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>
"""

# Before anything is drawn: what was chosen, else what the system prefers. dcc.Store reads the same entry.
THEME_SCRIPT = """(() => {
  let theme = null;
  try {
    if (localStorage.getItem("theme-chosen")) { theme = JSON.parse(localStorage.getItem("theme")); }
    if (theme !== "light" && theme !== "dark") {
      theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    }
    localStorage.setItem("theme", JSON.stringify(theme));
  } catch (error) { theme = theme || "light"; }
  document.documentElement.dataset.bsTheme = theme;
})();"""


def index_string() -> str:
    """The HTML that every path answers with."""
    return INDEX.replace("THEME", THEME_SCRIPT)


def shell() -> Component:
    """The layout of the application."""
    return html.Div(
        [
            dcc.Location(id="location", refresh="callback-nav"),
            dcc.Store(id="theme", storage_type="local"),
            dcc.Store(id="api-state"),
            html.A("Skip to content", href="#page", className="skip-link"),
            _navbar(),
            html.Main(id="page", tabIndex=-1, className="page"),
            _footer(),
            _keys(),
        ],
        className="shell",
    )


def register(app: Dash) -> None:
    """The callbacks of the shell: one for routing, the rest in the browser (`assets/shell.js`)."""

    @app.callback(Output("page", "children"), Input("location", "pathname"), State("location", "search"))
    def route(pathname: str | None, search: str | None) -> Component:
        return page_at(pathname or "/", query_of(search))

    app.clientside_callback(
        ClientsideFunction("shell", "toggle"),
        Output("nav-menu", "is_open"),
        Input("nav-toggler", "n_clicks"),
        Input("location", "pathname"),
        State("nav-menu", "is_open"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("shell", "visited"),
        [Output(f"nav-{name}", "href") for name in PAGES],
        Input("location", "pathname"),
        Input("location", "search"),
    )


def query_of(search: str | None) -> dict[str, str]:
    """The query of a URL, the first value of each name.

    >>> query_of("?symbol=BTC%2FUSD&range=&symbol=x")
    {'symbol': 'BTC/USD', 'range': ''}
    """
    query: dict[str, str] = {}
    for name, value in parse_qsl((search or "").removeprefix("?"), keep_blank_values=True):
        query.setdefault(name, value)
    return query


def page_of(pathname: str) -> Page | None:
    """The page of a path, None where there is none. A slash at its end does not matter."""
    wanted = pathname.rstrip("/") or "/"
    return next((page for page in PAGES.values() if page.path == wanted), None)


def page_at(pathname: str, query: Mapping[str, str]) -> Component:
    """What is shown at a path."""
    page = page_of(pathname)
    return _unknown(pathname) if page is None else page.layout(dict(query))


def _unknown(pathname: str) -> Component:
    links = [html.Li(dcc.Link(page.title, href=page.path)) for page in PAGES.values()]
    return html.Div(
        [
            html.H1("There is no such page", className="h4"),
            html.P([html.Code(pathname[:200]), " leads nowhere. These do:"]),
            html.Ul(links),
        ],
        id="unknown-page",
        className="notice",
    )


def _navbar() -> Component:
    links = [dbc.NavLink(page.title, id=f"nav-{page.name}", href=page.path, active="exact") for page in PAGES.values()]
    return html.Header(
        [
            dcc.Link([_logo(), html.Span("tickstream")], href="/", className="brand"),
            html.Button(
                html.Span(className="navbar-toggler-icon"),
                id="nav-toggler",
                type="button",
                title="Menu",
                className="navbar-toggler",
                **_aria(label="Menu", controls="nav-menu"),
            ),
            dbc.Collapse(dbc.Nav(links, navbar=True), id="nav-menu", navbar=True, is_open=False),
            html.Div(
                [
                    html.Div(id="quality-badge"),
                    html.Span("connecting", id="connection", className="connection", role="status"),
                    html.Button("?", id="keys-switch", type="button", title="Keys (?)", className="round"),
                    html.Button("◐", id="theme-switch", type="button", title="Light or dark (t)", className="round"),
                ],
                className="tools",
            ),
        ],
        className="navbar navbar-expand-lg",
    )


def _logo() -> Component:
    """Three candles."""
    return html.Span([html.I(), html.I(), html.I()], className="logo", **_aria(hidden="true"))


def _aria(**attributes: str) -> dict[str, Any]:
    return {f"aria-{name}": value for name, value in attributes.items()}


def _footer() -> Component:
    return html.Footer(
        [
            html.Span(["All times are UTC: ", html.Time(id="utc-now")]),
            html.Span(
                [
                    "Candles: ",
                    html.A(
                        "TradingView Lightweight Charts™",
                        href="https://www.tradingview.com/",
                        target="_blank",
                        rel="noopener noreferrer",
                    ),
                ]
            ),
        ],
        className="foot",
    )


def _keys() -> Component:
    groups = [
        html.Div([html.H2(title, className="h6"), html.Dl([part for row in rows for part in _key_row(*row)])])
        for title, rows in KEYS
    ]
    parts = [dbc.ModalHeader(dbc.ModalTitle("Keys")), dbc.ModalBody(groups)]
    modal: Component = dbc.Modal(parts, id="keys", is_open=False, centered=True)
    return modal


def _key_row(keys: str, what: str) -> list[Component]:
    return [html.Dt([html.Kbd(key) for key in keys.split()]), html.Dd(what)]
