"""Indicators that depend on a window of recent bars only, and the statistics they share.

A formula takes the window as an array whose first axis runs over its bars, oldest first, and works element by element
in that order. The same formula serves one step (window[lag] has the keys) and a whole history (window[lag] is a slice
of it, shifted by that many bars), so both give the same bits. Nothing is carried from bar to bar but the window itself,
so rounding errors cannot pile up.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from core.indicators.base import BAR_FIELDS, Array, Bars, Indicator, Outputs, columns

Window = Array
Formula = Callable[..., Outputs]

CELLS = 32_768  # of a slice: two or three of them stay in the processor's cache
FEW = 131_072  # numbers in a window up to which one call over all of them is faster than a call per bar


def sum_of(term: Callable[[Window], Array], window: Window) -> Array:
    """The sum of a term that is computed element by element, oldest first."""
    if window.size <= FEW:
        return _down(np.ascontiguousarray(term(window)))
    sum_ = term(window[0])
    for values in window[1:]:
        sum_ += term(values)
    return sum_


def _down(terms: Array) -> Array:
    """The sum along the first axis, in its order: `reduce` keeps it unless that axis is contiguous in memory.

    -0.0 is what addition changes nothing of; 0.0 would turn a -0.0 into 0.0.
    """
    if terms.size == len(terms):
        return np.asarray(np.add.accumulate(terms, axis=0)[-1])
    return np.asarray(np.add.reduce(terms, axis=0, initial=-0.0))


def total(window: Window) -> Array:
    """The sum, oldest first."""
    return sum_of(np.positive, window)


def mean(window: Window) -> Array:
    """The arithmetic mean, as first value + mean distance from it: exact for equal values, whatever they are."""
    first: Array = window[0]
    return _mean(first, distance(window), len(window))


def distance(window: Window) -> Array:
    """The sum of the distances from the first value."""
    first: Array = window[0]
    return sum_of(lambda values: values - first, window)


def mean_with(first: Array, away: Array, newest: Array, size: int) -> Array:
    """`mean` of a window of this size, from its first value, the `distance` of it less its newest one, and that one."""
    return _mean(first, away + (newest - first), size)


def _mean(first: Array, away: Array, size: int) -> Array:
    return np.asarray(first + away / size)


def deviation(window: Window, centre: Array, ddof: int = 0) -> Array:
    """The standard deviation in two passes, given the mean; `ddof` 0 for the population, 1 for a sample."""
    return np.sqrt(sum_of(lambda values: np.square(values - centre), window) / (len(window) - ddof))


def log_returns(closes: Window) -> Window:
    """One less than there are closes."""
    return np.asarray(np.log(closes[1:] / closes[:-1]))


def shift(state: Array) -> Array:
    """A state of a counter and windows one bar on; the newest place of each window is for the caller to fill."""
    shifted = np.empty_like(state)
    np.add(state[:, 0], 1, out=shifted[:, 0])
    shifted[:, 1:-1] = state[:, 2:]
    return shifted


def unroll(ring: Array) -> Window:
    """The window of a state's block (keys, length)."""
    return np.ascontiguousarray(ring.T)


def rolling(formula: Formula, span: int, outputs: Sequence[str], *series: Array) -> Outputs:
    """A formula over every window of `span` bars of histories (bars, keys); NaN before the first full window."""
    bars, keys = series[0].shape
    found = {output: np.full((bars, keys), np.nan) for output in outputs}
    step = max(1, CELLS // max(1, keys))
    for start in range(0, bars - span + 1, step):
        stop = min(start + step, bars - span + 1)
        windows = [_windows(values[start : stop + span - 1], span) for values in series]
        for output, values in formula(*windows).items():
            found[output][start + span - 1 : stop + span - 1] = values
    return found


def _windows(values: Array, span: int) -> Window:
    """Views (span, bars, keys) of a history: the n-th is the history n bars on."""
    return np.moveaxis(sliding_window_view(values, span, axis=0), -1, 0)


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
        shifted = shift(state)
        for ring, newest in zip(self._rings(shifted), self.items(bars), strict=True):
            ring[:, -1] = newest
        return shifted

    def read(self, state: Array) -> Outputs:
        return self.formula(*(unroll(ring) for ring in self._rings(state)))

    def held(self, state: Array) -> Array:
        return shift(state)[:, 1:]

    def formed(self, held: Array, bars: Bars) -> Outputs:
        windows = [held[left : left + self.ready_after] for left in range(0, len(held), self.ready_after)]
        for window, newest in zip(windows, self.items(bars), strict=True):
            window[-1] = newest
        return self.formula(*windows)

    def scan(self, bars: Bars) -> Outputs:
        return over_usable(self, bars, self._rolled)

    def _rolled(self, bars: Bars) -> Outputs:
        return rolling(self.formula, self.ready_after, self.outputs, *self.items(bars))

    def _rings(self, state: Array) -> list[Array]:
        span = self.ready_after
        return [state[:, left : left + span] for left in range(1, state.shape[1], span)]
