"""How far behind: the watermark in event time, the readers in records."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from dashboard.figures.lines import Point, lines
from dashboard.theme import Theme

READERS = {"relay": "relay (rows)", "final": "final (ticks)", "archive": "archive (ticks)", "lake": "lake (ticks)"}


def watermark_figure(history: Mapping[str, Sequence[Point]], theme: Theme) -> go.Figure:
    """Seconds from the watermark of the final query to now, beside what is allowed."""
    series = {"watermark": "behind now", "watermark_allowed": "allowed while ticks come"}
    return lines(history, series, theme, unit="s", title="seconds")


def readers_figure(history: Mapping[str, Sequence[Point]], theme: Theme) -> go.Figure:
    """Records that each reader has not finished, one line each."""
    series = {f"lag.{reader}": label for reader, label in READERS.items()}
    return lines(history, series, theme, unit="records", title="records")
