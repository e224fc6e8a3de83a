"""Lines of the last minutes that the page extends by itself: a trace's `meta` names the series that it shows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import plotly.graph_objects as go

from dashboard.theme import Theme, palette, template

Point = tuple[int, float | None]
"""Epoch microseconds, and a value or None for a hole."""
DASHES = ("solid", "dash", "dot", "dashdot")


def lines(
    history: Mapping[str, Sequence[Point]],
    series: Mapping[str, str],
    theme: Theme,
    *,
    unit: str,
    title: str,
    limit: tuple[float, str] | None = None,
) -> go.Figure:
    """One line for each of `series` (key to label, at most four) over time (UTC); holes stay holes.

    `limit` draws a dashed line at a value, with its label. Lines differ by colour and by dash.
    """
    colours = palette(theme)
    figure = go.Figure()
    for place, (key, label) in enumerate(series.items()):
        points = history.get(key, ())
        figure.add_scatter(
            x=[utc(at_us) for at_us, _ in points],
            y=[value for _, value in points],
            name=label,
            meta=key,
            mode="lines",
            connectgaps=False,
            line={
                "color": colours.series[place % len(colours.series)],
                "width": 2,
                "dash": DASHES[place % len(DASHES)],
            },
            hovertemplate=f"%{{y:,.1f}} {unit}<extra>{label}</extra>",
        )
    figure.update_layout(
        template=template(theme),
        uirevision="lines",
        hovermode="x unified",
        margin={"l": 8, "r": 12, "t": 8, "b": 24},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_xaxes(type="date", title=None, hoverformat="%H:%M:%S UTC", tickformat="%H:%M:%S", nticks=6)
    figure.update_yaxes(title=title, rangemode="tozero", fixedrange=True)
    if limit is not None:
        figure.add_hline(
            y=limit[0],
            line={"color": colours.warning, "width": 1, "dash": "dash"},
            annotation={"text": limit[1], "font": {"color": colours.warning, "size": 11}},
            annotation_position="top right",
        )
    return figure


def utc(at_us: int) -> str:
    """A time as Plotly takes it without shifting it: UTC, milliseconds, no zone.

    >>> utc(1767623400123456)
    '2026-01-05T14:30:00.123'
    """
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_us // 1000 % 1000:03}"
