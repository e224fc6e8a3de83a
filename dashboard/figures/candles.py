"""Bars as the candle chart takes them: columns of numbers, and the series that show them.

The browser gets columns, one number per bar and field, and makes the points of each series from them
(`assets/chart_model.js`), as it does with the bars that are pushed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.client import Row
from dashboard.figures.overlays import (
    COLUMN_OPTIONS,
    COLUMNS,
    LINES,
    MACD,
    PRICE,
    RSI,
    VOLUME,
    column_colours,
    faded,
    line_series,
)
from dashboard.theme import Palette

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BREAK_SECONDS = 3600
"""A hole of this length or longer is left out of the axis; slots of shorter ones are drawn empty."""

FORMING, FINAL, AMENDED, NO_TRADE = range(4)
STATES = {"forming": FORMING, "final": FINAL, "amended": AMENDED}
LEAST_DECIMALS, MOST_DECIMALS = 2, 8
PRICES = ("open", "high", "low", "close")
PANES = {PRICE: 6.0, VOLUME: 1.3, RSI: 1.6, MACD: 1.8}
"""The panes' shares of the height."""


def columns(bars: Sequence[Row], indicators: Sequence[Row], seconds: int, until: int | None = None) -> dict[str, Any]:
    """Ascending bars, amounts as numbers, and the indicators that go with them, as columns of equal length.

    `seconds` is the interval. `time` is each start in epoch seconds. Slots without a trade are there with state
    NO_TRADE and null amounts, unless the hole is a break (BREAK_SECONDS). `until`, the start of the bar that follows
    these, has the slots up to it filled too. `reasons` says why a bar was amended, by its time as text.
    """
    starts = np.array([epoch_seconds(bar["start"]) for bar in bars], np.int64)
    times, places = with_slots(starts, seconds, until)
    decimals = decimals_of(bars)
    found: dict[str, NDArray[Any]] = {"time": times, "state": np.full(len(times), NO_TRADE, np.int64)}
    found["state"][places] = [STATES.get(bar["state"], FINAL) for bar in bars]
    for name in PRICES:
        found[name] = _placed(bars, name, places, len(times), decimals)
    found["volume"] = _placed(bars, "volume", places, len(times), MOST_DECIMALS)
    for name in ("trade_count", "rev"):
        found[name] = np.zeros(len(times), np.int64)
        found[name][places] = [bar[name] or 0 for bar in bars]
    values = _values(starts, indicators, decimals)
    found |= {name: _spread(column, places, len(times)) for name, column in values.items()}
    return {
        "columns": found,
        "seconds": seconds,
        "decimals": decimals,
        "breakSeconds": BREAK_SECONDS,
        "reasons": {str(epoch_seconds(bar["start"])): bar["reason"] for bar in bars if bar["reason"]},
    }


