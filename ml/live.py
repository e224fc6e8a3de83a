"""The features of bars as they close: the driver of serving, over the state of the indicators."""

import numpy as np

from core.indicators import Bars, IndicatorSet
from core.indicators.base import Array
from ml.features import INDICATORS, NAMES, Ints, formulas

BY_SESSION = tuple(each for each in INDICATORS if "session" in each.inputs)
"""What remembers a session's bars from its open on, however many they are."""


class LiveFeatures:
    """Takes in bars key by key; its rows equal those of `ml.features.features` over the same bars, bit for bit."""

    def __init__(self) -> None:
        self._set = IndicatorSet(INDICATORS)
        self._by_session = IndicatorSet(BY_SESSION)
        self._rows: dict[str, int] = {}
        self._state: Array = self._set.initial(0)

    def last_us(self, key: str) -> int:
        """The start of the newest bar of a key, 0 before the first."""
        row = self._rows.get(key)
        return 0 if row is None else int(self._state[row, 0])

    def forget(self, key: str) -> None:
        """Begin the key anew: a bar that it has taken in was amended."""
        if key in self._rows:
            self._state[self._rows[key]] = self._set.initial(1)[0]

    def begin(self, keys: list[str], bars: Bars, start_us: Ints) -> None:
        """Take in bars of keys that have none yet, as far as `BY_SESSION` goes: to the other indicators they are too
        old to matter. It takes a tenth of the time of `take`."""
        names, rows = np.unique(keys, return_inverse=True)
        folded = self._by_session.fold(self._by_session.initial(len(names)), rows, start_us, bars)
        for name, held in zip(names.tolist(), folded.state, strict=True):
            row = self._row(name)
            self._state[row] = self._set.merged(self._state[row], self._by_session, held)

    def take(self, keys: list[str], bars: Bars, start_us: Ints) -> Array:
        """The features (bars, len(NAMES)) after bars of any keys, in any order of rows; older bars than a key has
        seen begin its history anew, as everywhere (`IndicatorSet.step`)."""
        rows = np.array([self._row(key) for key in keys], np.int64)
        folded = self._set.fold(self._state, rows, start_us, bars)
        self._state = folded.state
        values = {name: folded.values[:, place] for place, name in enumerate(self._set.columns)}
        found = formulas(bars, values, start_us)
        return np.stack([found[name] for name in NAMES], axis=1)

    def _row(self, key: str) -> int:
        if key not in self._rows:
            self._rows[key] = len(self._rows)
            self._state = np.concatenate([self._state, self._set.initial(1)])
        return self._rows[key]
