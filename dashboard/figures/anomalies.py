"""The figure of the alerts page: when and where something unusual was found."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard.theme import Palette, Theme, palette, template

Row = Mapping[str, Any]

MOST_SYMBOLS = 25
ROW_PIXELS = 24
HEAD_PIXELS = 96
SIZES = {"info": 8, "warning": 11, "critical": 14}
SHAPES = {"info": "circle", "warning": "diamond", "critical": "square"}
"""Severities differ in shape too, for eyes that do not tell colours apart."""


def timeline_figure(rows: Sequence[Row], first: str, last: str, theme: Theme) -> go.Figure:
    """Time across (UTC), symbols down: a mark where a rule began to fire or grew more severe.

    `rows` are findings of `/api/v1/anomalies`; `first` and `last` bound the axis, RFC 3339. The symbols with most
    findings are on top, those with least are left out where there are too many.
    """
    begun = [row for row in rows if row["state"] == "firing"]
    names = _busiest(begun)
    shown = [row for row in begun if row["symbol"] in set(names)]
    figure = go.Figure([_marks(shown, severity, palette(theme)) for severity in SIZES])
    figure.update_layout(
        template=template(theme),
        height=HEAD_PIXELS + ROW_PIXELS * max(3, len(names)),
        margin={"l": 8, "r": 8, "t": 34, "b": 8},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        uirevision="anomalies",
    )
    figure.update_xaxes(range=[first, last], type="date", title="UTC")
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1], dtick=1)
    if not shown:
        figure.add_annotation(text="Nothing unusual in this time", showarrow=False, xref="paper", yref="paper")
        figure.update_yaxes(visible=False)
    return figure


def _busiest(rows: Sequence[Row]) -> list[str]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["symbol"]] = counts.get(row["symbol"], 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))[:MOST_SYMBOLS]


def _marks(rows: Sequence[Row], severity: str, colours: Palette) -> go.Scatter:
    own = [row for row in rows if row["severity"] == severity]
    colour = {"info": colours.accent, "warning": colours.warning, "critical": colours.danger}[severity]
    return go.Scatter(
        x=[row["end"] for row in own],
        y=[row["symbol"] for row in own],
        customdata=[f"{row['rule']}: {row['text']}" for row in own],
        mode="markers",
        name=severity,
        marker={"color": colour, "size": SIZES[severity], "symbol": SHAPES[severity], "line": {"width": 0}},
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=True,
    )
