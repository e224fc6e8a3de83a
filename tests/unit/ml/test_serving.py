"""After a restart, and after an amended bar, the model is asked with the features that it would be trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.indicators.base import Array
from core.intervals import DAY_US, INTERVALS
from ml.baselines import Guess
from ml.features import NAMES, features
from ml.serving import ClosedBar, Predictor, read_back
from ml.shelf import Bundle, Shelf
from tests.unit.ml.histories import BEGIN_US, frame

HOUR_US = 3_600_000_000
MONDAY_US = BEGIN_US + 4 * DAY_US  # 2026-01-05
HOURS = {"24/7": (0, 24), "XNYS": (9, 25)}  # UTC; from 04:00 to 20:00 in New York
LONG = {  # from the middle of one session to the end of another; bars of every minute in between
    "XNYS": ("2026-01-02T20:00", "2026-01-05T21:00"),  # a Monday's, from midnight on Saturday in New York
    "XSHG": ("2026-02-13T03:00", "2026-02-24T06:00"),  # the one after the Spring Festival
}
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


def without_a_pause(interval: str, calendar: str, symbol: str) -> pd.DataFrame:
    """A random walk over a weekend or holidays too, up to the last bar before a close."""
    first, last = (np.datetime64(text, "us").astype(np.int64) for text in LONG[calendar])
    start = np.arange(first, last, INTERVALS[interval].us)
    close = 100 * np.exp(np.cumsum(np.random.default_rng(len(symbol)).normal(0, 1e-3, len(start))))
    return frame(close, symbol, 3, start).assign(notional=lambda bars: bars["close"] * bars["volume"])


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("calendar", HOURS)
def test_features_after_a_warm_up_are_those_of_the_frame(interval: str, calendar: str, tmp_path: Path) -> None:
    _warmed([two_sessions(interval, calendar, symbol) for symbol in ("A", "BB")], interval, calendar, tmp_path)


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("calendar", LONG)
def test_features_after_a_warm_up_in_a_session_of_days_are_those_of_the_frame(
    interval: str, calendar: str, tmp_path: Path
) -> None:
    _warmed([without_a_pause(interval, calendar, symbol) for symbol in ("A", "BB")], interval, calendar, tmp_path)


def _warmed(both: list[pd.DataFrame], interval: str, calendar: str, tmp_path: Path) -> None:
    expected = [features(bars, calendar)[list(NAMES)].to_numpy()[-1] for bars in both]
    predictor, asked = Predictor(interval, Shelf(tmp_path, interval), calendar), Asked()
    card = {"report": {"horizons": {"1": {"beats_baselines": {"return": True, "rise": True}}}}}
    predictor.bundle = Bundle("asked", {1: asked}, card)  # type: ignore[dict-item]
    # The newest bar ends late in its session, and the next one has begun when it is answered.
    now_us = int(both[0]["start"].iloc[-1]) + INTERVALS[interval].us + HOUR_US // 60
    stored = {bars["symbol"].iloc[0]: bars.iloc[:-1] for bars in both}

    def read(count: int, symbols: Sequence[str] | None) -> list[dict[str, Any]]:
        rows = pd.concat([stored[symbol].tail(count) for symbol in symbols or stored])
        return rows.to_dict("records")  # type: ignore[no-any-return]

    for symbols in (None, ["A"]):  # at a start, and for an amended bar
        read_back(predictor, read, symbols, now_us)
    newest = pd.concat([bars.tail(1) for bars in both]).to_dict("records")
    predictor.answer([closed(row, interval) for row in newest], 0)
    np.testing.assert_array_equal(asked.features, expected)
