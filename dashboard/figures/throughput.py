"""How much goes through."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from dashboard.figures.lines import Point, lines
from dashboard.theme import Theme


def throughput_figure(history: Mapping[str, Sequence[Point]], theme: Theme) -> go.Figure:
    """Records a second into `ticks` and `bars.live`, by their offsets."""
    series = {"rate.ticks": "ticks in", "rate.bars.live": "forming bars out"}
    return lines(history, series, theme, unit="/s", title="per second")
