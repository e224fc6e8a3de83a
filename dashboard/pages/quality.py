"""The page `quality`: how right the bars were, what was amended and why, late ticks, gaps.

The server follows a few figures for all browsers; where one changes, `assets/quality.js` lets the page ask again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dash_bootstrap_components as dbc
from dash import Dash, Input, Output, dcc, html, no_update
from dash.development.base_component import Component

from dashboard.client import ApiClient, ApiDown, ApiRefused
from dashboard.figures.quality import calendar_figure, lateness_figure
from dashboard.pages.quality_tables import amendments_table, gaps_table, revisions_table
from dashboard.pages.quality_view import EXPLAINED, cards
from dashboard.pages.quality_words import late_text, sentence, time_text
from dashboard.parts import EVERY, graph, head, newest_only, register_fill, register_symbols, section, symbol_choice
from dashboard.theme import theme_of

Row = Mapping[str, Any]

DAYS = 30
MOST_DAY_ROWS = 40_000
MOST_AMENDMENTS = 25
MOST_GAPS = 25
AMENDED_DAYS = 7
RUNS = 120
PARTS = (
    ("sentence", "children"),
    ("cards", "children"),
    ("calendar", "figure"),
    ("late-text", "children"),
    ("late", "figure"),
    ("amendments", "children"),
    ("gaps", "children"),
)


@dataclass(frozen=True)
class Found:
    """What the API says, by route; `days` and `totals` are of the symbol alone where one is chosen."""

    today: str
    first: str
    totals: Sequence[Row]
    days: Sequence[Row]
    amendments: Row
    reasons: Mapping[str, int]
    gaps: Row
    runs: Sequence[Row]


def layout(query: dict[str, str]) -> Component:
    """The page without figures."""
    symbol = query.get("symbol") or EVERY
    return html.Div(
        [
            head("Data quality", symbol_choice("quality-symbol", symbol)),
            html.P("Asking the API …", id="quality-sentence", className="part-sentence", role="status"),
            html.Div(id="quality-cards", className="part-cards"),
            _section("calendar", "Match by day", graph("quality-calendar")),
            _section("late", "Late ticks", [html.P(id="quality-late-text"), graph("quality-late")]),
            _section("amendments", "Amended bars", html.Div(id="quality-amendments")),
            _section("gaps", "Gaps of feeds", html.Div(id="quality-gaps")),
            dbc.Modal(
                [dbc.ModalHeader(dbc.ModalTitle(id="quality-bar")), dbc.ModalBody(id="quality-revisions")],
                id="quality-modal",
                size="xl",
                scrollable=True,
            ),
            dcc.Store(id="quality-news"),
            dcc.Store(id="quality-asked"),
        ],
        id="quality-page",
    )


def register(app: Dash, client: ApiClient) -> None:
    """The callbacks: everything anew, the list of symbols, all revisions of one bar."""

    async def filled(symbol: str | None, theme: str | None) -> tuple[Any, ...]:
        return shown(await read(client, symbol, datetime.now(UTC)), symbol, theme)

    register_fill(app, "quality", PARTS, filled)
    register_symbols(app, client, "quality-symbol")

    @app.callback(
        Output("quality-modal", "is_open"),
        Output("quality-bar", "children"),
        Output("quality-revisions", "children"),
        Input("quality-asked", "data"),
        prevent_initial_call=True,
    )
    async def revisions(asked: Mapping[str, Any] | None) -> tuple[Any, Any, Any]:
        if not asked:
            return no_update, no_update, no_update
        interval, start, symbol = asked["bar"].split(" ", 2)
        title = f"{symbol} {interval} · {time_text(start)[:16]} UTC"
        try:
            answer = await client.revisions(symbol, interval, start)
        except (ApiDown, ApiRefused) as error:
            return True, title, html.P(f"The revisions cannot be read: {error}")
        return True, title, revisions_table(answer["revisions"])


async def read(client: ApiClient, symbol: str | None, now: datetime) -> Found:
    """Everything that the page shows, of all symbols or of one. Raises ApiDown, ApiRefused."""
    first, midnight = now.date() - timedelta(days=DAYS - 1), now.strftime("%Y-%m-%dT00:00:00Z")
    since = (now - timedelta(days=AMENDED_DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    path = "/api/v1/quality"
    days, amendments, today, gaps, late = await asyncio.gather(
        client.quality(symbol, start=f"{first}T00:00:00Z")
        if symbol
        else client.get(f"{path}/days", days=DAYS, last=f"{now:%Y-%m-%d}", limit=MOST_DAY_ROWS),
        client.get(f"{path}/amendments", symbol=symbol, since=since, limit=MOST_AMENDMENTS),
        client.get(f"{path}/amendments", symbol=symbol, since=midnight, limit=1),
        client.get(f"{path}/gaps", symbol=symbol, limit=MOST_GAPS),
        client.late_ticks(limit=RUNS),
    )
    of_days = [{**row, "symbol": symbol} for row in days["days"]] if symbol else days["days"]
    totals = of_days if symbol else days["totals"]
    return Found(
        f"{now:%Y-%m-%d}", first.isoformat(), totals, of_days, amendments, today["reasons"], gaps, late["runs"]
    )


def shown(found: Found, symbol: str | None, theme: str | None) -> tuple[Any, ...]:
    """The values of PARTS."""
    names = [symbol] if symbol else []
    return (
        sentence(found.today, found.totals, found.reasons, symbol),
        cards(found.today, found.totals, found.reasons, found.runs, found.gaps["states"]),
        calendar_figure(found.totals, found.days, found.first, found.today, theme_of(theme), names),
        late_text(found.runs),
        lateness_figure(found.runs, theme_of(theme)),
        [amendments_table(found.amendments["amendments"]), newest_only(found.amendments["truncated"], MOST_AMENDMENTS)],
        [gaps_table(found.gaps["gaps"]), newest_only(found.gaps["truncated"], MOST_GAPS)],
    )


def _section(name: str, title: str, content: Any) -> Component:
    return section(f"quality-info-{name}", title, EXPLAINED[name], content)
