"""Rules on oscillators."""

import numpy as np

from core.anomalies.base import Limits, Moment, Rule
from core.indicators.base import Array


def _rsi(moment: Moment, _: Limits) -> Array:
    """RSI 14; where it is 0 and nothing moved it says nothing, since it is 0 of a close that never moved too."""
    rsi = moment.values["rsi_14"]
    return np.where((rsi == 0) & (moment.values["roc_1"] == 0), np.nan, rsi)


RULES = (
    Rule(
        name="rsi_overbought",
        means="RSI 14 rose above its threshold",
        indicators="rsi:14 roc:1",
        measure=_rsi,
        limit="rsi_high",
        usual=50.0,
        worst="warning",
        text="{symbol} {interval} closed at {close}: RSI 14 is {value}, above {limit}",
        over="{symbol} {interval} closed at {close}: RSI 14 is back at {value}",
    ),
    Rule(
        name="rsi_oversold",
        means="RSI 14 fell below its threshold",
        indicators="rsi:14 roc:1",
        measure=_rsi,
        limit="rsi_low",
        usual=50.0,
        worst="warning",
        text="{symbol} {interval} closed at {close}: RSI 14 is {value}, below {limit}",
        over="{symbol} {interval} closed at {close}: RSI 14 is back at {value}",
    ),
)
