"""The indicators of the chart: which line is what, where it is drawn, and what the API calls it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from dashboard.theme import Palette

Kind = Literal["line", "histogram", "zone"]
PRICE, VOLUME, RSI, MACD = range(4)
"""The panes, from the top."""

ZONES = {"rsi_low": 30.0, "rsi_high": 70.0}
"""Below is oversold, above overbought."""


@dataclass(frozen=True)
class Line:
    """One line: `column` as the API names its values, `group` the overlay that switches it; none: always shown."""

    column: str
    label: str
    pane: int
    colour: int  # of Palette.series
    indicator: str  # as the API is asked for it; empty for what is not computed
    group: str | None = None
    kind: Kind = "line"
    dashed: bool = False


_BBANDS, _MACD = "bbands:20,2", "macd:12,26,9"

LINES: tuple[Line, ...] = (
    Line("vwap", "VWAP", PRICE, 1, "vwap", "vwap"),
    Line("sma_20", "SMA 20", PRICE, 0, "sma:20", "sma20"),
    Line("sma_50", "SMA 50", PRICE, 2, "sma:50", "sma50"),
    Line("ema_12", "EMA 12", PRICE, 3, "ema:12", "ema12"),
    Line("ema_26", "EMA 26", PRICE, 4, "ema:26", "ema26"),
    Line("bbands_20_2_upper", "BB upper", PRICE, 7, _BBANDS, "bbands"),
    Line("bbands_20_2_middle", "BB middle", PRICE, 7, _BBANDS, "bbands", dashed=True),
    Line("bbands_20_2_lower", "BB lower", PRICE, 7, _BBANDS, "bbands"),
    Line("rsi_high", "", RSI, 0, "", kind="zone"),
    Line("rsi_low", "", RSI, 0, "", kind="zone"),
    Line("rsi_14", "RSI 14", RSI, 2, "rsi:14"),
    Line("macd_12_26_9_hist", "histogram", MACD, 7, _MACD, kind="histogram"),
    Line("macd_12_26_9", "MACD 12 26 9", MACD, 0, _MACD),
    Line("macd_12_26_9_signal", "signal", MACD, 1, _MACD),
)

COLUMNS: tuple[str, ...] = tuple(line.column for line in LINES if line.kind != "zone")
INDICATORS = ";".join(dict.fromkeys(line.indicator for line in LINES if line.indicator))
"""What the API is asked for; its answer has all of COLUMNS."""

BRIDGE_OPACITY = 0.3
"""Of a line where it only connects: over slots without a trade, and over a break."""
COLUMN_OPACITY = 0.6

GROUPS: dict[str, str] = {
    "vwap": "VWAP",
    "sma20": "SMA 20",
    "sma50": "SMA 50",
    "ema12": "EMA 12",
    "ema26": "EMA 26",
    "bbands": "Bollinger 20, 2",
}
SHOWN = ("vwap", "sma20", "bbands")
"""The groups that are shown unless others are asked for."""


def chosen(text: str | None) -> tuple[str, ...]:
    """The groups that a URL names, in the order of GROUPS; what it does not know is left out, None is SHOWN.

    >>> chosen("bbands,vwap,nothing"), chosen("")
    (('vwap', 'bbands'), ())
    """
    if text is None:
        return SHOWN
    wanted = text.split(",")
    return tuple(name for name in GROUPS if name in wanted)


def lines_of(groups: Collection[str]) -> list[Line]:
    """The lines to draw when these groups are on."""
    return [line for line in LINES if line.group is None or line.group in groups]


def line_series(line: Line, palette: Palette) -> dict[str, Any]:
    """A line as a series of the chart, without data: `column`, `kind` and `group` say what to fill it with.

    `live` has the options of its twin, which holds the newest bars only.
    """
    return {
        "id": line.column,
        "type": {"line": "line", "histogram": "candlestick", "zone": "baseline"}[line.kind],
        "pane": line.pane,
        "kind": line.kind,
        "column": line.column,
        "indicator": line.indicator,
        "label": line.label,
        "group": line.group,
        "colour": palette.series[line.colour],
        "bridge": faded(palette.series[line.colour], BRIDGE_OPACITY),
        "options": _options(line, palette),
        **({"colours": column_colours(palette)} if line.kind == "histogram" else {}),
        **({"value": ZONES[line.column]} if line.kind == "zone" else {"live": {"lastValueVisible": line.pane == RSI}}),
        **({"priceLines": [_level(ZONES[line.column], palette)]} if line.kind == "zone" else {}),
    }


def _options(line: Line, palette: Palette) -> dict[str, Any]:
    quiet = {"lastValueVisible": False, "priceLineVisible": False, "crosshairMarkerVisible": False}
    if line.kind == "zone":
        return quiet | _zone(faded(palette.series[line.colour], 0.10))
    if line.kind == "histogram":
        return quiet | COLUMN_OPTIONS
    # One pixel: drawn without a graphics processor, a wider line of thousands of points takes ten times as long.
    return quiet | {"color": palette.series[line.colour], "lineWidth": 1, "lineStyle": 2 if line.dashed else 0}


COLUMN_OPTIONS: dict[str, Any] = {"borderVisible": False}
"""Columns are candles that open at zero: of several in one pixel the library then shows the greatest, which it does not
of its histograms."""


def column_colours(palette: Palette) -> list[str]:
    """Of a column that falls, and of one that rises."""
    return [faded(palette.down, COLUMN_OPACITY), faded(palette.up, COLUMN_OPACITY)]


def _zone(fill: str) -> dict[str, Any]:
    """A baseline series that fills what lies between its value and the lower level: from the upper one the band
    between both, from the lower one nothing, but the scale then always reaches there."""
    clear = "rgba(0,0,0,0)"
    return {
        "baseValue": {"type": "price", "price": ZONES["rsi_low"]},
        "topFillColor1": fill,
        "topFillColor2": fill,
        "bottomFillColor1": clear,
        "bottomFillColor2": clear,
        "lineVisible": False,
    }


def _level(price: float, palette: Palette) -> dict[str, Any]:
    """A dashed line across. The library shows it while its series has a point in sight or to the right."""
    return {"price": price, "color": palette.muted, "lineWidth": 1, "lineStyle": 2, "axisLabelVisible": False}


def faded(colour: str, opacity: float) -> str:
    """A colour `#rrggbb` with an opacity between 0 and 1, as `#rrggbbaa`.

    >>> faded("#0e8f76", 0.5)
    '#0e8f7680'
    """
    return f"{colour}{round(opacity * 255):02x}"
