"""Honesty: nothing is found in a random walk, what is planted is found, and scores are those of other libraries."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as their_log_loss

from core.errors import InputError
from ml import evaluate as module
from ml.baselines import BASELINES, Guess
from ml.dataset import every_horizon, samples
from ml.evaluate import evaluate
from ml.report import text, verdict
from ml.scores import Bootstrap, log_loss, rank_correlation, reliability, scores
from ml.shelf import Shelf
from ml.training import hold_against
from tests.unit.ml.histories import walk


@cache
def report(echo: float) -> dict[str, Any]:
    return evaluate(walk(2500, 5, echo), horizons=[1], folds=3)


def test_nothing_is_found_in_a_random_walk() -> None:
    found = report(0.0)["horizons"]["1"]
    assert found["beats_baselines"] == {"return": False, "rise": False}
    assert verdict(found) == "does not beat the baselines: abstains"
    assert abs(found["rank_correlation"]) < 0.08


def test_planted_echo_is_found_and_ar1_is_not_beaten_by_it() -> None:
    found = report(-0.5)["horizons"]["1"]
    for name in ("zero", "persistence", "prior"):
        assert found["skill_of_rise"][name]["low"] > 0 and found["skill_of_return"][name]["low"] > 0
    assert found["skill_of_return"]["ar1"]["value"] < 0.02  # it is the truth itself
    assert found["accuracy"]["low"] > 0.55
    assert found["rank_correlation"] > 0.2


def test_report_has_every_baseline_and_reads_well() -> None:
    told = text(report(0.0))
    assert all(name in told for name in BASELINES) and "no feature looks ahead" in told and "2,500 bars" in told


def test_feature_that_looks_ahead_stops_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "looking_ahead", lambda _: {"rsi": 0.1})
    with pytest.raises(InputError, match="look ahead, no score would mean anything: rsi"):
        evaluate(walk(500))


@pytest.mark.parametrize("from_bar", [0, 1000])
def test_price_that_does_not_move_stops_the_evaluation(from_bar: int) -> None:
    with pytest.raises(InputError, match="no price moved in the test blocks of horizon 1"):
        evaluate(still(walk(2500, 5), from_bar), horizons=[1], folds=1)


def test_price_that_does_not_move_of_late_stops_the_duel(tmp_path: Path) -> None:
    found = every_horizon(still(walk(1500, 5), 1200), horizons=[1])
    with pytest.raises(InputError, match="no price moved in the newest bars of horizon 1"):
        hold_against(Shelf(tmp_path, "1m"), found)


def still(bars: pd.DataFrame, from_bar: int) -> pd.DataFrame:
    """The same bars, but from one on all prices are 1."""
    prices = ["open", "high", "low", "close"]
    return bars.assign(**{name: bars[name].where(bars.index < from_bar, 1.0) for name in prices})


def test_baselines_say_what_their_names_say() -> None:
    past, test = (samples(walk(400, seed, -0.5), 1) for seed in (1, 2))
    found = {name: baseline(past, test) for name, baseline in BASELINES.items()}
    assert not found["zero"].value.any() and set(found["zero"].rise) == {0.5}
    np.testing.assert_array_equal(found["persistence"].value, test.before)
    assert (found["persistence"].rise[test.before > 0] < 0.5).all()  # it was mostly wrong in training
    slope, level = np.polyfit(past.before, past.target, 1)
    np.testing.assert_allclose(found["ar1"].value, slope * test.before + level)
    assert found["prior"].rise[0] == pytest.approx((past.target > 0).mean())


def test_scores_agree_with_scipy_and_scikit_learn() -> None:
    draw = np.random.default_rng(1)
    probability, rose = draw.random(500), (draw.random(500) > 0.4).astype(float)
    assert log_loss(probability, rose) == pytest.approx(their_log_loss(rose, probability))
    guessed, happened = draw.integers(0, 9, 500).astype(float), draw.normal(size=500)
    assert rank_correlation(guessed, happened) == pytest.approx(spearmanr(guessed, happened).statistic)
    unit = np.ones(500)
    guess = Guess(guessed, probability)
    found = scores(guess, {"itself": guess}, rose * 2 - 1, unit, np.arange(500), 1)
    assert found["brier"] == pytest.approx(brier_score_loss(rose, probability))
    assert found["skill_of_return"]["itself"] == {"value": 0, "low": 0, "high": 0}


def test_interval_of_samples_that_hang_together_is_wider() -> None:
    draw = np.random.default_rng(1)
    alone = draw.normal(size=4000) + 1
    together = np.repeat(draw.normal(size=80), 50) + 1
    narrow, wide = (Bootstrap(np.arange(4000), 1).ratio(values, np.ones(4000)) for values in (alone, together))
    assert narrow.low < 1 < narrow.high and narrow.high - narrow.low < 0.1
    assert wide.high - wide.low > 4 * (narrow.high - narrow.low)


def test_calibrated_probability_is_told_from_a_boastful_one() -> None:
    draw = np.random.default_rng(1)
    truth = draw.uniform(0.3, 0.7, 20_000)
    rose = (draw.random(20_000) < truth).astype(float)
    assert reliability(truth, rose)["expected_error"] < 0.02
    assert reliability(np.clip(0.5 + 2 * (truth - 0.5), 0, 1), rose)["expected_error"] > 0.05
