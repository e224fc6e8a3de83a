"""Figures of the predictions page: is what was said as often true, and is it worth more than saying nothing?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard.theme import Theme, palette, template

Row = Mapping[str, Any]

SYMBOLS = ("circle", "square", "diamond", "cross", "x")
JUDGED = (
    ("skill_of_rise", "coin", "direction vs coin"),
    ("skill_of_rise", "prior", "direction vs rises"),
    ("skill_of_return", "zero", "return vs 0"),
)
"""What the skill figure shows of a score: where it stands, and in words."""
VERDICTS = ("better", "not distinguishable", "worse", "too few blocks")
ROW_PIXELS = 24


def bars_ahead(horizon: int) -> str:
    """
    >>> bars_ahead(1), bars_ahead(15)
    ('1 bar', '15 bars')
    """
    return f"{horizon} bar{'' if horizon == 1 else 's'}"


def calibration_figure(scores: Sequence[Row], theme: Theme) -> go.Figure:
    """What was said against how often it came, by tenths of the predictions; one colour and mark per horizon.

    `scores` are those of one model. Bars are two binomial standard errors.
    """
    colours = palette(theme)
    shown = [row for row in scores if row["calibration"]]
    figure = go.Figure()
    low, high = _range([each["said"] for row in shown for each in row["calibration"]])
    figure.add_scatter(
        x=[low, high], y=[low, high], mode="lines", name="as said",
        line={"color": colours.muted, "width": 1, "dash": "dash"}, hoverinfo="skip",
    )  # fmt: skip
    for place, row in enumerate(shown):
        classes = row["calibration"]
        figure.add_scatter(
            x=[each["said"] for each in classes],
            y=[each["came"] for each in classes],
            customdata=[each["samples"] for each in classes],
            error_y={"type": "data", "array": [_error(each) for each in classes], "width": 2, "thickness": 1},
            mode="markers",
            name=f"{bars_ahead(row['horizon'])} ahead",
            marker={"size": 8, "symbol": SYMBOLS[place % len(SYMBOLS)]},
            hovertemplate="said %{x:.1%}, came %{y:.1%} of %{customdata:,}<extra>%{fullData.name}</extra>",
        )
    _laid_out(figure, theme, height=320, empty=not shown)
    figure.update_xaxes(title="probability of a rise that was said", tickformat=".0%", range=[low, high])
    figure.update_yaxes(title="share of rises that came", tickformat=".0%")
    return figure


def skill_figure(scores: Sequence[Row], theme: Theme) -> go.Figure:
    """Skill with its 95 % interval, by horizon and baseline; 0 is as good as the baseline.

    `scores` are those of one model. A whole interval above 0 is coloured as better, one below 0 as worse.
    """
    colours = palette(theme)
    tints = dict(zip(VERDICTS, (colours.ok, colours.muted, colours.danger, colours.muted), strict=True))
    marks = dict(zip(VERDICTS, ("circle", "circle", "circle", "circle-open"), strict=True))
    rows = [
        (f"{bars_ahead(row['horizon'])} · {words}", row[group][name])
        for row in scores
        for group, name, words in JUDGED
        if row[group][name] is not None
    ]
    figure = go.Figure()
    for verdict in VERDICTS:
        held = [(label, found) for label, found in rows if judged(found) == verdict]
        if held:
            figure.add_scatter(
                x=[found["value"] for _, found in held],
                y=[label for label, _ in held],
                error_x=_reach([found for _, found in held]),
                mode="markers",
                name=verdict,
                marker={"size": 9, "color": tints[verdict], "symbol": marks[verdict]},
                customdata=[_interval_text(found) for _, found in held],
                hovertemplate="%{y}<br>%{customdata}<extra></extra>",
            )
    figure.add_vline(x=0, line={"color": colours.text, "width": 1})
    _laid_out(figure, theme, height=90 + ROW_PIXELS * max(1, len(rows)), empty=not rows)
    figure.update_xaxes(title="skill", tickformat=".1%", nticks=5, autotickangles=[0, 45])
    labels = [label for label, _ in rows][::-1]
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=labels, range=[-0.6, len(labels) - 0.4])
    return figure


def judged(found: Row) -> str:
    """One of VERDICTS: what an estimate says about 0.

    >>> judged({"value": 0.1, "low": -0.1, "high": 0.3})
    'not distinguishable'
    """
    if found["low"] is None:
        return "too few blocks"
    if found["low"] > 0:
        return "better"
    return "worse" if found["high"] < 0 else "not distinguishable"


def _interval_text(found: Row) -> str:
    value = f"{found['value']:+.2%}"
    return value if found["low"] is None else f"{value} [{found['low']:+.2%}, {found['high']:+.2%}]"


def _reach(found: Sequence[Row]) -> dict[str, Any]:
    reach = [0 if each["high"] is None else each["high"] - each["value"] for each in found]
    return {"type": "data", "array": reach, "width": 4, "thickness": 1.5}


def _error(each: Row) -> float:
    share = (each["came"] * each["samples"] + 1) / (each["samples"] + 2)  # of a class without a rise it is not 0
    return 2 * math.sqrt(share * (1 - share) / each["samples"])


def _range(values: Sequence[float]) -> tuple[float, float]:
    """A little more than the values span, and never less than three points around a half."""
    if not values:
        return 0.47, 0.53
    margin = 0.1 * (max(values) - min(values)) + 0.005
    return min(min(values) - margin, 0.47), max(max(values) + margin, 0.53)


def _laid_out(figure: go.Figure, theme: Theme, height: int, empty: bool) -> None:
    figure.update_layout(
        template=template(theme),
        height=height,
        margin={"l": 8, "r": 12, "t": 28, "b": 40},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False},
        uirevision="predictions",
    )
    if empty:  # no axes of nothing
        figure.update_layout(height=20, showlegend=False, margin={"t": 0, "b": 0}, shapes=[])
        figure.update_traces(visible=False)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
