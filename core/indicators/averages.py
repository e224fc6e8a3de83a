"""Moving averages of the close, and MACD, which is made of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from core.errors import InputError
from core.indicators.base import Array, Bars, Indicator, Outputs, blocks, columns, keep, period
from core.indicators.smoothing import ExponentialMean
from core.indicators.window import Window, Windowed, distance, later, mean, mean_with, over_usable, unroll


@dataclass(frozen=True)
class Sma(Windowed):
    """Simple moving average: the mean of the last N closes."""

    name: ClassVar[str] = "sma"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("sma",)
    length: int = period(20)

    @property
    def ready_after(self) -> int:
        return self.length

    def formula(self, *windows: Window) -> Outputs:
        return {"sma": mean(windows[0])}

    def held(self, state: Array) -> Array:
        if self.length == 1:
            return super().held(state)
        older = unroll(state[:, 2:])
        return columns(older[0], distance(older))

    def formed(self, held: Array, bars: Bars) -> Outputs:
        if self.length == 1:
            return super().formed(held, bars)
        return {"sma": mean_with(held[0], held[1], bars.close, self.length)}


@dataclass(frozen=True)
class Ema(Indicator):
    """Exponential moving average: ema += (close - ema) * 2 / (N + 1), from the mean of the first N closes (TA-Lib)."""

    name: ClassVar[str] = "ema"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("ema",)
    length: int = period(20)

    @property
    def width(self) -> int:
        return 1 + ExponentialMean.width

    @property
    def ready_after(self) -> int:
        return self.length

    @property
    def stable_after(self) -> int:
        """N + m with ((N - 1) / (N + 1))^m < 1e-9."""
        return self.length + self.mean.fades_after

    @cached_property
    def mean(self) -> ExponentialMean:
        return ExponentialMean(self.length)

    def advance(self, state: Array, bars: Bars) -> Array:
        return columns(state[:, 0] + 1, self.mean.feed(state[:, 1:], bars.close))

    def read(self, state: Array) -> Outputs:
        return {"ema": self.mean.read(state[:, 1:])}

    def held(self, state: Array) -> Array:
        return state[:, 2:]

    def formed(self, held: Array, bars: Bars) -> Outputs:
        return {"ema": self.mean.fold(held[0], bars.close)}

    def scan(self, bars: Bars) -> Outputs:
        return over_usable(self, bars, lambda dense: {"ema": self.mean.scan(dense.close)})


@dataclass(frozen=True)
class Macd(Indicator):
    """MACD: EMA(fast) - EMA(slow); signal = EMA(signal) of that; hist = macd - signal (G. Appel).

    Seeds as TA-Lib's: both averages give their first value at bar `slow`, the fast one from the mean of its last
    `fast` closes up to there; the signal from the mean of the first `signal` differences. No output before the signal.
    """

    name: ClassVar[str] = "macd"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("macd", "signal", "hist")
    fast: int = period(12)
    slow: int = period(26, low=2)
    signal: int = period(9)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fast >= self.slow:
            raise InputError(f"macd: fast must be below slow, not {self.fast} and {self.slow}")

    @property
    def width(self) -> int:
        return 1 + 3 * ExponentialMean.width

    @property
    def ready_after(self) -> int:
        return self.slow + self.signal - 1

    @property
    def stable_after(self) -> int:
        """`ready_after` + the m of the slow average + the m of the signal, which smooths what is left of the first."""
        _, slow, signal = self.means
        return self.ready_after + slow.fades_after + signal.fades_after

    @cached_property
    def means(self) -> tuple[ExponentialMean, ExponentialMean, ExponentialMean]:
        """Of the fast closes, of the slow ones, and of the difference of the two."""
        return ExponentialMean(self.fast), ExponentialMean(self.slow), ExponentialMean(self.signal)

    def advance(self, state: Array, bars: Bars) -> Array:
        count = state[:, 0] + 1
        of_fast, of_slow, of_signal = self.means
        fast, slow, signal = self._parts(state)
        fast = keep(count > self.slow - self.fast, of_fast.feed(fast, bars.close), fast)
        slow = of_slow.feed(slow, bars.close)
        signal = keep(count >= self.slow, of_signal.feed(signal, self._line(fast, slow)), signal)
        return columns(count, fast, slow, signal)

    def read(self, state: Array) -> Outputs:
        fast, slow, signal = self._parts(state)
        return _with_hist(self._line(fast, slow), self.means[2].read(signal))

    def held(self, state: Array) -> Array:
        return state[:, 2::2]

    def formed(self, held: Array, bars: Bars) -> Outputs:
        fast, slow = (mean.fold(of, bars.close) for mean, of in zip(self.means, held[:2], strict=False))
        line = fast - slow
        return _with_hist(line, self.means[2].fold(held[2], line))

    def scan(self, bars: Bars) -> Outputs:
        return over_usable(self, bars, self._scanned)

    def _scanned(self, bars: Bars) -> Outputs:
        of_fast, of_slow, of_signal = self.means
        fast = of_fast.scan(bars.close[self.slow - self.fast :])[self.fast - 1 :]
        line = fast - of_slow.scan(bars.close)[self.slow - 1 :]
        smoothed = of_signal.scan(line)
        return {output: later(found, bars.close) for output, found in _with_hist(line, smoothed).items()}

    def _line(self, fast: Array, slow: Array) -> Array:
        of_fast, of_slow, _ = self.means
        return np.subtract(of_fast.read(fast), of_slow.read(slow))

    def _parts(self, state: Array) -> list[Array]:
        return blocks(state, [ExponentialMean.width] * 3)


def _with_hist(line: Array, signal: Array) -> Outputs:
    return {"macd": line, "signal": signal, "hist": line - signal}
