"""What the chart page consists of."""

import json
from dataclasses import asdict
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html
from dash.development.base_component import Component
from dash_tvlwc import Tvlwc

from dashboard.figures.candles import PANES, style
from dashboard.figures.overlays import GROUPS, SHOWN
from dashboard.pages.chart_query import DEFAULT_INTERVAL, DEFAULT_RANGE, RANGES, SECONDS, Asked
from dashboard.parts import info
from dashboard.theme import PALETTES

CALLBACKS = ("load", "older", "ranged", "pointed", "picked", "visited", "recovered")
DEFAULTS = {"interval": DEFAULT_INTERVAL, "range": DEFAULT_RANGE, "overlays": ",".join(SHOWN)}
REPORT_MS = 60
"""Between reports of the pointer and of what is visible; each goes through all of Dash, a third of a frame's work."""
HELP = (
    "Hollow: still forming. Dot: amended after it was final. Grey column: no bar for that slot, because nobody traded "
    "or it has not come yet. Blue column: first bar after a break, which the axis leaves out. Pale line: it only "
    "connects two bars over slots or a break without any. Bars narrower than a pixel are shown together, with their "
    "highest high and lowest low."
)


def page(asked: Asked) -> Component:
    """The page for one chart, without bars."""
    attributes: dict[str, Any] = {"data-defaults": json.dumps(DEFAULTS)}
    return html.Div([_tools(asked), _frame(asked), *_stores(asked)], id="chart-page", **attributes)


def _tools(asked: Asked) -> Component:
    symbol = dcc.Dropdown(
        [asked.symbol] if asked.symbol else [],
        asked.symbol,
        id="chart-symbol",
        clearable=False,
        searchable=True,
        placeholder="Symbol",
        className="chart-symbol",
    )
    return html.Div(
        [
            html.H1("Chart", className="visually-hidden"),
            symbol,
            _buttons("chart-interval", {name: name for name in SECONDS}, asked.interval, "Length of a bar"),
            _buttons("chart-range", {name: name for name in RANGES}, asked.range, "How far back"),
            _overlays(asked),
            html.Span(info("chart-help", HELP), className="chart-help"),
        ],
        className="chart-tools",
    )


def _buttons(name: str, choices: dict[str, str], value: str, label: str) -> Component:
    items = dbc.RadioItems(
        id=name,
        options=[{"label": text, "value": key} for key, text in choices.items()],
        value=value,
        className="chart-choice",
        inputClassName="btn-check",
        labelClassName="chart-option",
        labelCheckedClassName="chart-chosen",
    )
    return html.Div(items, role="group", title=label, **_said(label))


def _overlays(asked: Asked) -> Component:
    items = dbc.Checklist(
        id="chart-overlays",
        options=[{"label": text, "value": key} for key, text in GROUPS.items()],
        value=list(asked.groups),
        className="chart-choice",
        inputClassName="btn-check",
        labelClassName="chart-option",
        labelCheckedClassName="chart-chosen",
    )
    return html.Div(items, role="group", title="Lines over the price", **_said("Lines over the price"))


def _frame(asked: Asked) -> Component:
    return html.Div(
        [
            _plotly() if asked.engine == "plotly" else _candles(),
            html.Div(
                [html.Div(id="chart-legend-bar"), html.Div(id="chart-legend-lines")],
                id="chart-legend",
                className="chart-legend",
            ),
            *(html.Div(id=f"chart-legend-{name}", className="chart-legend", hidden=True) for name in _SMALL_PANES),
            html.Div("Loading …", id="chart-notice", className="chart-notice", role="status"),
            html.Div(id="chart-hint", className="chart-hint", role="status", hidden=True),
            html.Button("now »", id="chart-now", type="button", title="Go to now (End)", hidden=True),
            html.Span("UTC", className="chart-utc", title="All times are UTC"),
        ],
        id="chart-frame",
        className="chart-frame",
    )


_SMALL_PANES = ("volume", "rsi", "macd")


def _candles() -> Component:
    chart: Component = Tvlwc(
        id="chart",
        series=[],
        chartOptions={"layout": {"background": {"type": "solid", "color": "transparent"}}},
        subscribeVisibleRange=True,
        subscribeCrosshair=True,
        reportThrottle=REPORT_MS,
        height="100%",
        width="100%",
    )
    return chart


def _plotly() -> Component:
    return dcc.Graph(
        id="chart-plotly",
        config={"scrollZoom": True, "displaylogo": False, "responsive": True},
        style={"height": "100%"},
    )


def _styles() -> dict[str, Any]:
    """For the browser: what each theme decides, and the heights of the panes."""
    panes = [{"stretchFactor": share} for share in PANES.values()]
    return {theme: style(palette) for theme, palette in PALETTES.items()} | {"panes": panes}


def _said(label: str) -> dict[str, Any]:
    return {"aria-label": label}


def _stores(asked: Asked) -> list[Component]:
    return [
        dcc.Store(id="chart-asked", data=asdict(asked) | {"overlays": ",".join(asked.groups)}),
        dcc.Store(id="chart-older-asked"),
        dcc.Store(id="chart-data"),
        dcc.Store(id="chart-older"),
        dcc.Store(id="chart-styles", data=_styles()),
        *(dcc.Store(id=f"chart-done-{name}") for name in CALLBACKS),
    ]
