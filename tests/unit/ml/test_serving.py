"""After a restart, and after an amended bar, the model is asked with the features that it would be trained on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.indicators.base import Array
from core.intervals import DAY_US, INTERVALS
from ml.baselines import Guess
from ml.features import NAMES, features
from ml.serving import ClosedBar, Predictor, warm_up_bars
from ml.shelf import Bundle, Shelf
from tests.unit.ml.histories import BEGIN_US, frame

HOUR_US = 3_600_000_000
MONDAY_US = BEGIN_US + 4 * DAY_US  # 2026-01-05
HOURS = {"24/7": (0, 24), "XNYS": (9, 25)}  # UTC; from 04:00 to 20:00 in New York
AMOUNTS = ("open", "high", "low", "close", "volume", "notional")


class Asked:
    """A model that keeps what it was asked with."""

    def predict(self, found: Array, _: Array) -> Guess:
        self.features = found
        return Guess(np.zeros(len(found)), np.full(len(found), 0.5))


def two_sessions(interval: str, calendar: str, symbol: str) -> pd.DataFrame:
    """A random walk up to the last bar of the second session."""
    first, last = (hour * HOUR_US for hour in HOURS[calendar])
    start = np.concatenate([day + np.arange(first, last, INTERVALS[interval].us) + MONDAY_US for day in (0, DAY_US)])
    close = 100 * np.exp(np.cumsum(np.random.default_rng(len(symbol)).normal(0, 1e-3, len(start))))
    return frame(close, symbol, 3, start).assign(notional=lambda bars: bars["close"] * bars["volume"])


def closed(row: dict[str, object], interval: str) -> ClosedBar:
    amounts = {name: repr(row[name]) for name in AMOUNTS}
    return ClosedBar(symbol=row["symbol"], interval=interval, start=row["start"], rev=1, **amounts)


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("calendar", HOURS)
def test_features_after_a_warm_up_are_those_of_the_frame(interval: str, calendar: str, tmp_path: Path) -> None:
    both = [two_sessions(interval, calendar, symbol) for symbol in ("A", "BB")]
    expected = [features(bars, calendar)[list(NAMES)].to_numpy()[-1] for bars in both]
    predictor, asked = Predictor(interval, Shelf(tmp_path, interval), calendar), Asked()
    card = {"report": {"horizons": {"1": {"beats_baselines": {"return": True, "rise": True}}}}}
    predictor.bundle = Bundle("asked", {1: asked}, card)  # type: ignore[dict-item]
    stored = pd.concat([bars.iloc[:-1].tail(warm_up_bars(interval)) for bars in both]).to_dict("records")
    for _ in range(2):  # at a start, and for an amended bar
        predictor.warm_up(stored)
    newest = pd.concat([bars.tail(1) for bars in both]).to_dict("records")
    predictor.answer([closed(row, interval) for row in newest], 0)
    np.testing.assert_array_equal(asked.features, expected)