def with_slots(starts: Ints, seconds: int, until: int | None = None) -> tuple[Ints, Ints]:
    """All slots of ascending starts, those without a bar included, and the place of each start among them.

    >>> times, places = with_slots(np.array([0, 60, 240, 7200]), 60)
    >>> times.tolist(), places.tolist()
    ([0, 60, 120, 180, 240, 7200], [0, 1, 4, 5])
    """
    if not len(starts):
        return starts, starts
    following = starts[-1] + seconds if until is None else until
    distances = np.diff(starts, append=following)
    counts = np.where((distances > seconds) & (distances < BREAK_SECONDS), distances // seconds, 1)
    places = np.cumsum(counts) - counts
    steps = np.arange(counts.sum()) - np.repeat(places, counts)
    return np.repeat(starts, counts) + steps * seconds, places


def decimals_of(bars: Sequence[Row]) -> int:
    """How many decimals the prices need, 2 to 8.

    >>> decimals_of([{"open": 1.5, "high": 1.75, "low": 1.5, "close": 1.6251}])
    4
    """
    prices = np.array([bar[name] for bar in bars for name in PRICES if bar[name] is not None], np.float64)
    for decimals in range(LEAST_DECIMALS, MOST_DECIMALS):
        if np.array_equal(np.round(prices, decimals), prices):
            return decimals
    return MOST_DECIMALS


def epoch_seconds(text: str) -> int:
    """A time of the API in whole seconds since the epoch.

    >>> epoch_seconds("2026-11-21T16:45:00.000000Z")
    1795279500
    """
    return int(datetime.fromisoformat(text).timestamp())


def _placed(bars: Sequence[Row], name: str, places: Ints, length: int, decimals: int) -> Floats:
    values = np.array([bar[name] for bar in bars], np.float64)  # None becomes NaN
    return _spread(np.round(values, decimals), places, length)


def _spread(values: Floats, places: Ints, length: int) -> Floats:
    column = np.full(length, np.nan)
    column[places] = values
    return column


def _values(starts: Ints, rows: Sequence[Row], decimals: int) -> dict[str, Floats]:
    """The indicators at the bars' starts; a bar without a row has NaN."""
    own = np.array([epoch_seconds(row["start"]) for row in rows], np.int64)
    at = np.searchsorted(starts, own)
    inside = at < len(starts)
    inside[inside] = starts[at[inside]] == own[inside]
    found = {}
    for name in COLUMNS:
        values = np.array([row["values"].get(name) for row in rows], np.float64)
        column = np.full(len(starts), np.nan)
        column[at[inside]] = np.round(values[inside], decimals + 2)
        found[name] = column
    return found


def series(palette: Palette) -> list[dict[str, Any]]:
    """Every series of the chart in one theme, without data, those below first.

    `kind` says how points are made from columns. `live`, where it is there, has what is different in the options of
    the twin that holds the newest bars: of a series the library draws again as a whole what has changed, so what
    changes with each tick is kept apart from the thousands of bars that do not.
    """
    return [
        _gaps(palette),
        _volume(palette),
        *(line_series(line, palette) for line in LINES),
        _candles(palette),
        _last(palette),
    ]


def _series(name: str, kind: str, pane: int, options: dict[str, Any], live: dict[str, Any] | None) -> dict[str, Any]:
    quiet = {"lastValueVisible": False, "priceLineVisible": False}
    type_ = {"last": "line", "gaps": "histogram"}.get(kind, "candlestick")
    spec = {"id": name, "type": type_, "pane": pane, "kind": kind, "column": name, "options": quiet | options}
    return spec if live is None else spec | {"live": live}


def _candles(palette: Palette) -> dict[str, Any]:
    up, down = palette.up, palette.down
    edges = {"borderUpColor": up, "borderDownColor": down, "wickUpColor": up, "wickDownColor": down}
    forming = {"upColor": faded(up, 0.15), "downColor": faded(down, 0.15)}
    return _series("price", "candles", PRICE, {"upColor": up, "downColor": down, **edges}, forming)


def _volume(palette: Palette) -> dict[str, Any]:
    spec = _series("volume", "volume", VOLUME, {"priceFormat": {"type": "volume"}} | COLUMN_OPTIONS, {})
    return spec | {"colours": column_colours(palette)}


def _gaps(palette: Palette) -> dict[str, Any]:
    """Columns of the full height: slots without a trade, and the first bar after a break."""
    spec = _series("gaps", "gaps", PRICE, {"priceScaleId": "gaps", "base": 0}, None)
    margins = {"scaleMargins": {"top": 0, "bottom": 0}, "visible": False}
    return spec | {
        "colours": [faded(palette.muted, 0.14), faded(palette.accent, 0.16)],
        "priceScaleOptions": margins,
    }


def _last(palette: Palette) -> dict[str, Any]:
    """The newest price: a label on the scale and a line across."""
    shown = {"lastValueVisible": True, "priceLineVisible": True, "lineVisible": False, "crosshairMarkerVisible": False}
    return _series("last", "last", PRICE, shown, None) | {"colours": [palette.down, palette.up]}


def chart_options(palette: Palette) -> dict[str, Any]:
    """The options of the chart in one theme; the background is the page's."""
    line = {"color": palette.border}
    label = {"labelBackgroundColor": palette.muted}
    return {
        "layout": {
            "background": {"type": "solid", "color": palette.surface},
            "textColor": palette.muted,
            "attributionLogo": True,
            "panes": {"separatorColor": palette.border, "separatorHoverColor": faded(palette.accent, 0.3)},
        },
        "grid": {"vertLines": {"color": palette.grid}, "horzLines": {"color": palette.grid}},
        "crosshair": {"mode": 0, "vertLine": label, "horzLine": label},
        "rightPriceScale": {"borderColor": line["color"], "minimumWidth": 64},
        "timeScale": {
            "borderColor": line["color"],
            "timeVisible": True,
            "secondsVisible": False,
            "rightOffset": 3,
            "minBarSpacing": 0.05,
        },
        "localization": {"dateFormat": "yyyy-MM-dd"},
    }


def style(palette: Palette) -> dict[str, Any]:
    """All that a theme decides, for the browser: options, series, and the colours of markers and of the legend."""
    return {
        "options": chart_options(palette),
        "series": series(palette),
        "colours": {"up": palette.up, "down": palette.down, "amended": palette.warning, "muted": palette.muted},
    }
