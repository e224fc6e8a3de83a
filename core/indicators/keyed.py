"""The states of a set of indicators by name, growing as names come."""

from collections.abc import Hashable, Sequence

import numpy as np

from core.indicators.base import Array, Bars
from core.indicators.sets import Folded, IndicatorSet, Ints


class KeyedStates:
    """One row of state per name. Keeps no bars and knows no clock."""

    def __init__(self, indicators: IndicatorSet, names: Sequence[Hashable] = (), rows: Array | None = None) -> None:
        self.indicators = indicators
        self._slots = {name: slot for slot, name in enumerate(names)}
        self._rows = indicators.initial(len(names)) if rows is None else rows

    @property
    def names(self) -> list[Hashable]:
        """In the order of `rows`."""
        return list(self._slots)

    @property
    def rows(self) -> Array:
        """The states, of shape (names, width)."""
        return self._rows[: len(self._slots)]

    def slots(self, names: Sequence[Hashable]) -> Ints:
        """The row of each name; new names begin empty."""
        found = np.array([self._slots.setdefault(name, len(self._slots)) for name in names], np.int64)
        missing = len(self._slots) - len(self._rows)
        if missing > 0:
            more = max(missing, len(self._rows))
            self._rows = np.concatenate([self._rows, self.indicators.initial(more)])
        return found

    def of(self, names: Sequence[Hashable]) -> Array:
        """A copy of the states of these names."""
        slots = self.slots(names)  # first: may replace the array
        return self._rows[slots]

    def replace(self, names: Sequence[Hashable], rows: Array) -> None:
        """Replace the states of these names."""
        slots = self.slots(names)
        self._rows[slots] = rows

    def put(self, name: Hashable, row: Array) -> None:
        """Replace the state of a name."""
        self.replace([name], row[None, :])

    def fold(self, names: Sequence[Hashable], start: Ints, bars: Bars) -> Folded:
        """Take in bars, one per position of the arguments, and keep the states after them."""
        slots = self.slots(names)
        touched, key = np.unique(slots, return_inverse=True)
        folded = self.indicators.fold(self._rows[touched], key, start, bars)
        self._rows[touched] = folded.state
        return folded
