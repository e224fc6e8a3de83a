"""Figures of the data quality page: how right the bars of each day were, and how late the late ticks came."""

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import plotly.graph_objects as go

from dashboard.theme import Theme, palette, template

Row = Mapping[str, Any]

ALL = "All symbols"
MOST_SYMBOLS = 20
GRADES = ("all match", "99.9 % or more", "99 % or more", "less than 99 %")
"""What a cell's colour says, best first."""
_GRADE_COLOURS = {
    "light": ("#cfe3f6", "#f7dcae", "#ec9b4f", "#b0401c"),
    "dark": ("#274a6b", "#7a5a1f", "#c07430", "#ff7f5c"),
}
ROW_PIXELS = 26
HEAD_PIXELS = 76
LATE_LINES = (("max_us", "latest"), ("p90_us", "p90"), ("p50_us", "median"))
SECOND_US = 1_000_000


def grade(checked: int, matched: int) -> int | None:
    """The place in GRADES; None where nothing was checked. One wrong bar in a million is not "all match"."""
    if checked == 0:
        return None
    if matched == checked:
        return 0
    return 1 if matched >= 0.999 * checked else 2 if matched >= 0.99 * checked else 3


def ratio_text(checked: int, matched: int) -> str:
    """The part that matched in percent, never rounded up to 100.

    >>> ratio_text(4812, 4812), ratio_text(1_000_000, 999_999), ratio_text(0, 0)
    ('100 %', '99.99 %', '–')
    """
    if checked == 0:
        return "–"
    if matched == checked:
        return "100 %"
    return f"{math.floor(10_000 * matched / checked) / 100:.2f} %"


def worst_symbols(days: Sequence[Row], most: int = MOST_SYMBOLS) -> list[str]:
    """The symbols whose bars matched least over these days, the worst first; equal ones by name."""
    sums: dict[str, list[int]] = {}
    for row in days:
        held = sums.setdefault(row["symbol"], [0, 0])
        held[0] += row["checked"]
        held[1] += row["matched"]
    ranked = sorted(sums, key=lambda name: (sums[name][1] / sums[name][0] if sums[name][0] else 2, name))
    return ranked[:most]


def calendar_figure(
    totals: Sequence[Row], days: Sequence[Row], first: str, last: str, theme: Theme, symbols: Sequence[str] = ()
) -> go.Figure:
    """Days across, symbols down, all symbols on top: coloured by the part of the checked bars that matched.

    `totals` and `days` are those of `/api/v1/quality/days`; `symbols` those to show, missing: the worst. The number in
    a cell is that of its amended bars.
    """
    dates = [day.isoformat() for day in _dates(first, last)]
    weekly = dates[::-7]
    names = list(symbols or [ALL, *worst_symbols(days)])[::-1]
    cells = {(row["symbol"], row["day"]): row for row in days} | {(ALL, row["day"]): row for row in totals}
    grid = [[cells.get((name, day)) for day in dates] for name in names]
    colours = palette(theme)
    heat = go.Heatmap(
        x=dates,
        y=names,
        z=[[_grade(row) for row in line] for line in grid],
        text=[[_amended(row) for row in line] for line in grid],
        customdata=[
            [_hover(name, day, row) for day, row in zip(dates, line, strict=True)]
            for name, line in zip(names, grid, strict=True)
        ],
        texttemplate="%{text}",
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        colorscale=_steps(_GRADE_COLOURS[theme]),
        zmin=-0.5,
        zmax=len(GRADES) - 0.5,
        xgap=2,
        ygap=2,
        showscale=False,
    )
    figure = go.Figure([heat, *_legend(theme)])
    figure.update_layout(
        template=template(theme),
        height=HEAD_PIXELS + ROW_PIXELS * len(names),
        margin={"l": 8, "r": 8, "t": 34, "b": 8},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False},
        uirevision="calendar",
    )
    figure.update_xaxes(
        type="category",
        showgrid=False,
        tickangle=0,
        tickvals=weekly,
        ticktext=[day[5:] for day in weekly],
        range=[-0.5, len(dates) - 0.5],
    )
    figure.update_yaxes(
        type="category", dtick=1, showgrid=False, tickfont={"color": colours.text}, range=[-0.5, len(names) - 0.5]
    )
    if not any(row is not None and _grade(row) is not None for line in grid for row in line):
        figure.add_annotation(text="No bar was checked in these days", showarrow=False, xref="paper", yref="paper")
    return figure


