"""Samples: the right outcome beside each bar, and no bar whose outcome nobody could have had."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from ml.dataset import check_interval, read_bars, samples, whole_sessions
from ml.features import features
from ml.folds import walk_forward
from tests.unit.ml.histories import BEGIN_US, MINUTE_US, walk


@pytest.mark.parametrize("horizon", [1, 5, 15])
def test_outcome_is_the_return_after_the_bar(horizon: int) -> None:
    bars = pd.concat([walk(150, 1, symbol="AAA"), walk(140, 2, symbol="BBB")]).sample(frac=1, random_state=3)
    found = samples(bars, horizon)
    for key in ("AAA", "BBB"):
        close = bars[bars["symbol"] == key].sort_values("start")["close"].to_numpy()
        rows = np.flatnonzero(found.key == key)
        bar = ((found.start_us[rows] - BEGIN_US) // MINUTE_US).astype(int)
        assert list(bar) == list(range(60, len(close) - horizon))
        np.testing.assert_allclose(found.target[rows], np.log(close[bar + horizon] / close[bar]))
        np.testing.assert_allclose(found.before[rows], np.log(close[bar] / close[bar - horizon]))
    np.testing.assert_array_equal(found.known_us, found.start_us + MINUTE_US)
    np.testing.assert_array_equal(found.outcome_us, found.known_us + horizon * MINUTE_US)
    assert (np.diff(found.known_us) >= 0).all()


def test_outcome_in_another_session_is_left_out_of_minutes_and_kept_of_days() -> None:
    bars = walk(300)
    late = bars.assign(start=bars["start"] + 86_400_000_000 - 100 * MINUTE_US)  # bar 100 is the next UTC day's first
    found = samples(late, 5)
    bar = (found.start_us - late["start"].iloc[0]) // MINUTE_US
    assert set(range(95, 100)).isdisjoint(bar) and {94, 100} <= set(bar)
    days = bars.assign(start=BEGIN_US + np.arange(300) * 86_400_000_000)
    assert len(samples(days, 5)) == 300 - 60 - 5


def test_last_bars_are_taken_from_the_open_of_a_session_on_so_that_its_vwap_is_that_of_the_time() -> None:
    whole, young = walk(4_000, 1, symbol="AAA"), walk(1_200, 2, symbol="BBB")
    found = whole_sessions(pd.concat([whole.tail(3_000), young]), 3_000, "24/7")
    assert found.groupby("symbol").size().to_dict() == {"AAA": 4_000 - 1_440, "BBB": 1_200}
    expected = pd.concat([features(whole).tail(4_000 - 1_440), features(young)], ignore_index=True)
    pd.testing.assert_series_equal(features(found)["to_vwap"], expected["to_vwap"], check_exact=True)
    pd.testing.assert_frame_equal(whole_sessions(young, 1_200, "24/7"), young)  # hardly any other session


def test_sides_of_a_quote_are_histories_of_their_own() -> None:
    both = pd.concat([walk(100, 1).assign(kind="bid"), walk(100, 2).assign(kind="ask")])
    assert set(samples(both, 1).key) == {"AAA bid", "AAA ask"}


@settings(max_examples=30, deadline=None)
@given(horizon=st.sampled_from([1, 5, 15]), folds=st.integers(2, 6), embargo=st.floats(0, 0.1), seed=st.integers(0, 99))
def test_nothing_is_trained_on_that_was_not_known_before_its_test(
    horizon: int, folds: int, embargo: float, seed: int
) -> None:
    bars = pd.concat([walk(400, seed, symbol="AAA"), walk(300, seed, symbol="BBB")])
    bars = bars[np.random.default_rng(seed).random(len(bars)) > 0.1]
    found = samples(bars, horizon)
    moments = np.unique(found.known_us)
    tested: list[int] = []
    for fold in walk_forward(found, folds, embargo):
        assert found.outcome_us[fold.train].max() <= found.known_us[fold.calibrate].min()
        first = found.known_us[fold.test].min()
        latest = found.outcome_us[np.concatenate([fold.train, fold.calibrate])].max()
        between = np.count_nonzero((moments >= latest) & (moments < first))
        assert latest <= first and between >= np.floor(embargo * len(moments)) - 1
        tested += fold.test.tolist()
    assert len(tested) == len(set(tested)) and tested == sorted(tested)


def test_too_few_bars_say_so() -> None:
    with pytest.raises(InputError, match="too few"):
        list(walk_forward(samples(walk(100), 1), 5))
    with pytest.raises(InputError, match="two at least"):
        samples(walk(1), 1)


def test_files_are_read_in_any_of_the_usual_shapes(tmp_path: Path) -> None:
    bars = walk(30)
    stamped = bars.assign(start=pd.to_datetime(bars["start"], unit="us", utc=True))
    stamped.rename(columns={"start": "bar_start"}).to_parquet(tmp_path / "a.parquet")
    bars.assign(symbol="BBB").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="no such file"):
        read_bars(tmp_path / "c.parquet")
    found = read_bars(tmp_path / "a.parquet")
    assert len(found) == 30 and list(found["close"]) == list(bars["close"])
    for column in ("close", "start"):
        bars.drop(columns=column).to_parquet(tmp_path / "lacking.parquet")
        with pytest.raises(InputError, match=f"lacks {column}"):
            read_bars(tmp_path / "lacking.parquet")


def test_file_of_several_intervals_asks_which(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    pd.concat([walk(30).assign(interval="1m"), walk(6).assign(interval="5m")]).to_parquet(path)
    with pytest.raises(InputError, match="1m, 5m: choose one"):
        read_bars(path)
    with pytest.raises(InputError, match="no bars of 15m"):
        read_bars(path, "15m")
    assert len(read_bars(path, "5m")) == 6


@pytest.mark.parametrize(("interval", "minutes"), [("1m", 1), ("5m", 5), ("1d", 1440), ("30m", 30)])
def test_bars_must_be_as_long_as_their_interval(interval: str, minutes: int) -> None:
    bars = walk(30)
    spread = bars.assign(start=BEGIN_US + np.arange(30) * minutes * MINUTE_US).drop(index=[3, 4])
    check_interval(spread, interval)
    with pytest.raises(InputError, match=f"bars are of {minutes * 60} seconds, not of 15m: give their --interval"):
        check_interval(spread, "15m")
    for wrong in ("minute", "5"):
        with pytest.raises(InputError, match=f"not {wrong}|not of {wrong}:"):
            check_interval(spread, wrong)


def test_bar_without_a_price_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    bars = walk(30)
    bars.loc[3, "close"] = np.nan
    bars.loc[4, "low"] = 0.0
    bars.to_parquet(path)
    assert len(read_bars(path)) == 28
