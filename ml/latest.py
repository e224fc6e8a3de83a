"""What a version says after given bars."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from core.indicators.base import Array
from core.indicators.batch import start_us
from core.sessions import ALWAYS_OPEN
from ml.dataset import histories
from ml.features import NAMES, features, ready, volatility
from ml.shelf import Bundle


def predictions(bundle: Bundle, bars: pd.DataFrame, calendar: str = ALWAYS_OPEN) -> list[dict[str, Any]]:
    """A prediction per symbol and horizon after the symbol's last bar; none of a symbol with too few bars."""
    bars = histories(bars)
    found = features(bars, calendar)[list(NAMES)].to_numpy()
    last = bars.groupby("symbol")["start"].idxmax().to_numpy()
    return list(rows(bundle, bars["symbol"].to_numpy()[last], start_us(bars)[last], found[last]))


def rows(bundle: Bundle, symbols: Any, start: Any, found: Array) -> Iterator[dict[str, Any]]:
    """The predictions after bars with these features, as the stores and the API have them; returns are log returns.

    Where a horizon did not beat its baselines the row says so (`abstains`), and keeps its numbers for the scorecard.
    """
    usable = np.flatnonzero(ready(found))
    spread = volatility(found[usable])
    for horizon, model in bundle.models.items():
        guess = model.predict(found[usable], spread)
        trusted = {kind: bundle.trusted(horizon, kind) for kind in ("return", "rise")}
        for place, row in enumerate(usable):
            yield {
                "symbol": str(symbols[row]),
                "start": int(start[row]),
                "horizon": horizon,
                "expected_return": float(guess.value[place]),
                "rise_probability": float(guess.rise[place]),
                "volatility": float(spread[place] * np.sqrt(horizon)),
                "abstains": [kind for kind, held in trusted.items() if not held],
                "model": bundle.version,
            }
