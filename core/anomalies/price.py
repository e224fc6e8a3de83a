"""Rules on the price of a bar, against the bars before."""

import numpy as np

from core.anomalies.base import Limits, Measure, Moment, Rule, column
from core.indicators.base import Array


def _sizable(name: str) -> Measure:
    """A return in units of what is usual; 0 for one so small that a quiet market's unit is to blame."""

    def measure(moment: Moment, limits: Limits) -> Array:
        small = np.abs(moment.values["roc_1"]) < limits.return_percent
        return np.where(small, 0.0, moment.values[name])

    return measure


def _zscore(moment: Moment, limits: Limits) -> Array:
    """The same of the distance from the mean; 0 where the closes are all equal."""
    small = np.abs(moment.bars.close / moment.values["sma_60"] - 1) * 100 < limits.return_percent
    return np.where(small, 0.0, moment.values["zscore_60"])


_MOVED = "{symbol} {interval} closed at {close}, {percent} % {way} the bar before: "

RULES = (
    Rule(
        name="price_move",
        means="the close moved by more than so many percent from the bar before",
        indicators="roc:1",
        measure=column("roc_1"),
        limit="move_percent",
        both=True,
        text="{symbol} {interval} closed at {close}, {value} % {way} the bar before: more than {limit} %",
        over="{symbol} {interval} closed at {close}, {value} % {way} the bar before: within {limit} % again",
    ),
    Rule(
        name="return_mad",
        means="the log return is so many robust standard deviations (MAD) from the median of the 60 before",
        indicators="retmad:60 roc:1",
        measure=_sizable("retmad_60"),
        limit="return_mad",
        both=True,
        text=_MOVED + "{value} robust deviations (MAD) of the 60 returns before, more than {limit}",
        over=_MOVED + "within {limit} robust deviations (MAD) of the 60 returns before again",
    ),
    Rule(
        name="return_ewma",
        means="the log return is so many times the exponential volatility (EWMA, 32 bars) before it",
        indicators="retewma:32 roc:1",
        measure=_sizable("retewma_32"),
        limit="return_ewma",
        both=True,
        text=_MOVED + "{value} times the EWMA volatility, more than {limit}",
        over=_MOVED + "within {limit} times the EWMA volatility again",
    ),
    Rule(
        name="close_zscore",
        means="the close is so many standard deviations from the mean of the last 60 closes",
        indicators="zscore:60 sma:60",
        measure=_zscore,
        limit="zscore",
        both=True,
        text="{symbol} {interval} closed at {close}, {value} standard deviations {way} the mean of 60 closes: "
        "more than {limit}",
        over="{symbol} {interval} closed at {close}, {value} standard deviations {way} the mean of 60 closes: "
        "within {limit} again",
    ),
)
