"""One definition: bar by bar equals the frame, nothing looks ahead, nothing depends on the size of a price."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.indicators import bars_of
from ml.features import FEATURES, NAMES, features
from ml.leakage import looking_ahead
from ml.live import LiveFeatures
from tests.unit.ml.histories import MINUTE_US, walk

SCALED = ["open", "high", "low", "close"]


def test_each_feature_has_a_name_of_its_own_and_is_explained() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 18
    assert all(len(feature.means.split()) > 2 for feature in FEATURES)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), batch=st.integers(1, 40), holes=st.booleans())
def test_bar_by_bar_equals_the_frame_bit_for_bit(seed: int, batch: int, holes: bool) -> None:
    bars = pd.concat([walk(120, seed, symbol="AAA"), walk(90, seed + 1, symbol="BBB")], ignore_index=True)
    draw = np.random.default_rng(seed)
    if holes:
        bars = bars[draw.random(len(bars)) > 0.2].reset_index(drop=True)
    expected = features(bars)[list(NAMES)].to_numpy()
    live, order = LiveFeatures(), np.argsort(bars["start"].to_numpy(), kind="stable")
    for rows in np.array_split(order, max(1, len(order) // batch)):
        rows = draw.permutation(rows)
        taken = bars.iloc[rows]
        columns = [taken[name].to_numpy() for name in (*SCALED, "volume")]
        notional = (columns[1] + columns[2] + columns[3]) / 3 * columns[4]
        found = live.take(list(taken["symbol"]), bars_of(*columns, notional, taken["start"].to_numpy()),
                          taken["start"].to_numpy())  # fmt: skip
        np.testing.assert_array_equal(found, expected[rows])


def test_forgotten_key_begins_anew() -> None:
    bars, live = walk(130), LiveFeatures()
    columns = [bars[name].to_numpy() for name in (*SCALED, "volume", "volume")]
    live.take(
        ["AAA"] * 65, bars_of(*(each[:65] for each in columns), bars["start"][:65]), bars["start"].to_numpy()[:65]
    )
    live.forget("AAA")
    assert live.last_us("AAA") == 0
    rest = live.take(["AAA"] * 65, bars_of(*(each[65:] for each in columns), bars["start"][65:]),
                     bars["start"].to_numpy()[65:])  # fmt: skip
    assert np.isnan(rest[0, NAMES.index("return_1")]) and np.isfinite(rest[-1, NAMES.index("return_60")])


def test_no_feature_depends_on_the_size_of_price_or_volume() -> None:
    bars = walk(200)
    larger = bars.assign(**{name: bars[name] * 1024 for name in SCALED}, volume=bars["volume"] * 4096)
    pd.testing.assert_frame_equal(features(bars), features(larger), check_exact=True)


def test_no_feature_looks_ahead() -> None:
    assert looking_ahead(walk(300)) == {}


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("day_")])
def test_feature_moved_one_bar_ahead_is_caught(name: str) -> None:
    def one_ahead(bars: pd.DataFrame) -> pd.DataFrame:
        found = features(bars)
        return found.assign(**{name: found[name].shift(-1)})

    assert set(looking_ahead(walk(300), one_ahead)) == {name}


def test_mean_over_the_whole_history_is_caught() -> None:
    def standardised(bars: pd.DataFrame) -> pd.DataFrame:
        found = features(bars)
        return found.assign(rsi=found["rsi"] - found["rsi"].mean())

    assert set(looking_ahead(walk(300), standardised)) == {"rsi"}


def test_values_are_what_the_words_say() -> None:
    bars = walk(100)
    close, found = bars["close"].to_numpy(), features(bars).iloc[-1]
    assert found["return_5"] == pytest.approx(np.log(close[-1] / close[-6]), rel=1e-12)
    assert found["to_sma_20"] == pytest.approx(close[-1] / close[-20:].mean() - 1, rel=1e-9)
    assert found["volume_5"] == pytest.approx(np.log(bars["volume"].iloc[-1] / bars["volume"].iloc[-6:-1].mean()))
    assert found["volatility"] == pytest.approx(np.log(np.diff(np.log(close[-21:])).std(ddof=1)), rel=1e-9)
    assert found["day_sin"] == pytest.approx(np.sin(2 * np.pi * 99 * MINUTE_US / 86_400_000_000))
