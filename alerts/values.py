"""What the comparisons of rules look at: fields of bars, and indicators kept up with every bar of a symbol.

A symbol that is new here, or whose past was amended, is warmed up from the bars that are stored before its next one:
so the values do not depend on when the process was started.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from alerts.expressions import FIELDS, Comparison
from core.indicators import Bars, Indicator, IndicatorSet, bars_of
from core.indicators.keyed import KeyedStates
from core.sessions import ALWAYS_OPEN

MOST_WARM_UP = 5_000
AT_ONCE = 200_000
"""Bars that are read in one go."""
Values = Mapping[str, float]


class ClosedBar(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed of a final bar; times in epoch microseconds, NaN for a price that it does not have."""

    symbol: str
    interval: str
    start: int
    end: int
    rev: int = 1
    open: float = math.nan
    high: float = math.nan
    low: float = math.nan
    close: float = math.nan
    volume: float = 0.0
    notional: float = 0.0


def closed(row: Mapping[str, Any]) -> ClosedBar:
    """A bar of a row of the stores or the topic, None for what it does not have."""
    return ClosedBar(**{name: value for name, value in row.items() if value is not None})


History = Callable[[str, Sequence[tuple[str, int]], int], list[ClosedBar]]
"""(interval, [(symbol, before us)], count) -> the last `count` bars of each before its moment, by symbol and start."""


def warm_up(indicators: Iterable[Indicator]) -> int:
    """How many bars make the values of these independent of those before, to 1e-9."""
    return min(MOST_WARM_UP, max((each.stable_after for each in indicators), default=0))


class Series:
    """The bars of one interval, of all symbols, with the indicators that some comparisons need."""

    def __init__(self, interval: str, comparisons: Iterable[Comparison], calendar: str = ALWAYS_OPEN) -> None:
        self.interval = interval
        self._calendar = calendar
        self._set = IndicatorSet([each for found in comparisons for each in found.indicators])
        self._states = KeyedStates(self._set)
        self._last: dict[str, int] = {}
        self._warm: set[str] = set()

    @property
    def specs(self) -> str:
        return self._set.specs

    def take(self, bars: Sequence[ClosedBar], history: History) -> Iterator[tuple[ClosedBar, bool, Values]]:
        """Each bar that is to be judged, in order, whether it is the newest one anew, and its values.

        A bar older than the newest of its symbol was amended: nothing is said of it, and what was computed from it is
        computed again. Nor of an amended one that is the first of its symbol, as after a restart: how old it is, nobody
        knows.
        """
        for run in self._runs(bars):
            yield from zip(run, self._again(run), self._values(run, history), strict=True)
            self._last |= {bar.symbol: bar.start for bar in run}

    def _runs(self, bars: Sequence[ClosedBar]) -> Iterator[list[ClosedBar]]:
        """Stretches in which every bar is newer than the one before of its symbol."""
        run: list[ClosedBar] = []
        last: dict[str, int] = {}
        for bar in bars:
            newest = last.get(bar.symbol, self._last.get(bar.symbol, -1))
            if newest < 0 and bar.rev > 1:
                continue  # the symbol's next bar is warmed up from the store, which has this one
            if bar.start <= newest:
                yield run
                run, last = [], {}
                self._warm.discard(bar.symbol)
                if bar.start < newest:
                    continue
            run.append(bar)
            last[bar.symbol] = bar.start
        yield run

    def _again(self, run: Sequence[ClosedBar]) -> list[bool]:
        return [bar.start == self._last.get(bar.symbol) for bar in run]

    def _values(self, run: Sequence[ClosedBar], history: History) -> list[Values]:
        found: list[dict[str, float]] = [{name: getattr(bar, name) for name in FIELDS} for bar in run]
        if not self._set.indicators or not run:
            return list(found)
        self._warm_up(run, history)
        names = [bar.symbol for bar in run]
        folded = self._states.fold(names, _starts(run), self._bars(run))
        for values, row in zip(found, folded.values.tolist(), strict=True):
            values.update(zip(self._set.columns, row, strict=True))
        return list(found)

    def _warm_up(self, run: Sequence[ClosedBar], history: History) -> None:
        cold: dict[str, int] = {}
        for bar in run:
            if bar.symbol not in self._warm:
                cold.setdefault(bar.symbol, bar.start)
        if not cold:
            return
        self._states.replace(list(cold), self._set.initial(len(cold)))
        asked, count = list(cold.items()), warm_up(self._set.indicators)
        at_once = max(1, AT_ONCE // max(1, count))
        for place in range(0, len(asked), at_once):
            past = history(self.interval, asked[place : place + at_once], count)
            if past:
                self._states.fold([bar.symbol for bar in past], _starts(past), self._bars(past))
        self._warm.update(cold)

    def _bars(self, bars: Sequence[ClosedBar]) -> Bars:
        amounts = {name: [getattr(bar, name) for bar in bars] for name in (*FIELDS, "notional")}
        return bars_of(**amounts, start=_starts(bars), calendar=self._calendar)


def _starts(bars: Sequence[ClosedBar]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array([bar.start for bar in bars], np.int64)
