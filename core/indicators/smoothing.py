"""Recursive means that start from a plain mean: the parts of EMA, MACD, RSI and ATR."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import ClassVar, TypeVar

import numpy as np

from core.indicators.base import FADED, Array, Bars, Indicator, Outputs, period
from core.indicators.window import over_usable, total

Number = TypeVar("Number", float, Array)

FEW_KEYS = 16  # up to here plain floats, key by key, are faster than short arrays, bar by bar


@dataclass(frozen=True)
class SeededMean(ABC):
    """State: values taken in, then their sum until there are `period` of them, from then on the mean."""

    period: int
    width: ClassVar[int] = 2

    @abstractmethod
    def fold(self, mean: Number, value: Number) -> Number:
        """The mean with one more value; plain floats and arrays of them give the same bits."""

    @property
    @abstractmethod
    def remains(self) -> float:
        """The part of the mean that one more value leaves in place."""

    @property
    def fades_after(self) -> int:
        """Values after which a seed weighs less than 1e-9: the smallest m with remains^m < 1e-9."""
        return math.floor(math.log(FADED) / math.log(self.remains)) + 1 if self.remains > 0 else 1

    def feed(self, state: Array, value: Array) -> Array:
        """The state (..., 2) with one more value (...) each."""
        fed, held = np.empty_like(state), state[..., 1]
        taken = np.add(state[..., 0], 1, out=fed[..., 0])
        seeded = taken > self.period
        fed[..., 1] = self.fold(held, value)
        if not seeded.all():
            sums = held + value
            seeding = np.where(taken == self.period, sums / self.period, sums)
            fed[..., 1] = np.where(seeded, fed[..., 1], seeding)
        return fed

    def read(self, state: Array) -> Array:
        """The mean, NaN before `period` values."""
        return np.where(state[..., 0] >= self.period, state[..., 1], np.nan)

    def scan(self, values: Array) -> Array:
        """The mean after every value of a history (bars, keys), as `feed` and `read` give it."""
        found = np.full_like(values, np.nan)
        if len(values) < self.period:
            return found
        found[self.period - 1] = (0.0 + total(values[: self.period])) / self.period
        folded = self._by_key if values.shape[1] <= FEW_KEYS else self._by_bar
        folded(found[self.period - 1 :], values[self.period :])
        return found

    def _by_key(self, found: Array, values: Array) -> None:
        for key in range(values.shape[1]):
            means = accumulate(values[:, key].tolist(), self.fold, initial=float(found[0, key]))
            found[:, key] = list(means)

    def _by_bar(self, found: Array, values: Array) -> None:
        for bar, value in enumerate(values):
            found[bar + 1] = self.fold(found[bar], value)


@dataclass(frozen=True)
class ExponentialMean(SeededMean):
    """mean + (value - mean) * 2 / (period + 1)."""

    def fold(self, mean: Number, value: Number) -> Number:
        return mean + (value - mean) * (2 / (self.period + 1))

    @property
    def remains(self) -> float:
        return (self.period - 1) / (self.period + 1)


@dataclass(frozen=True)
class WilderMean(SeededMean):
    """(mean * (period - 1) + value) / period: J. W. Wilder, New Concepts in Technical Trading Systems, 1978."""

    def fold(self, mean: Number, value: Number) -> Number:
        return (mean * (self.period - 1) + value) / self.period

    @property
    def remains(self) -> float:
        return (self.period - 1) / self.period


@dataclass(frozen=True)
class Wilder(Indicator):
    """An indicator made of `means` Wilder's means of what changed since the last close.

    State: counter, last close, the means. The first bar has nothing to compare with; the next N seed the means.
    """

    means: ClassVar[int]
    length: int = period(14)

    @property
    def width(self) -> int:
        return 2 + self.means * WilderMean.width

    @property
    def ready_after(self) -> int:
        return self.length + 1

    @property
    def stable_after(self) -> int:
        """N + 1 + m with ((N - 1) / N)^m < 1e-9: 295 bars for N = 14."""
        return self.ready_after + self.mean.fades_after

    @cached_property
    def mean(self) -> WilderMean:
        return WilderMean(self.length)

    def scan(self, bars: Bars) -> Outputs:
        return over_usable(self, bars, self._scanned)

    @abstractmethod
    def _scanned(self, bars: Bars) -> Outputs:
        """`scan` of a history without gaps."""
