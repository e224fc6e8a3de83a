"""The heat map of the market: a tile for each symbol, as large as its notional, coloured by its change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboard.theme import Theme, palette, template

MOST_TILES = 150
LIMITS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
"""Percent at which the colours end; larger moves keep the last colour."""
COVERED = 0.9  # so large a part of the tiles lies within the limit
PRIOR, OPEN = "since the prior close", "since the session's open"
TEXT = "<b>%{label}</b><br>%{customdata[0]:+.2f}%"
HOVER = (
    "<b>%{label}</b><br>%{customdata[0]:+.2f}% %{customdata[1]}<br>last %{customdata[2]}"
    "<br>notional %{customdata[3]:.3s}<extra></extra>"
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A symbol's place in the heat map; `change` in percent, since when says `since`."""

    symbol: str
    notional: float
    change: float
    since: str
    price: str


def tiles(rows: Sequence[Mapping[str, Any]]) -> list[Tile]:
    """The symbols of an overview that have traded, largest notional first, at most MOST_TILES.

    The change is that against the prior close; where none is known, against the session's open.
    """
    found = [tile for tile in map(_tile, rows) if tile is not None]
    return sorted(found, key=lambda tile: (-tile.notional, tile.symbol))[:MOST_TILES]


def colour_limit(changes: Sequence[float]) -> float:
    """The percent at which colours end, the same both ways: the least of LIMITS that holds most of the changes."""
    sizes = sorted(abs(change) for change in changes)
    if not sizes:
        return LIMITS[0]
    most = sizes[min(len(sizes) - 1, int(COVERED * len(sizes)))]
    return next((limit for limit in LIMITS if most <= limit), LIMITS[-1])


def heat_figure(rows: Sequence[Mapping[str, Any]], theme: Theme) -> go.Figure:
    """A treemap of an overview's rows. Colours are symmetric around no change."""
    shown = tiles(rows)
    limit = colour_limit([tile.change for tile in shown])
    falling, unchanged, rising = palette(theme).diverging
    trace = go.Treemap(
        labels=[tile.symbol for tile in shown],
        parents=[""] * len(shown),
        values=[tile.notional for tile in shown],
        customdata=[[tile.change, tile.since, tile.price, tile.notional] for tile in shown],
        texttemplate=TEXT,
        hovertemplate=HOVER,
        textposition="middle center",
        sort=False,  # tiles keep their places while their sizes drift
        tiling={"pad": 0},
        pathbar={"visible": False},
        marker={
            "colors": [tile.change for tile in shown],
            "colorscale": [[0, falling], [0.5, unchanged], [1, rising]],
            "cmin": -limit,
            "cmax": limit,
            "line": {"width": 2, "color": palette(theme).surface},
            "pad": {"t": 0, "l": 0, "r": 0, "b": 0},
            "colorbar": _colour_bar(limit, theme),
        },
    )
    figure = go.Figure(trace)
    figure.update_layout(
        template=template(theme), margin={"l": 0, "r": 0, "t": 0, "b": 0}, uirevision="heat", autosize=True
    )
    return figure


def _colour_bar(limit: float, theme: Theme) -> dict[str, Any]:
    colours = palette(theme)
    ticks = [-limit, -limit / 2, 0, limit / 2, limit]
    texts = [f"{tick:+g}%" if tick else "0" for tick in ticks]
    return {
        "thickness": 10,
        "len": 0.9,
        "outlinewidth": 0,
        "tickvals": ticks,
        "ticktext": [f"≤ {texts[0]}", *texts[1:-1], f"≥ {texts[-1]}"],
        "tickfont": {"color": colours.muted, "size": 11},
    }


def _tile(row: Mapping[str, Any]) -> Tile | None:
    notional, price = float(row["notional"] or 0), row["price"]
    before, since = (row["prior_close"], PRIOR) if row["prior_close"] is not None else (row["open"], OPEN)
    if price is None or before is None or not float(before) or notional <= 0:
        return None
    change = round((float(price) - float(before)) / float(before) * 100, 4)
    return Tile(row["symbol"], notional, change, since, str(price))
