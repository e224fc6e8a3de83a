"""The page `predictions`: what the predictor says of every symbol, live, and what it has been worth.

The server answers with the newest predictions and the scorecard; the browser takes it from there over the socket
(`assets/predictions.js`), and asks for the scorecard again once a minute.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dash_bootstrap_components as dbc
from dash import ClientsideFunction, Dash, Input, Output, dcc, html, no_update
from dash.development.base_component import Component

from core.intervals import INTERVALS
from dashboard.client import ApiClient, ApiDown, ApiRefused
from dashboard.figures.predictions import bars_ahead, calibration_figure, skill_figure
from dashboard.pages.predictions_grid import predictions_grid
from dashboard.pages.predictions_model import model_part
from dashboard.parts import graph, head, section
from dashboard.theme import theme_of

Row = Mapping[str, Any]

HOURS = 24
MOST_FOLLOWED = 450  # one socket of the API may follow 500 streams
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
ABOUT_SKILL = (
    "Of the predictions of the last 24 hours whose outcomes are known: 1 − error / error of a baseline that needs no"
    " model. At 0 the model is as good as that, below it worse. The direction is held against a coin, and against the"
    " share of rises of these same hours, which nobody could have known; the return against saying 0. Lines are 95 %"
    " intervals from blocks of time: one that includes 0 shows no skill."
)
ABOUT_CALIBRATION = (
    "The predictions in tenths by what they said. On the dashed line, what was said came as often as it was said. Bars"
    " are two standard errors of independent outcomes; these are less independent, so they are rather wider."
)


ABOUT_NEWEST = (
    "What the model said after the newest bar of each symbol: no advice. Grey: in training, out of sample, it did not"
    " beat its baselines there, so it abstains; the numbers are kept so that they can be scored."
)


ABOUT_MODEL = (
    "What the model was worth before it served: each block of time was predicted by models that had seen nothing of it."
    " A horizon abstains unless the whole 95 % interval of its skill lies above 0 against every baseline; shown is the"
    " baseline that it stands worst against."
)


def layout(query: dict[str, str]) -> Component:
    """The page without predictions."""
    asked = query.get("interval")
    interval = asked if asked in INTERVALS else "1m"
    choice = dbc.Select(
        id="predictions-interval",
        options=[{"label": f"{name} bars", "value": name} for name in INTERVALS],
        value=interval,
        size="sm",
    )
    return html.Div(
        [
            head("Predictions", choice),
            html.P("Asking the API …", id="predictions-notice", className="part-sentence", role="status"),
            html.Div(id="predictions-cards", className="part-cards predictions-cards"),
            html.Div(
                [
                    section("predictions-info-skill", "Skill", ABOUT_SKILL, graph("predictions-skill")),
                    section(
                        "predictions-info-calibration",
                        "Calibration",
                        ABOUT_CALIBRATION,
                        graph("predictions-calibration"),
                    ),
                ],
                className="predictions-worth",
                id="predictions-worth",
            ),
            html.Div(
                section("predictions-info-newest", "Newest predictions", ABOUT_NEWEST, predictions_grid()),
                className="predictions-newest",
            ),
            section("predictions-info-model", "The model that serves", ABOUT_MODEL, html.Div(id="predictions-model")),
            dcc.Store(id="predictions-base"),
            dcc.Store(id="predictions-reload"),
        ],
        id="predictions-page",
    )


def register(app: Dash, client: ApiClient) -> None:
    """Two callbacks ask the API, for predictions and for the scorecard; the rest happens in the browser."""

    @app.callback(
        Output("predictions-base", "data"), Input("predictions-interval", "value"), Input("api-state", "data")
    )
    async def load(interval: str | None, _: Any) -> Any:
        if interval not in INTERVALS:
            return no_update
        try:
            found, symbols = await asyncio.gather(
                client.get("/api/v1/predictions", interval=interval), client.symbols()
            )
        except ApiDown:
            return no_update
        except ApiRefused as refused:
            return {"problem": f"The API says: {refused.detail}"}
        return base(found, symbols)

    @app.callback(
        Output("predictions-cards", "children"),
        Output("predictions-skill", "figure"),
        Output("predictions-calibration", "figure"),
        Output("predictions-worth", "hidden"),
        Input("predictions-interval", "value"),
        Input("predictions-reload", "data"),
        Input("api-state", "data"),
        Input("theme", "data"),
    )
    async def judge(interval: str | None, _: Any, __: Any, theme: str | None) -> tuple[Any, ...]:
        if interval not in INTERVALS:
            return (no_update,) * 4
        try:
            found = await client.get("/api/v1/predictions/scorecard", interval=interval, hours=HOURS)
        except (ApiDown, ApiRefused):
            return (no_update,) * 4
        return worth(found["scores"], theme)

    @app.callback(
        Output("predictions-model", "children"),
        Input("predictions-interval", "value"),
        Input("predictions-reload", "data"),
        Input("api-state", "data"),
    )
    async def model(interval: str | None, _: Any, __: Any) -> Any:
        if interval not in INTERVALS:
            return no_update
        try:
            return model_part(await client.get("/api/v1/predictions/models", interval=interval))
        except (ApiDown, ApiRefused):
            return no_update

    app.clientside_callback(ClientsideFunction("predictions", "load"), Input("predictions-base", "data"))
    app.clientside_callback(ClientsideFunction("predictions", "chosen"), Input("predictions-interval", "value"))


def base(found: Row, symbols: Sequence[str]) -> dict[str, Any]:
    """What the browser begins with: rows of the grid, the symbols that it follows, the server's clock."""
    interval = found["interval"]
    return {
        "interval": interval,
        "bar_us": INTERVALS[interval].us,
        "now_us": us_of(found["now"]),
        "rows": [row_of(row) for row in found["predictions"]],
        "followed": sorted(symbols)[:MOST_FOLLOWED],
        "beyond": max(0, len(symbols) - MOST_FOLLOWED),
    }