def lateness_figure(runs: Sequence[Row], theme: Theme) -> go.Figure:
    """How many late ticks each run of reconciling found, and how late they were, in seconds; times in UTC.

    `runs` are those of `/api/v1/metrics/late-ticks`, newest first.
    """
    shown = list(runs)[::-1]
    colours = palette(theme)
    times = [row["at"] for row in shown]
    bars = go.Bar(
        x=times,
        y=[row["ticks"] for row in shown],
        name="late ticks",
        marker={"color": colours.muted, "opacity": 0.45},
        hovertemplate="%{y} late ticks<extra></extra>",
    )
    lines = [
        go.Scatter(
            x=times,
            y=[row[name] / SECOND_US for row in shown],
            name=title,
            yaxis="y2",
            mode="lines+markers" if len(shown) < 80 else "lines",
            line={"color": colour, "width": 2},
            marker={"size": 5},
            hovertemplate=f"{title} %{{y:.1f}} s<extra></extra>",
        )
        for (name, title), colour in zip(LATE_LINES, colours.series, strict=False)
    ]
    figure = go.Figure([bars, *lines])
    figure.update_layout(
        template=template(theme),
        height=260,
        margin={"l": 48, "r": 52, "t": 30, "b": 36},
        hovermode="x unified",
        bargap=0.3,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        yaxis={"title": "ticks per run", "rangemode": "tozero", "showgrid": False},
        yaxis2={
            "title": "seconds late",
            "overlaying": "y",
            "side": "right",
            "rangemode": "tozero",
            "tickmode": "auto",
            "showgrid": True,
        },
        uirevision="lateness",
    )
    figure.update_xaxes(title="UTC", type="date")
    if not shown:  # no axes of a year that nobody asked about
        figure.update_layout(height=20, showlegend=False, margin={"t": 0, "b": 0})
        figure.update_xaxes(visible=False)
        figure.update_layout(yaxis_visible=False, yaxis2_visible=False)
    return figure


def _dates(first: str, last: str) -> list[date]:
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    return [begin + timedelta(days=step) for step in range((end - begin).days + 1)]


def _grade(row: Row | None) -> int | None:
    return None if row is None else grade(row["checked"], row["matched"])


def _amended(row: Row | None) -> str:
    return f"{row['amended']:,}" if row is not None and row["amended"] else ""


def _hover(name: str, day: str, row: Row | None) -> str:
    if row is None:
        return f"<b>{name}</b> · {day}<br>nothing was checked"
    checked, matched, amended = row["checked"], row["matched"], row["amended"]
    return (
        f"<b>{name}</b> · {day} UTC<br>{ratio_text(checked, matched)} right as first made<br>"
        f"{checked:,} checked, {amended:,} amended<br>last check {row['at'][11:19]} UTC"
    )


def _steps(colours: Sequence[str]) -> list[list[Any]]:
    """A colour scale without transitions."""
    edges = [place / len(colours) for place in range(len(colours) + 1)]
    return [[edge, colour] for at, colour in enumerate(colours) for edge in edges[at : at + 2]]


def _legend(theme: Theme) -> list[go.Scatter]:
    return [
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=name,
            marker={"symbol": "square", "size": 11, "color": colour},
            hoverinfo="skip",
        )
        for name, colour in zip(GRADES, _GRADE_COLOURS[theme], strict=True)
    ]
