"""The candle chart by Plotly, for where the usual component cannot be had: the same panes out of the same columns.

The axis is one of categories, a place for each bar: breaks between sessions then need no range breaks, which make
Plotly's candles wrong. `assets/chart_plotly.js` replaces the numbers of the traces, by the column in their `meta`.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from dashboard.figures.candles import PANES, PRICES
from dashboard.figures.overlays import (
    BRIDGE_OPACITY,
    MACD,
    PRICE,
    RSI,
    VOLUME,
    ZONES,
    Line,
    column_colours,
    faded,
    lines_of,
)
from dashboard.theme import Palette, Theme, palette, template

if TYPE_CHECKING:
    import plotly.graph_objects as go

TICKS = 8


def figure(payload: Mapping[str, Any], groups: Collection[str], theme: Theme) -> "go.Figure":
    """The figure of `candles.columns`; zoom is kept while symbol and interval stay (uirevision)."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    colours, columns = palette(theme), payload["columns"]
    heights = [share / sum(PANES.values()) for share in PANES.values()]
    made = make_subplots(rows=len(PANES), cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=0.02)
    x = [slot_text(int(time)) for time in columns["time"]]
    for pane, trace in (*_bars(columns, x, colours), *_lines(columns, x, colours, groups)):
        made.add_trace(trace, row=pane + 1, col=1)
    made.update_layout(
        template=template(theme),
        margin={"l": 8, "r": 64, "t": 64, "b": 24},
        showlegend=False,
        hovermode="x unified",
        dragmode="pan",
        bargap=0.2,
        uirevision=f"{payload.get('symbol')} {payload.get('interval')}",
    )
    slots = {"categoryorder": "array", "categoryarray": x}
    made.update_xaxes(type="category", nticks=TICKS, rangeslider_visible=False, showspikes=True, **slots)
    made.update_yaxes(side="right", fixedrange=False)
    made.update_yaxes(tickformat=f".{payload['decimals']}f", row=PRICE + 1)
    for level in ZONES.values():
        made.add_hline(level, row=RSI + 1, col=1, line={"color": colours.muted, "dash": "dash", "width": 1})
    made.add_hrect(*ZONES.values(), row=RSI + 1, col=1, fillcolor=colours.accent, opacity=0.08, line_width=0)
    return go.Figure(made)


def slot_text(seconds: int) -> str:
    """The name of a slot on the axis.

    >>> slot_text(1795279500)
    '2026-11-21 16:45'
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _bars(columns: Mapping[str, Any], x: list[str], colours: Palette) -> list[tuple[int, Any]]:
    import plotly.graph_objects as go

    traded = np.flatnonzero(~np.isnan(columns["close"]))  # Plotly draws a candle without prices, wrongly
    slots = [x[place] for place in traded]
    candles = go.Candlestick(
        x=slots,
        **{name: columns[name][traded] for name in PRICES},
        increasing={"line": {"color": colours.up, "width": 1}, "fillcolor": colours.up},
        decreasing={"line": {"color": colours.down, "width": 1}, "fillcolor": colours.down},
        name="",
        meta={"column": "price"},
    )
    rising = columns["close"][traded] >= columns["open"][traded]
    shades = [column_colours(colours)[int(each)] for each in rising]
    said = {"x": slots, "y": columns["volume"][traded], "name": "Volume", "meta": {"column": "volume"}}
    volume = go.Bar(**said, marker={"color": shades})
    return [(PRICE, candles), (VOLUME, volume)]


def _lines(
    columns: Mapping[str, Any], x: list[str], colours: Palette, groups: Collection[str]
) -> list[tuple[int, Any]]:
    drawn = [line for line in lines_of(groups) if line.kind != "zone"]
    return [(line.pane, trace) for line in drawn for trace in _traces(line, columns[line.column], x, colours)]


def _traces(line: Line, values: Any, x: list[str], colours: Palette) -> list[Any]:
    """A line, broken where slots are empty; where it is, under it a pale one that connects."""
    made = _trace(line, values, x, colours)
    there = np.flatnonzero(~np.isnan(values))
    if line.kind == "histogram" or not len(there) or there[-1] - there[0] + 1 == len(there):
        return [made]
    return [_trace(line, values, x, colours).update(opacity=BRIDGE_OPACITY, connectgaps=True, hoverinfo="skip"), made]


def _trace(line: Line, values: Any, x: list[str], colours: Palette) -> Any:
    import plotly.graph_objects as go

    said = {"x": x, "y": values, "name": line.label, "meta": {"column": line.column}}
    if line.kind == "histogram":
        assert line.pane == MACD
        return go.Bar(**said, marker={"color": faded(colours.series[line.colour], 0.5)})
    dash = "dash" if line.dashed else "solid"
    drawn = {"color": colours.series[line.colour], "width": 1, "dash": dash}
    return go.Scatter(**said, mode="lines", line=drawn)