def row_of(row: Row) -> dict[str, Any]:
    """A prediction of the API as the grid has it."""
    same = ("symbol", "horizon", "expected_return", "rise_probability", "volatility", "abstains", "model")
    return {name: row[name] for name in same} | {"end_us": us_of(row["end"]), "outcome_us": us_of(row["outcome_at"])}


def us_of(text: str) -> int:
    """RFC 3339 as epoch microseconds.

    >>> us_of("1970-01-01T00:00:01.000002Z")
    1000002
    """
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


def worth(scores: Sequence[Row], theme: str | None) -> tuple[Any, ...]:
    """The values of the outputs of `judge`, of the newest model that has any outcome, or else of the newest."""
    shown = newest_model(scores)
    name = theme_of(theme)
    nothing = not any(row["moved"] for row in shown)
    return [card(row) for row in shown], skill_figure(shown, name), calibration_figure(shown, name), nothing


def newest_model(scores: Sequence[Row]) -> list[Row]:
    """The scores of the newest model that has known outcomes; of the newest one where none has."""
    models = list(dict.fromkeys(row["model"] for row in scores))
    known = [model for model in models if any(row["moved"] for row in scores if row["model"] == model)]
    chosen = next(iter(known or models), None)
    return [row for row in scores if row["model"] == chosen]


def card(row: Row) -> Component:
    """How one horizon fared: the direction in figures, and the verdict in words."""
    right = row["direction_right"]
    more = f"{row['known']:,} of {row['made']:,} outcomes known, {row['blocks']} blocks of {row['block_minutes']} min"
    apart = f", {row['other_session']:,} reach into another session" if row["other_session"] else ""
    return html.Div(
        [
            html.Div(f"{bars_ahead(row['horizon'])} ahead", className="part-card-title"),
            html.Div(["–" if right is None else percent(right["value"]), html.Small(_spread(right))],
                     className="part-card-value", title="how often the likelier direction came"),
            html.P(row["verdict"], className="predictions-verdict"),
            html.Div(f"{more}{apart}; model {row['model']}", className="muted part-card-more"),
        ],
        className="part-card",
    )  # fmt: skip


def _spread(right: Row | None) -> str:
    if right is None or right["low"] is None:
        return " direction right"
    return f" direction right, {percent(right['low'])} to {percent(right['high'])}"


def percent(share: float) -> str:
    """
    >>> percent(0.5123)
    '51.2 %'
    """
    return f"{100 * share:.1f} %"
