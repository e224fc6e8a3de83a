"""Reports of the predictor as tables and plots."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ml.features import features
from notebooks import style, tape

NAMES = {"rise": "direction", "return": "return"}


def minutes() -> dict[str, pd.DataFrame]:
    """Recorded minute bars of a liquid and of an illiquid market by name, or a random walk where there are none."""
    from ml.dataset import read_bars
    from notebooks.places import data_folder

    folder = data_folder()
    if folder is None:
        return {"random walk": tape.random_walk(4000).assign(symbol="WALK")}
    crypto = folder / "crypto_bars"
    return {
        "BTC and ETH in USD, Coinbase 2018": read_bars(crypto / "coinbase_BTC_ETH_2018_1m.parquet"),
        "XRP in BTC, Bittrex 2018": read_bars(crypto / "bittrex_XRPBTC_multi_interval.parquet", "1m"),
    }


def skills(axes: Axes, found: dict[str, Any], kind: str) -> None:
    """The skill of one horizon against each baseline in percent, with its 95 % intervals."""
    estimates = found[f"skill_of_{kind}"]
    for place, each in enumerate(estimates.values()):
        sure = each["low"] > 0 or each["high"] < 0
        colour = style.GREY if not sure else style.GREEN if each["value"] > 0 else style.RED
        axes.plot([100 * each["low"], 100 * each["high"]], [place, place], color=colour, linewidth=5, alpha=0.45)
        axes.plot(100 * each["value"], place, "o", color=colour, markersize=7)
    axes.axvline(0, color=style.INK, linewidth=0.9)
    axes.set_yticks(range(len(estimates)), [f"against {name}" for name in estimates])
    axes.set_ylim(-0.6, len(estimates) - 0.4)
    style.label(axes, x=f"skill of the {NAMES[kind]}, % of the baseline's error saved", y="baseline")


def calibration(axes: Axes, found: dict[str, Any]) -> None:
    """How often the price rose, by what was said: on the diagonal a probability means what it says."""
    classes = found["calibration"]["classes"]
    said, came = ([100 * each[name] for each in classes] for name in ("said", "came"))
    spread = [196 * np.sqrt(each["came"] * (1 - each["came"]) / each["samples"]) for each in classes]
    low, high = min(said + came) - 5, max(said + came) + 5
    axes.plot([low, high], [low, high], color=style.GREY, linestyle="--", label="means what it says")
    axes.errorbar(said, came, yerr=spread, fmt="o", color=style.BLUE, capsize=3, label="a tenth of the predictions")
    axes.legend(loc="upper left")
    style.label(axes, x="said: probability of a rise, %", y="came: share of rises, %")


def echo(bars: pd.DataFrame, lags: int = 10) -> pd.Series:
    """The autocorrelation of one-bar log returns by lag, over the histories of all symbols."""
    returns = [np.log(group["close"]).diff().dropna() for _, group in bars.groupby("symbol")]
    return pd.Series(
        {lag: float(np.mean([each.autocorr(lag) for each in returns])) for lag in range(1, lags + 1)}, name="echo"
    )


def one_bar_ahead(bars: pd.DataFrame) -> pd.DataFrame:
    """The features with one mistake in them: `return_1` is that of the next bar."""
    found = features(bars)
    return found.assign(return_1=found["return_1"].shift(-1))
