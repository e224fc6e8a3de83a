"""Skill and its interval, held against the plain computation over single samples."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.intervals import MINUTE_US
from core.skill import (
    HOUR_US,
    MIN_BLOCKS,
    Estimate,
    Sums,
    block_us,
    calibration,
    jackknife,
    ratio,
    skill,
    skill_against_coin,
    skill_against_prior,
    student_t,
)

# The 97.5 % quantiles of Student's t, from a printed table.
QUANTILES = {5: 2.571, 6: 2.447, 7: 2.365, 10: 2.228, 15: 2.131, 23: 2.069, 47: 2.012, 100: 1.984, 719: 1.963}


@pytest.mark.parametrize("freedom", QUANTILES)
def test_quantile_of_t_is_that_of_the_table(freedom: int) -> None:
    assert student_t(freedom) == pytest.approx(QUANTILES[freedom], abs=0.004)


class Samples:
    """Forecasts of a coin that is not quite fair, in blocks of different sizes whose share of rises differs."""

    def __init__(self, blocks: int, seed: int = 3) -> None:
        random = np.random.default_rng(seed)
        self.block = np.repeat(np.arange(blocks), random.integers(20, 90, blocks))
        drift = random.normal(0, 0.08, blocks)[self.block]
        self.rose = (random.random(len(self.block)) < 0.5 + drift).astype(float)
        self.said = np.clip(0.5 + drift / 2 + random.normal(0, 0.05, len(self.block)), 0.01, 0.99)

    def sums(self) -> list[Sums]:
        """Squared error, samples, rises of each block."""
        columns = ((self.said - self.rose) ** 2, np.ones(len(self.rose)), self.rose)
        return list(np.stack([np.bincount(self.block, column) for column in columns], axis=1).tolist())


def against_coin(said: np.ndarray, rose: np.ndarray) -> float:
    return float(1 - ((said - rose) ** 2).mean() / ((0.5 - rose) ** 2).mean())


def against_prior(said: np.ndarray, rose: np.ndarray) -> float:
    return float(1 - ((said - rose) ** 2).mean() / ((rose.mean() - rose) ** 2).mean())


@pytest.mark.parametrize(
    ("statistic", "plain"), [(skill_against_coin, against_coin), (skill_against_prior, against_prior)]
)
def test_jackknife_of_sums_is_the_one_over_samples(
    statistic: Callable[[Sums], float | None], plain: Callable[[np.ndarray, np.ndarray], float]
) -> None:
    samples = Samples(24)
    found = jackknife(samples.sums(), statistic)
    without = np.array(
        [plain(samples.said[samples.block != each], samples.rose[samples.block != each]) for each in range(24)]
    )
    error = np.sqrt(23 / 24 * ((without - without.mean()) ** 2).sum())
    assert found is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(plain(samples.said, samples.rose), rel=1e-12)
    assert found.high - found.value == pytest.approx(2.0687 * error, rel=1e-3)
    assert found.value - found.low == pytest.approx(found.high - found.value, rel=1e-9)


def test_interval_of_blocks_holds_the_truth_where_one_of_samples_would_not() -> None:
    """Forecasts without any skill whose errors go together within a block: 95 % of the intervals should hold 0."""
    random = np.random.default_rng(11)
    held = narrow = 0
    for _ in range(400):
        mood = random.normal(0, 1, 24)[:, None]
        both = 1 + 0.3 * mood + random.normal(0, 0.1, (24, 60)), 1 + 0.3 * random.normal(0, 1, 24)[:, None]
        errors, plain = both[0].sum(axis=1), np.broadcast_to(both[1], (24, 60)).sum(axis=1)
        found = jackknife(np.stack([errors, plain], axis=1).tolist(), skill)
        assert found is not None and found.low is not None and found.high is not None
        held += found.low <= 0 <= found.high
        naive = 1.96 * (both[0] - both[1]).std() / np.sqrt(24 * 60)
        narrow += abs((both[0] - both[1]).mean()) <= naive
    assert 0.92 <= held / 400 <= 0.98
    assert narrow / 400 < 0.5


def test_too_few_blocks_have_a_value_and_no_interval() -> None:
    few, enough = Samples(MIN_BLOCKS - 1).sums(), Samples(MIN_BLOCKS).sums()
    short, whole = jackknife(few, ratio), jackknife(enough, ratio)
    assert short is not None and (short.low, short.high) == (None, None)
    assert whole is not None and whole.low is not None
    assert not short.beats and not short.loses


def test_what_is_not_defined_is_none() -> None:
    assert jackknife([], ratio) is None
    assert jackknife([[0.0, 0.0]] * 8, skill) is None
    assert jackknife([[1.0, 4.0, 4.0]] * 8, skill_against_prior) is None, "all rose: the prior made no error"
    lone = [[0.0, 0.0]] * 7 + [[1.0, 2.0]]  # without its only block nothing is left to divide by
    assert jackknife(lone, ratio) == Estimate(0.5, None, None)


def test_beating_and_losing_need_the_whole_interval() -> None:
    assert Estimate(1, 0.1, 2).beats and not Estimate(1, -0.1, 2).beats and not Estimate(1, 0, 2).beats
    assert Estimate(-1, -2, -0.1).loses and not Estimate(-1, -2, 0.1).loses


def test_a_block_is_an_hour_or_four_horizons() -> None:
    assert block_us(1, MINUTE_US) == block_us(15, MINUTE_US) == HOUR_US
    assert block_us(15, 5 * MINUTE_US) == 5 * HOUR_US


def by_rank(came: np.ndarray, failed: np.ndarray, classes: int) -> list[tuple[float, float, int]]:
    """The plain computation: in order of what was said, cut into parts, as SQL's ntile does it."""
    said = np.concatenate([came, failed])
    happened = np.concatenate([np.ones(len(came)), np.zeros(len(failed))])
    order = np.argsort(said, kind="stable")
    parts = np.array_split(order, classes)
    return [(said[part].mean(), happened[part].mean(), len(part)) for part in parts if len(part)]


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 10), st.integers(0, 9))
def test_calibration_is_that_of_ranks(rises: int, falls: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    came, failed = random.random(rises), random.random(falls)
    found = [(each.said, each.came, each.samples) for each in calibration(came, failed, classes)]
    assert found == [pytest.approx(each, rel=1e-12) for each in by_rank(came, failed, classes)]


SAID = (0.4, 0.5, 0.6123)  # no mean of forty of each is one of them by chance


@given(st.lists(st.sampled_from(SAID), max_size=40), st.lists(st.sampled_from(SAID[:2]), max_size=40))
def test_equal_probabilities_have_equal_shares_of_what_came(came: list[float], failed: list[float]) -> None:
    found = calibration(np.array(came), np.array(failed), 10)
    assert sum(each.samples for each in found) == len(came) + len(failed)
    assert sum(each.came * each.samples for each in found) == pytest.approx(len(came))
    for each in found:
        for said in [one for one in SAID if each.said == pytest.approx(one)]:
            assert each.came == pytest.approx(came.count(said) / (came.count(said) + failed.count(said)))
