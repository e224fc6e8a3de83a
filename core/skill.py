"""How much better than a baseline, and how sure: from sums over blocks of time.

Predictions of one hour share the market's mood, and their outcomes overlap, so that thousands of them are no thousand
observations. Blocks of time, with all symbols in them, are far less dependent on each other. The interval is that of
the delete-one jackknife (B. Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982, chapter 3) over
blocks, with Student's t for as many blocks as there are.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_BLOCKS = 6
"""With fewer there is no interval: nobody could say how far hours differ."""
HOUR_US = 3_600_000_000
HORIZONS_PER_BLOCK = 4
COIN = 0.25
"""The Brier score of saying 0.5 each time."""

Sums = Sequence[float]
Floats = NDArray[np.float64]
Statistic = Callable[[Sums], float | None]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval; None for both ends where there are too few blocks for one."""

    value: float
    low: float | None
    high: float | None

    @property
    def beats(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.low is not None and self.low > 0

    @property
    def loses(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.high is not None and self.high < 0


def block_us(horizon: int, bar_us: int) -> int:
    """How long a block is: an hour, or four horizons where these are longer."""
    return max(HOUR_US, HORIZONS_PER_BLOCK * horizon * bar_us)


def block_lengths(bar_us: int) -> tuple[int, int]:
    """The least length of a block, and that of one for each bar of the horizon, in microseconds."""
    return HOUR_US, HORIZONS_PER_BLOCK * bar_us


def jackknife(blocks: Sequence[Sums], statistic: Statistic) -> Estimate | None:
    """A statistic of the sums over all blocks. None where it is not defined.

    Each block has the same columns; they are added up and given to `statistic`, once with all blocks and once without
    each of them.
    """
    total = [math.fsum(column) for column in zip(*blocks, strict=True)]
    value = statistic(total) if total else None
    if value is None:
        return None
    without = [statistic([all_ - one for all_, one in zip(total, block, strict=True)]) for block in blocks]
    held = [each for each in without if each is not None]
    if len(blocks) < MIN_BLOCKS or len(held) < len(blocks):
        return Estimate(value, None, None)
    mean = math.fsum(held) / len(held)
    spread = (len(held) - 1) / len(held) * math.fsum((each - mean) ** 2 for each in held)
    reach = student_t(len(held) - 1) * math.sqrt(spread)
    return Estimate(value, value - reach, value + reach)


def ratio(sums: Sums) -> float | None:
    """The first column over the second."""
    return sums[0] / sums[1] if sums[1] > 0 else None


def skill(sums: Sums) -> float | None:
    """1 - error / error of the baseline, which are the two columns: 0 is as good as it, below 0 worse."""
    return 1 - sums[0] / sums[1] if sums[1] > 0 else None


def skill_against_coin(sums: Sums) -> float | None:
    """Of a Brier score. Columns: sum of squared errors, samples that moved, rises among them."""
    return skill((sums[0], COIN * sums[1]))


def skill_against_prior(sums: Sums) -> float | None:
    """The same against who always says the share of rises of just these samples, which nobody knew beforehand.

    None where all of them rose, or none: that share made no error.
    """
    moved, rises = sums[1], sums[2]
    if moved < 1 or not 0 < rises < moved:
        return None
    return skill((sums[0], rises * (1 - rises / moved)))


def student_t(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, to two digits after the point from 5 degrees of freedom on.

    Cornish-Fisher expansion (M. Abramowitz, I. Stegun, Handbook of Mathematical Functions, 26.7.5).

    >>> round(student_t(23), 3)
    2.069
    """
    z = 1.959963984540054
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / math.pow(freedom, power) for power, term in enumerate(terms, 1))


@dataclass(frozen=True, slots=True)
class ReliabilityClass:
    """Forecasts that said much the same: the mean of what they said, the share that came, and how many they are."""

    said: float
    came: float
    samples: int


def calibration(came: Floats, failed: Floats, classes: int) -> list[ReliabilityClass]:
    """Forecasts in classes of equal size, lowest probability first; the first ones have one more where it must be.

    `came` and `failed` are the probabilities said before what happened and before what did not, in any order. Where a
    class ends among equal probabilities, they are no different from each other: it has its share of what came of them.

    >>> calibration(np.array([0.4, 0.6, 0.6]), np.array([0.3, 0.6]), 2)
    [ReliabilityClass(said=0.43333333333333335, came=0.5555555555555555, samples=3), \
ReliabilityClass(said=0.6, came=0.6666666666666666, samples=2)]
    """
    said = np.sort(np.concatenate([came, failed]))
    least, more = divmod(len(said), classes)
    sizes = [size for place in range(classes) if (size := least + (place < more))]
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    # How much of what came lies below each edge, straight through a run of equals.
    runs = np.concatenate([[0], np.flatnonzero(np.diff(said)) + 1, [len(said)]])
    below = np.concatenate([[0], np.searchsorted(np.sort(came), said[runs[1:] - 1], "right")]) if len(said) else runs
    share = np.diff(np.interp(ends, runs, below))
    total = np.add.reduceat(said, ends[:-1]) if sizes else said
    return [
        ReliabilityClass(float(sum_ / size), float(part / size), size)
        for sum_, part, size in zip(total, share, sizes, strict=True)
    ]
