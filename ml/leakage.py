"""Does a feature look ahead? What it says of a moment must not change when the bars after it are taken away."""

from collections.abc import Callable

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from ml.dataset import keys_of
from ml.features import features

CUTS = 5
TAIL = 400
"""Bars of a key that are looked at: enough for every indicator to be ready."""


def looking_ahead(
    bars: pd.DataFrame, of: Callable[[pd.DataFrame], pd.DataFrame] = features, cuts: int = CUTS
) -> dict[str, float]:
    """Feature -> the largest change of its value at the last bar of a history cut short; empty when none looks ahead.

    `bars` are of any number of symbols; the one with the most bars is looked at. A feature whose value is there in one
    computation and missing in the other has changed by infinity.
    """
    key = keys_of(bars)
    longest = bars[key == key.value_counts().index[0]].sort_values("start").head(TAIL).reset_index(drop=True)
    whole = of(longest)
    changed: dict[str, float] = {}
    for length in np.linspace(len(longest) // 2, len(longest) - 1, cuts).astype(int):
        at_the_time = of(longest.head(length)).iloc[-1]
        afterwards = whole.iloc[length - 1]
        for name in whole.columns:
            change = _change(float(at_the_time[name]), float(afterwards[name]))
            if change > 0:
                changed[name] = max(change, changed.get(name, 0.0))
    return changed


def _change(one: float, other: float) -> float:
    if np.isnan(one) and np.isnan(other):
        return 0.0
    return float("inf") if np.isnan(one) or np.isnan(other) else abs(one - other)
