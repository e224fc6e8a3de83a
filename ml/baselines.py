"""What a model has to beat: predictions that need no model, fitted on the same rows as it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.indicators.base import Array
from ml.dataset import Samples


@dataclass(frozen=True)
class Guess:
    """Predicted log returns and the probability of a rise, one per sample."""

    value: Array
    rise: Array


Baseline = Callable[[Samples, Samples], Guess]


def zero(_: Samples, test: Samples) -> Guess:
    """The price stays: a return of 0, a rise as likely as a fall."""
    return Guess(np.zeros(len(test)), np.full(len(test), 0.5))


def prior(train: Samples, test: Samples) -> Guess:
    """What was usual: the mean return, and the share of rises among the moves."""
    return Guess(np.full(len(test), train.target.mean()), np.full(len(test), share_of_rises(train)))


def persistence(train: Samples, test: Samples) -> Guess:
    """What the price did over the last `horizon` bars it does again; as often right as it was in training."""
    right = _right(train.before, train.target)
    return Guess(test.before, _probability(np.sign(test.before), right))


def ar1(train: Samples, test: Samples) -> Guess:
    """An autoregression of order one on the returns over `horizon` bars, by least squares."""
    slope, level = _line(train.before, train.target)
    right = _right(slope * train.before + level, train.target)
    value = slope * test.before + level
    return Guess(value, _probability(np.sign(value), right))


BASELINES: dict[str, Baseline] = {"zero": zero, "persistence": persistence, "ar1": ar1, "prior": prior}


def share_of_rises(samples: Samples) -> float:
    """The share of rises among the samples that moved, 0.5 where none did."""
    moved = samples.target != 0
    return float((samples.target[moved] > 0).mean()) if moved.any() else 0.5


def _right(guessed: Array, target: Array) -> float:
    """How often the sign was right where both moved."""
    moved = (target != 0) & (guessed != 0)
    return float((np.sign(guessed[moved]) == np.sign(target[moved])).mean()) if moved.any() else 0.5


def _probability(sign: Array, right: float) -> Array:
    """The probability of a rise when the sign is right with that probability."""
    return np.where(sign == 0, 0.5, np.where(sign > 0, right, 1 - right))


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Slope and level of the least squares line."""
    spread = float(x.var())
    if spread == 0:
        return 0.0, float(y.mean())
    slope = float(((x - x.mean()) * (y - y.mean())).mean() / spread)
    return slope, float(y.mean() - slope * x.mean())
