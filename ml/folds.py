"""Purged walk-forward: train on the past, leave a gap, test on what came next, move on.

M. Lopez de Prado, Advances in Financial Machine Learning, 2018, chapter 7.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from core.errors import InputError
from ml.dataset import Samples
from ml.features import Ints

MIN_TRAIN = 200
MIN_TEST = 20


@dataclass(frozen=True)
class Fold:
    """Rows of samples: those to train on, those to calibrate on, which come after them, and those to test on."""

    train: Ints
    calibrate: Ints
    test: Ints


def walk_forward(samples: Samples, folds: int, embargo: float = 0.01, calibrate: float = 0.2) -> Iterator[Fold]:
    """Test blocks of equal numbers of moments, each after all that its model has seen; the window to train on grows.

    Purged: nothing is trained on whose outcome was not yet known when the first sample of the test block was made; the
    same holds between training and calibration. Embargo: a further share of all moments is left out before each block.
    All symbols are cut at the same moments. Raises InputError when there is too little to cut.
    """
    moments = np.unique(samples.known_us)
    edges = np.linspace(0, len(moments), folds + 2).astype(int)
    if folds < 1 or len(moments) < folds + 2 or len(samples) < (MIN_TRAIN + MIN_TEST):
        raise InputError(
            f"{len(samples)} samples at {len(moments)} moments are too few for {folds} folds: "
            "give more bars or fewer folds"
        )
    gap = int(np.ceil(embargo * len(moments)))
    for first, last in pairwise(edges[1:]):
        test = _between(samples, moments[first], moments[last - 1])
        fitted = until(samples, int(moments[max(0, first - gap)]))
        if len(fitted) < MIN_TRAIN or len(test) < MIN_TEST:
            continue
        train, calibration = halves(samples, fitted, calibrate)
        yield Fold(train, calibration, test)


def until(samples: Samples, moment_us: int) -> Ints:
    """Rows whose outcome was known at that moment or before."""
    return np.flatnonzero(samples.outcome_us <= moment_us)


def halves(samples: Samples, rows: Ints, share: float) -> tuple[Ints, Ints]:
    """Rows to train on, and the last `share` of moments to calibrate on, purged of one another."""
    moments = np.unique(samples.known_us[rows])
    cut = moments[int(len(moments) * (1 - share))]
    return rows[samples.outcome_us[rows] <= cut], rows[samples.known_us[rows] >= cut]


def _between(samples: Samples, first_us: int, last_us: int) -> Ints:
    return np.flatnonzero((samples.known_us >= first_us) & (samples.known_us <= last_us))
