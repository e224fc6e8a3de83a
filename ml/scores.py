"""Scores of predictions against baselines, with the uncertainty that comes from few independent moments."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.indicators.base import Array
from ml.baselines import Guess
from ml.features import Ints

RESAMPLES = 1000
BLOCKS = 20
"""Blocks of time that are resampled, at least."""
CLASSES = 10


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        return self.low > 0


class Bootstrap:
    """Resamples of blocks of neighbouring moments (H. Kuensch, 1989): samples of one hour are no independent ones.

    A block is as long as the horizon at least, and there are `BLOCKS` or more where there are moments enough.
    """

    def __init__(self, known_us: Ints, horizon: int, seed: int = 1) -> None:
        _, moment = np.unique(known_us, return_inverse=True)
        moments = int(moment.max()) + 1
        length = max(1, min(moments // BLOCKS, max(4 * horizon, int(np.sqrt(moments)))))
        self._block: Ints = np.asarray(moment // length, np.int64)
        self._blocks = int(self._block.max()) + 1
        draws = np.random.default_rng(seed).integers(0, self._blocks, (RESAMPLES, self._blocks))
        self._weights = np.stack([np.bincount(draw, minlength=self._blocks) for draw in draws])

    def ratio(self, numerator: Array, denominator: Array) -> Estimate:
        """sum of numerator / sum of denominator over samples."""
        sums = [np.bincount(self._block, values, self._blocks) for values in (numerator, denominator)]
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = (self._weights @ sums[0]) / (self._weights @ sums[1])
            value = float(sums[0].sum() / sums[1].sum())
        low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (np.nan, np.nan)
        return Estimate(value, float(low), float(high))

    def skill(self, errors: Array, of_baseline: Array) -> Estimate:
        """1 - mean error / mean error of the baseline: 0 is as good as it, below 0 worse."""
        ratio = self.ratio(errors, of_baseline)
        return Estimate(1 - ratio.value, 1 - ratio.high, 1 - ratio.low)


def scores(
    guess: Guess, baselines: dict[str, Guess], target: Array, volatility: Array, known_us: Ints, horizon: int
) -> dict[str, Any]:
    """How good the guess is, and by how much better than each baseline; what a report shows of one horizon.

    Errors of returns are in units of volatility, so that one wild day does not decide. The rise is judged over the
    samples that moved.
    """
    drawn = Bootstrap(known_us, horizon)
    unit = volatility * np.sqrt(horizon)
    moved = target != 0
    rose = (target > 0).astype(np.float64)
    drawn_moved = Bootstrap(known_us[moved], horizon)
    error = np.square((guess.value - target) / unit)
    brier = np.square(guess.rise - rose)[moved]
    right = _right(guess, target)[moved]
    return {
        "samples": len(target),
        "moments": len(np.unique(known_us)),
        "moved": int(moved.sum()),
        "accuracy": asdict(drawn_moved.ratio(right, np.ones_like(right))),
        "rank_correlation": rank_correlation(guess.value, target / unit),
        "brier": float(brier.mean()),
        "log_loss": log_loss(guess.rise[moved], rose[moved]),
        "calibration": reliability(guess.rise[moved], rose[moved]),
        "skill_of_return": {
            name: asdict(drawn.skill(error, np.square((each.value - target) / unit)))
            for name, each in baselines.items()
        },
        "skill_of_rise": {
            name: asdict(drawn_moved.skill(brier, np.square(each.rise - rose)[moved]))
            for name, each in baselines.items()
        },
        "baselines": {name: _plain(each, target, unit) for name, each in baselines.items()},
    }


def beats(found: dict[str, dict[str, float]]) -> bool:
    """Whether a skill lies above 0 with its whole interval, against every baseline."""
    return all(each["low"] > 0 for each in found.values())


def _plain(guess: Guess, target: Array, unit: Array) -> dict[str, float]:
    moved = target != 0
    rose = (target > 0).astype(np.float64)
    return {
        "error_of_return": float(np.square((guess.value - target) / unit).mean()),
        "brier": float(np.square(guess.rise - rose)[moved].mean()),
        "accuracy": float(_right(guess, target)[moved].mean()),
    }


def _right(guess: Guess, target: Array) -> Array:
    """1 where the likelier direction came, 0 where it did not, 0.5 where neither was called likelier."""
    side = np.sign(guess.rise - 0.5)
    return np.where(side == 0, 0.5, side == np.sign(target)).astype(np.float64)


def rank_correlation(guessed: Array, happened: Array) -> float:
    """Spearman's; 0 where one of both never changes."""
    if np.ptp(guessed) == 0 or np.ptp(happened) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(guessed), _ranks(happened))[0, 1])


def _ranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place], np.float64)


def log_loss(probability: Array, rose: Array) -> float:
    """The mean of -log of the probability that was given to what happened."""
    given = np.clip(np.where(rose > 0, probability, 1 - probability), 1e-12, 1)
    return float(-np.log(given).mean())


def reliability(probability: Array, rose: Array) -> dict[str, Any]:
    """Of classes of equal size by probability: what was said, and how often it came; and their mean distance."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, CLASSES) if len(part)]
    classes = [
        {"said": float(probability[part].mean()), "came": float(rose[part].mean()), "samples": len(part)}
        for part in parts
    ]
    off = sum(abs(each["said"] - each["came"]) * each["samples"] for each in classes) / max(1, len(order))
    return {"expected_error": float(off), "classes": classes}
