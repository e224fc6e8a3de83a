"""Momentum, rate of change, RSI and the stochastic oscillator."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from core.indicators.base import Array, Bars, Indicator, Outputs, blocks, columns, divide, keep, period
from core.indicators.smoothing import Wilder
from core.indicators.window import Window, Windowed, later, mean, over_usable, rolling, shift, unroll

_UP_DOWN = np.array([[1.0], [-1.0]])


@dataclass(frozen=True)
class Mom(Windowed):
    """Momentum: close - close N bars ago."""

    name: ClassVar[str] = "mom"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("mom",)
    length: int = period(10)

    @property
    def ready_after(self) -> int:
        return self.length + 1

    def formula(self, *windows: Window) -> Outputs:
        return {"mom": windows[0][-1] - windows[0][0]}


@dataclass(frozen=True)
class Roc(Windowed):
    """Rate of change in percent: (close / close N bars ago - 1) * 100; 0 where the old close is 0 (TA-Lib)."""

    name: ClassVar[str] = "roc"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("roc",)
    length: int = period(10)

    @property
    def ready_after(self) -> int:
        return self.length + 1

    def formula(self, *windows: Window) -> Outputs:
        return {"roc": (divide(windows[0][-1], windows[0][0], otherwise=1) - 1) * 100}


@dataclass(frozen=True)
class Rsi(Wilder):
    """Relative strength index: 100 * gain / (gain + loss), Wilder's means of the rises and of the falls of the close.

    Seeded by the plain means of the first N changes. 0 where nothing ever moved, as TA-Lib; TA-Lib takes
    gain + loss below 1e-14 for nothing, here only 0 is.
    State: counter, last close, mean rise, mean fall. J. W. Wilder, New Concepts in Technical Trading Systems, 1978.
    """

    name: ClassVar[str] = "rsi"
    inputs: ClassVar[tuple[str, ...]] = ("close",)
    outputs: ClassVar[tuple[str, ...]] = ("rsi",)
    means: ClassVar[int] = 2

    def advance(self, state: Array, bars: Bars) -> Array:
        moves = _moves(bars.close - state[:, 1]).T
        fed = self.mean.feed(self._means(state), moves).reshape(len(state), self.width - 2)
        return columns(state[:, 0] + 1, bars.close, keep(state[:, 0] > 0, fed, state[:, 2:]))

    def read(self, state: Array) -> Outputs:
        rise, fall = self.mean.read(self._means(state)).T
        return {"rsi": _index(rise, fall)}

    def held(self, state: Array) -> Array:
        return state[:, [1, 3, 5]]

    def formed(self, held: Array, bars: Bars) -> Outputs:
        rise, fall = self.mean.fold(held[1:], _moves(bars.close - held[0]))
        return {"rsi": _index(rise, fall)}

    def _means(self, state: Array) -> Array:
        """Those of rises and falls, (keys, 2, 2)."""
        return state[:, 2:].reshape(len(state), self.means, self.mean.width)

    def _scanned(self, bars: Bars) -> Outputs:
        part, change = self.mean, np.diff(bars.close, axis=0)
        rise, fall = part.scan(np.maximum(change, 0)), part.scan(np.maximum(-change, 0))
        return {"rsi": later(_index(rise, fall), bars.close)}


def _moves(change: Array) -> Array:
    """The rise and the fall, (2, keys)."""
    return np.asarray(np.maximum(_UP_DOWN * change, 0))


def _index(rise: Array, fall: Array) -> Array:
    return 100 * divide(rise, rise + fall, otherwise=0)


@dataclass(frozen=True)
class Stoch(Indicator):
    """Stochastic oscillator (G. Lane): raw = 100 * (close - L) / (H - L) over the lowest low and highest high of
    `raw` bars; k = mean of `smooth` raws; d = mean of `signal` ks. TA-Lib's STOCH with simple means.

    raw is 0 where H = L, as TA-Lib. No output before d.
    State: counter, then the windows of highs, lows, raws and ks.
    """

    name: ClassVar[str] = "stoch"
    inputs: ClassVar[tuple[str, ...]] = ("high", "low", "close")
    outputs: ClassVar[tuple[str, ...]] = ("k", "d")
    raw: int = period(14)
    smooth: int = period(3)
    signal: int = period(3)

    @property
    def width(self) -> int:
        return 1 + 2 * self.raw + self.smooth + self.signal

    @property
    def ready_after(self) -> int:
        return self.raw + self.smooth + self.signal - 2

    def initial(self, keys: int) -> Array:
        return columns(np.zeros(keys), np.full((keys, self.width - 1), np.nan))

    def advance(self, state: Array, bars: Bars) -> Array:
        shifted = shift(state)
        highs, lows, raws, ks = self._rings(shifted)
        highs[:, -1], lows[:, -1] = bars.high, bars.low
        raws[:, -1] = _position(*_extremes(unroll(highs), unroll(lows)), bars.close)
        ks[:, -1] = mean(unroll(raws))
        return shifted

    def read(self, state: Array) -> Outputs:
        *_, ks = self._rings(state)
        return {"k": ks[:, -1], "d": mean(unroll(ks))}

    def held(self, state: Array) -> Array:
        """The extremes, raws and ks of the windows that the next bar completes."""
        highs, lows, raws, ks = self._rings(shift(state))
        highs[:, -1], lows[:, -1] = -np.inf, np.inf
        return columns(*_extremes(unroll(highs), unroll(lows)), raws, ks)

    def formed(self, held: Array, bars: Bars) -> Outputs:
        raws, ks = held[2 : 2 + self.smooth], held[2 + self.smooth :]
        raws[-1] = _position(np.maximum(held[0], bars.high), np.minimum(held[1], bars.low), bars.close)
        ks[-1] = mean(raws)
        return {"k": ks[-1], "d": mean(ks)}

    def scan(self, bars: Bars) -> Outputs:
        return over_usable(self, bars, self._rolled)

    def _rolled(self, bars: Bars) -> Outputs:
        raw = rolling(_raw, self.raw, ("raw",), bars.high, bars.low, bars.close)["raw"]
        k = rolling(lambda window: {"k": mean(window)}, self.smooth, ("k",), raw)
        return k | rolling(lambda window: {"d": mean(window)}, self.signal, ("d",), k["k"])

    def _rings(self, state: Array) -> list[Array]:
        return blocks(state, [self.raw, self.raw, self.smooth, self.signal])


def _raw(highs: Window, lows: Window, closes: Window) -> Outputs:
    return {"raw": _position(*_extremes(highs, lows), closes[-1])}


def _extremes(highs: Window, lows: Window) -> tuple[Array, Array]:
    return np.maximum.reduce(highs), np.minimum.reduce(lows)


def _position(highest: Array, lowest: Array, close: Array) -> Array:
    """Where the close stands between the extremes, in percent."""
    return divide(close - lowest, (highest - lowest) / 100, otherwise=0)
