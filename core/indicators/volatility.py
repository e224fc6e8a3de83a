"""Bollinger bands, z-score, realised volatility and average true range."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from core.indicators.base import Array, Bars, Outputs, blocks, columns, divide, factor, keep, period
from core.indicators.smoothing import Wilder
from core.indicators.window import Window, Windowed, deviation, later, log_returns, mean, unroll


@dataclass(frozen=True)
class Bbands(Windowed):
    """Bollinger bands: the mean of the last N closes, and k population standard deviations above and below it."""

    name: ClassVar[str] = "bbands"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("upper", "middle", "lower")
    length: int = period(20, low=2)
    k: float = factor(2.0, low=0.01, high=100)

    @property
    def ready_after(self) -> int:
        return self.length

    def formula(self, *windows: Window) -> Outputs:
        middle = mean(windows[0])
        band = self.k * deviation(windows[0], middle)
        return {"upper": middle + band, "middle": middle, "lower": middle - band}


@dataclass(frozen=True)
class Zscore(Windowed):
    """(close - mean) / population standard deviation of the last N closes; NaN where these are all equal."""

    name: ClassVar[str] = "zscore"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("zscore",)
    length: int = period(20, low=2)

    @property
    def ready_after(self) -> int:
        return self.length

    def formula(self, *windows: Window) -> Outputs:
        centre = mean(windows[0])
        distance = windows[0][-1] - centre
        return {"zscore": divide(distance, deviation(windows[0], centre), otherwise=np.nan)}


@dataclass(frozen=True)
class Rvol(Windowed):
    """Realised volatility: the sample standard deviation of the last N log returns, per bar, not annualised.

    A close of zero or below has no logarithm, so that such a bar counts as one without a close.
    """

    name: ClassVar[str] = "rvol"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("rvol",)
    length: int = period(20, low=2)

    @property
    def ready_after(self) -> int:
        return self.length + 1

    def usable(self, bars: Bars) -> NDArray[np.bool_]:
        return np.logical_and(super().usable(bars), bars.close > 0)

    def formula(self, *windows: Window) -> Outputs:
        return {"rvol": _spread(log_returns(windows[0]))}

    def held(self, state: Array) -> Array:
        """The returns, with a place for the newest, and the last close."""
        closes = unroll(state[:, 2:])
        return np.concatenate([log_returns(closes), closes[-2:]]).T

    def formed(self, held: Array, bars: Bars) -> Outputs:
        returns = held[:-1]
        returns[-1] = np.log(bars.close / held[-1])
        return {"rvol": _spread(returns)}


@dataclass(frozen=True)
class Atr(Wilder):
    """Average true range: Wilder's mean of max(high - low, |high - last close|, |low - last close|).

    The first bar has no last close and gives no range; the next N ranges seed the mean by their plain mean (TA-Lib).
    State: counter, last close, mean range. J. W. Wilder, New Concepts in Technical Trading Systems, 1978.
    """

    name: ClassVar[str] = "atr"
    inputs: ClassVar[tuple[str, ...]] = ("high", "low", "close")
    outputs: ClassVar[tuple[str, ...]] = ("atr",)
    means: ClassVar[int] = 1

    def advance(self, state: Array, bars: Bars) -> Array:
        part = self.mean
        last, held = blocks(state, [1, part.width])
        fed = part.feed(held, _true_range(bars.high, bars.low, last[:, 0]))
        return columns(state[:, 0] + 1, bars.close, keep(state[:, 0] > 0, fed, held))

    def read(self, state: Array) -> Outputs:
        return {"atr": self.mean.read(state[:, 2:])}

    def held(self, state: Array) -> Array:
        return state[:, [1, 3]]

    def formed(self, held: Array, bars: Bars) -> Outputs:
        return {"atr": self.mean.fold(held[1], _true_range(bars.high, bars.low, held[0]))}

    def _scanned(self, bars: Bars) -> Outputs:
        ranges = _true_range(bars.high[1:], bars.low[1:], bars.close[:-1])
        return {"atr": later(self.mean.scan(ranges), bars.close)}


def _spread(returns: Window) -> Array:
    return deviation(returns, mean(returns), ddof=1)


def _true_range(high: Array, low: Array, last: Array) -> Array:
    gaps = np.maximum(np.abs(high - last), np.abs(low - last))
    return np.maximum(high - low, gaps)
