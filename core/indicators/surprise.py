"""The newest bar, measured by what was usual before it: its return in two scales, its volume by the time of day."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from core.indicators.base import MAX_PERIOD, Array, Bars, Indicator, Outputs, columns, divide, keep, period
from core.indicators.smoothing import FEW_KEYS, ExponentialMean
from core.indicators.window import Window, Windowed, later, log_returns, mean, over_usable

# Of a normal distribution: the standard deviation over the median and over the mean absolute deviation.
PER_MEDIAN = 1.4826
PER_MEAN = 1.2533
DAY_MINUTES = 1440


@dataclass(frozen=True)
class Retmad(Windowed):
    """The bar's log return less the median of the N before it, over 1.4826 times their median absolute deviation.

    So it counts in standard deviations that a few wild bars do not stretch. Where half of the returns are equal,
    1.2533 times their mean absolute deviation takes its place; 0 where nothing moved, NaN where nothing did before.
    B. Iglewicz, D. Hoaglin, How to Detect and Handle Outliers, 1993.
    """

    name: ClassVar[str] = "retmad"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("retmad",)
    length: int = period(60, low=2)

    @property
    def ready_after(self) -> int:
        return self.length + 2

    def usable(self, bars: Bars) -> NDArray[np.bool_]:
        return np.logical_and(super().usable(bars), bars.close > 0)

    def formula(self, *windows: Window) -> Outputs:
        returns = log_returns(windows[0])
        centre = _median(returns[:-1])
        away = np.abs(returns[:-1] - centre)
        spread = PER_MEDIAN * _median(away)
        spread = np.where(spread > 0, spread, PER_MEAN * mean(away))
        return {"retmad": _over(returns[-1] - centre, spread)}


@dataclass(frozen=True)
class Retewma(Indicator):
    """The bar's log return over the exponential volatility of the returns before it: sqrt of the EMA of their squares.

    N = 32 is close to a decay of 0.94. 0 where nothing moved, NaN where nothing did before.
    State: counter, last close, the newest value, the mean of the squares. RiskMetrics Technical Document, 1996.
    """

    name: ClassVar[str] = "retewma"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("retewma",)
    length: int = period(32, low=2)

    @property
    def width(self) -> int:
        return 3 + ExponentialMean.width

    @property
    def ready_after(self) -> int:
        return self.length + 2

    @property
    def stable_after(self) -> int:
        return self.ready_after + self.mean.fades_after

    @cached_property
    def mean(self) -> ExponentialMean:
        return ExponentialMean(self.length)

    def usable(self, bars: Bars) -> NDArray[np.bool_]:
        return np.logical_and(super().usable(bars), bars.close > 0)

    def advance(self, state: Array, bars: Bars) -> Array:
        count, last, value = state[:, 0], state[:, 1], state[:, 2]
        begun = count > 0
        change = np.log(bars.close / np.where(begun, last, bars.close))
        newest = _over(change, np.sqrt(self.mean.read(state[:, 3:])))
        fed = keep(begun, self.mean.feed(state[:, 3:], change * change), state[:, 3:])
        return columns(count + 1, bars.close, np.where(begun, newest, value), fed)

    def read(self, state: Array) -> Outputs:
        return {"retewma": state[:, 2]}

    def scan(self, bars: Bars) -> Outputs:
        return over_usable(self, bars, self._scanned)

    def _scanned(self, bars: Bars) -> Outputs:
        change = np.log(bars.close[1:] / bars.close[:-1])
        spread = np.sqrt(self.mean.scan(change * change))
        return {"retewma": later(_over(change[1:], spread[:-1]), bars.close)}


@dataclass(frozen=True)
class Todvol(Indicator):
    """Volume by the time of day: the volume over the mean volume of earlier bars in the same part of the session.

    The day has parts of `minutes`, counted from the session's open (under 24/7 from midnight UTC). Each has a mean of
    its own, plain over the first N bars and exponential with 1/N from there; a part that is new takes the mean of all
    bars. `known` says how many bars, up to N, the part's mean was made of. NaN where nothing was traded in these.
    State: counter, mean of all, the newest ratio and known, then the count and the mean of each part.
    """

    name: ClassVar[str] = "todvol"
    inputs: ClassVar[tuple[str, ...]] = ("volume", "minute")
    outputs: ClassVar[tuple[str, ...]] = ("todvol", "known")
    minutes: int = period(15, low=5)
    length: int = period(75)

    @property
    def parts(self) -> int:
        """Parts of a day; the last one may be shorter."""
        return max(1, -(-DAY_MINUTES // self.minutes))

    @property
    def width(self) -> int:
        return 4 + 2 * self.parts

    @property
    def ready_after(self) -> int:
        return 2

    @property
    def stable_after(self) -> int:
        """A mean of a part of the day goes on where the day before left it, so no number of bars is enough."""
        return MAX_PERIOD

    def advance(self, state: Array, bars: Bars) -> Array:
        advanced, rows = state.copy(), np.arange(len(state))
        counts, means = advanced[:, 4 : 4 + self.parts], advanced[:, 4 + self.parts :]
        part = self._part(bars.minute)
        count, held = counts[rows, part], means[rows, part]
        advanced[:, 2] = divide(bars.volume, np.where(count > 0, held, state[:, 1]), otherwise=np.nan)
        advanced[:, 3] = count
        counts[rows, part] = grown = np.minimum(count + 1, self.length)
        means[rows, part] = held + (bars.volume - held) / grown
        advanced[:, 1] = state[:, 1] + (bars.volume - state[:, 1]) / np.minimum(state[:, 0] + 1, self.length)
        advanced[:, 0] = state[:, 0] + 1
        return advanced

    def read(self, state: Array) -> Outputs:
        return {"todvol": state[:, 2], "known": state[:, 3]}

    def scan(self, bars: Bars) -> Outputs:
        return super().scan(bars) if bars.close.shape[1] > FEW_KEYS else over_usable(self, bars, self._by_key)

    def _by_key(self, bars: Bars) -> Outputs:
        found = {output: np.empty(bars.volume.shape) for output in self.outputs}
        parts = self._part(bars.minute)
        for key in range(bars.volume.shape[1]):
            ratios, known = self._of_key(bars.volume[:, key].tolist(), parts[:, key].tolist())
            found["todvol"][:, key], found["known"][:, key] = ratios, known
        return found

    def _of_key(self, volumes: list[float], parts: list[int]) -> tuple[list[float], list[float]]:
        counts, means, overall = [0.0] * self.parts, [0.0] * self.parts, 0.0
        ratios, known = [], []
        for number, (volume, part) in enumerate(zip(volumes, parts, strict=True), 1):
            count, held = counts[part], means[part]
            usual = held if count > 0 else overall
            ratios.append(volume / usual if usual != 0 else np.nan)
            known.append(count)
            counts[part] = min(count + 1, float(self.length))
            means[part] = held + (volume - held) / counts[part]
            overall += (volume - overall) / min(number, self.length)
        return ratios, known

    def _part(self, minute: Array) -> NDArray[np.int64]:
        inside = np.where(np.isfinite(minute), minute, 0.0) % DAY_MINUTES
        return np.asarray((inside // self.minutes).astype(np.int64))


def _median(values: Window) -> Array:
    """The median along the first axis; NaN comes last."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    ordered = np.partition(values, (low, high), axis=0)
    return np.asarray((ordered[low] + ordered[high]) / 2)


def _over(change: Array, spread: Array) -> Array:
    """The quotient; 0 of no change, and NaN of a change where there was none before."""
    return np.where(change == 0, 0.0, divide(change, spread, otherwise=np.nan))
