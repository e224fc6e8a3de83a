"""Latency by stage, and over time. The page keeps the samples and moves them in; a trace's `meta` names its series."""

from collections.abc import Iterable, Mapping, Sequence
from math import log10
from typing import Any

import plotly.graph_objects as go

from dashboard.figures.lines import Point, lines
from dashboard.theme import Theme, palette, template

FLOOR_MS = 0.1
"""Where the logarithmic axis begins: what is less, or negative for clocks that differ, is drawn there."""
QUANTILES = ("p50", "p95", "p99")
LABELS = {
    "received": "feed → producer",
    "processed": "Kafka + Spark",
    "relayed": "relay → Redis",
    "sent": "Redis → socket",
    "browser": "socket → browser",
    "painted": "browser → paint",
    "total": "tick received → paint",
}
"""The stages in the order of the way of a tick, each by the name of where it ends; `total` is all but the first."""
_SYMBOLS = {"p50": "circle", "p95": "diamond", "p99": "line-ns-open"}


def stages_figure(found: Mapping[str, Mapping[str, Any]], theme: Theme) -> go.Figure:
    """Percentiles of each stage, `{stage: {"p50": ms, "p95": ms, "p99": ms}}`, on one logarithmic axis.

    One trace a quantile, `meta` its name; x is clipped to FLOOR_MS, the exact value is in `customdata`.
    """
    colours = palette(theme)
    figure = go.Figure()
    for quantile, colour in zip(QUANTILES, (colours.series[0], colours.series[1], colours.muted), strict=True):
        exact = [found.get(stage, {}).get(quantile) for stage in LABELS]
        figure.add_scatter(
            x=[drawn(value) for value in exact],
            y=list(LABELS.values()),
            customdata=exact,
            mode="markers",
            name=quantile,
            meta=quantile,
            marker={"symbol": _SYMBOLS[quantile], "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
            hovertemplate=f"%{{y}}: {quantile} %{{customdata:.2f}} ms<extra></extra>",
        )
    ticks = [0.1, 1, 10, 100, 1000, 10_000]
    figure.update_layout(
        template=template(theme),
        uirevision="stages",
        margin={"l": 8, "r": 12, "t": 8, "b": 40},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        hovermode="closest",
    )
    figure.update_xaxes(
        type="log",
        range=axis_range([value for row in found.values() for value in row.values()]),
        fixedrange=True,
        title="milliseconds, logarithmic",
        tickvals=ticks,
        ticktext=["≤ 0.1", *(f"{tick:,}" for tick in ticks[1:])],
    )
    figure.update_yaxes(
        autorange="reversed", fixedrange=True, categoryorder="array", categoryarray=list(LABELS.values())
    )
    return figure


def axis_range(values: Iterable[float | None]) -> list[float]:
    """From a little below the floor to a second, or as far as there are values, in powers of ten.

    >>> axis_range([]), axis_range([20_000.0, None])
    ([-1.05, 3.1], [-1.05, 4.4])
    """
    most = max((value for value in values if value is not None), default=0.0)
    return [-1.05, max(3.1, round(log10(most) + 0.1, 2) if most > 0 else 0.0)]


def drawn(value: float | None) -> float | None:
    """Where a value is drawn on the logarithmic axis.

    >>> drawn(0.0), drawn(-3.0), drawn(12.5), drawn(None)
    (0.1, 0.1, 12.5, None)
    """
    return None if value is None else max(FLOOR_MS, float(value))


def latency_figure(history: Mapping[str, Sequence[Point]], theme: Theme, budget_ms: float) -> go.Figure:
    """`total.p50`, `total.p95` of this browser and `redis.p95` of the server over time, in ms, with the budget."""
    series = {
        "total.p95": "receipt → paint, p95",
        "total.p50": "receipt → paint, p50",
        "redis.p95": "receipt → Redis, p95",
    }
    return lines(history, series, theme, unit="ms", title="milliseconds", limit=(budget_ms, f"{budget_ms:g} ms"))
