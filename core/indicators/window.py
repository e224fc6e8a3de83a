"""Indicators that depend on a window of recent bars only, and the statistics they share.

A formula takes the window as a sequence of arrays, oldest first, and works element by element in that order. The same
formula serves one step (arrays of keys) and a whole history (slices of it, shifted bar by bar), so both give the same
bits. Nothing is carried from bar to bar but the window itself, so rounding errors cannot pile up.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.indicators.base import BAR_FIELDS, Array, Bars, Indicator, Outputs, blocks, columns

Window = Sequence[Array] | Array
Formula = Callable[..., Outputs]

CELLS = 32_768  # of a slice: two or three of them stay in the processor's cache


def total(window: Window) -> Array:
    """The sum, oldest first."""
    sum_ = window[0].copy()
    for values in window[1:]:
        sum_ += values
    return sum_


def mean(window: Window) -> Array:
    """The arithmetic mean, as first value + mean distance from it: exact for equal values, whatever they are."""
    first = window[0]
    distance = np.zeros_like(first)
    for values in window[1:]:
        distance += values - first
    return first + distance / len(window)


def deviation(window: Window, centre: Array, ddof: int = 0) -> Array:
    """The standard deviation in two passes, given the mean; `ddof` 0 for the population, 1 for a sample."""
    squares = np.zeros_like(centre)
    for values in window:
        distance = values - centre
        squares += distance * distance
    return np.sqrt(squares / (len(window) - ddof))


def push(ring: Array, newest: Array) -> Array:
    """The window (keys, length) one bar on: the oldest value gone, the newest last."""
    return np.concatenate([ring[:, 1:], newest[:, None]], axis=1)


def unroll(ring: Array) -> Window:
    """A window (keys, length) as a sequence of arrays (keys,)."""
    return list(np.ascontiguousarray(ring.T))


def rolling(formula: Formula, span: int, outputs: Sequence[str], *series: Array) -> Outputs:
    """A formula over every window of `span` bars of histories (bars, keys); NaN before the first full window."""
    bars, keys = series[0].shape
    found = {output: np.full((bars, keys), np.nan) for output in outputs}
    step = max(1, CELLS // max(1, keys))
    for start in range(0, bars - span + 1, step):
        stop = min(start + step, bars - span + 1)
        windows = [[values[start + lag : stop + lag] for lag in range(span)] for values in series]
        for output, values in formula(*windows).items():
            found[output][start + span - 1 : stop + span - 1] = values
    return found


def later(values: Array, history: Array) -> Array:
    """Values that begin some bars into a history, at the length of the history: NaN before them."""
    found = np.full_like(history, np.nan)
    found[len(history) - len(values) :] = values
    return found


def over_usable(indicator: Indicator, bars: Bars, scan: Callable[[Bars], Outputs]) -> Outputs:
    """Apply a `scan` for histories without gaps to one with gaps; over a gap the last value stands."""
    usable = indicator.usable(bars)
    if usable.all():
        return _when_ready(indicator, scan(bars))
    order = np.argsort(~usable, axis=0, kind="stable")
    blank = bars.only(usable)
    dense = Bars(*(np.take_along_axis(getattr(blank, column), order, axis=0) for column in BAR_FIELDS))
    taken = np.cumsum(usable, axis=0, dtype=np.int64)
    values = _when_ready(indicator, scan(dense))
    return {output: _placed(found, taken) for output, found in values.items()}


def _when_ready(indicator: Indicator, values: Outputs) -> Outputs:
    for found in values.values():
        found[: indicator.ready_after - 1] = np.nan
    return values


def _placed(values: Array, taken: NDArray[np.int64]) -> Array:
    return np.where(taken > 0, np.take_along_axis(values, np.maximum(taken - 1, 0), axis=0), np.nan)


@dataclass(frozen=True)
class Windowed(Indicator):
    """An indicator whose value is a formula over the last `ready_after` bars.

    State: the counter, then one window per series of `items`, oldest value first, NaN where not filled yet.
    """

    @property
    def width(self) -> int:
        return 1 + self.ready_after * len(self.inputs)

    def items(self, bars: Bars) -> tuple[Array, ...]:
        """The series to remember: as many as there are inputs, and the inputs themselves unless told otherwise."""
        return tuple(getattr(bars, column) for column in self.inputs)

    @abstractmethod
    def formula(self, *windows: Window) -> Outputs:
        """The outputs, from one window per series of `items`."""

    def initial(self, keys: int) -> Array:
        return columns(np.zeros(keys), np.full((keys, self.width - 1), np.nan))

    def advance(self, state: Array, bars: Bars) -> Array:
        rings = [push(ring, item) for ring, item in zip(self._rings(state), self.items(bars), strict=True)]
        return columns(state[:, 0] + 1, *rings)

    def read(self, state: Array) -> Outputs:
        return self.formula(*(unroll(ring) for ring in self._rings(state)))

    def scan(self, bars: Bars) -> Outputs:
        return over_usable(self, bars, self._rolled)

    def _rolled(self, bars: Bars) -> Outputs:
        return rolling(self.formula, self.ready_after, self.outputs, *self.items(bars))

    def _rings(self, state: Array) -> list[Array]:
        return blocks(state, [self.ready_after] * len(self.inputs))
