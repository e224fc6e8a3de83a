"""How the plots look: one palette, readable on white, and no plot without title, units and labelled axes."""

from collections.abc import Iterable

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

BLUE, ORANGE, GREEN, RED, PURPLE, GREY, INK = (
    "#1f6feb", "#d9730d", "#1a8f6b", "#c93c37", "#7d4fc9", "#8b949e", "#24292f",
)  # fmt: skip
RISE, FALL = GREEN, RED
_MINUTE = 1 / 1440


def use() -> None:
    """Set the look of every plot that follows."""
    plt.rcParams.update(
        {
            "figure.figsize": (10, 4.4),
            "figure.dpi": 84,
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE, RED, GREY]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": GREY,
            "axes.labelcolor": INK,
            "axes.titlelocation": "left",
            "axes.titlesize": 11.5,
            "axes.titleweight": "bold",
            "axes.titlecolor": INK,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": "#d0d7de",
            "grid.linewidth": 0.6,
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "font.size": 9.5,
            "lines.linewidth": 1.4,
        }
    )
    pd.set_option("display.precision", 4, "display.width", 160, "display.max_columns", 30)


def panels(rows: int = 1, heights: Iterable[float] | None = None, height: float = 4.4, share_x: bool = True) -> list:
    """That many plots one above the other, of relative heights."""
    ratios = list(heights) if heights else [1.0] * rows
    _, axes = plt.subplots(
        rows, 1, figsize=(10, height), sharex=share_x, squeeze=False, gridspec_kw={"height_ratios": ratios}
    )
    return [row[0] for row in axes]


def label(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Title and axis labels with their units; what is empty stays as it is."""
    if title:
        axes.set_title(title)
    if x:
        axes.set_xlabel(x)
    if y:
        axes.set_ylabel(y)


def utc_axis(axes: Axes, day: str, form: str = "%H:%M") -> None:
    """A time axis that says its day and zone."""
    axes.xaxis.set_major_formatter(mdates.DateFormatter(form, tz="UTC"))
    axes.set_xlabel(f"{day}, UTC" if day else "UTC")


def candles(axes: Axes, bars: pd.DataFrame, minutes: int = 1) -> None:
    """Candlesticks of a frame with start, open, high, low and close; bars without a price leave a hole."""
    priced = bars.dropna(subset=["open", "high", "low", "close"])
    at = mdates.date2num(priced["start"] + pd.Timedelta(minutes=minutes / 2))
    rising = (priced["close"] >= priced["open"]).to_numpy()
    colours = np.where(rising, RISE, FALL)
    axes.vlines(at, priced["low"], priced["high"], color=colours, linewidth=0.9)
    low, high = priced[["open", "close"]].min(axis=1), priced[["open", "close"]].max(axis=1)
    least = (priced["high"].max() - priced["low"].min()) / 500
    axes.bar(at, (high - low).clip(lower=least), minutes * _MINUTE * 0.7, bottom=low, color=colours)
    axes.xaxis_date(tz="UTC")


def volume_bars(axes: Axes, bars: pd.DataFrame, minutes: int = 1) -> None:
    """Volume in thousands of shares under candles of the same frame."""
    at = mdates.date2num(bars["start"] + pd.Timedelta(minutes=minutes / 2))
    colours = np.where((bars["close"] >= bars["open"]).to_numpy(), RISE, FALL)
    axes.bar(at, bars["volume"] / 1000, minutes * _MINUTE * 0.7, color=colours, alpha=0.75)
    axes.set_ylabel("volume,\nthousand")


def nines(axes: Axes, shares: Iterable[float]) -> None:
    """An x axis of shares of ticks on which every further nine is one step: 0, 90, 99, 99.9 %."""
    ticks = list(shares)
    axes.set_xscale("function", functions=(_to_nines, _from_nines))
    axes.set_xticks(ticks, [f"{100 * share:g} %" for share in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(0, max(ticks))


def milliseconds(axes: Axes) -> None:
    """A logarithmic y axis of milliseconds, labelled in plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("milliseconds, logarithmic")


def percentile_curves(axes: Axes, curves: pd.DataFrame) -> None:
    """Milliseconds by share of the ticks, a curve per column, the last point of each written beside it."""
    last = curves.index[-1]
    for name in curves:
        axes.plot(curves.index, curves[name], marker="o", markersize=4.5, label=name)
        value = curves.loc[last, name]
        axes.annotate(f"{value:,.0f}", (last, value), (6, 0), textcoords="offset points", va="center")
    nines(axes, curves.index)
    milliseconds(axes)
    axes.set_xlim(0.45, 1 - 0.85 * (1 - last))
    axes.set_ylim(bottom=min(1.0, 0.8 * curves.min().min()))


def matrix(axes: Axes, counts: pd.DataFrame, total: pd.Series, highest: float, of: str) -> None:
    """Counts by row and column, coloured by their share of the row's total in percent, up to `highest`."""
    share = 100 * counts.div(total, axis=0)
    picture = axes.imshow(share, cmap="OrRd", vmin=0, vmax=highest, aspect="auto")
    axes.set_xticks(range(counts.shape[1]), counts.columns)
    axes.set_yticks(range(counts.shape[0]), counts.index)
    axes.grid(False)
    for (row, column), value in np.ndenumerate(counts.to_numpy()):
        colour = "white" if share.iloc[row, column] > 0.6 * highest else INK
        axes.text(column, row, f"{value:,}" if value else "·", ha="center", va="center", color=colour)
    axes.figure.colorbar(picture, ax=axes, label=f"{of}, %", extend="max")


def finish(figure: Figure | None = None) -> None:
    """Show a figure. Raises ValueError for one without a title, or with an axis that does not say what it is."""
    shown = figure or plt.gcf()
    drawn = [axes for axes in shown.axes if axes.has_data() and axes.get_label() != "<colorbar>"]
    if not any(axes.get_title(place) for axes in drawn for place in ("left", "center")):
        raise ValueError("a figure needs something drawn and a title")
    for axes in drawn:
        place = axes.get_subplotspec()
        if not axes.get_ylabel() or ((place is None or place.is_last_row()) and not axes.get_xlabel()):
            raise ValueError("an axis has no label")
    plt.show()
    plt.close(shown)


def _to_nines(share: np.ndarray) -> np.ndarray:
    return -np.log10(np.clip(1 - np.asarray(share, float), 1e-6, None))


def _from_nines(value: np.ndarray) -> np.ndarray:
    return 1 - 10 ** -np.asarray(value, float)
