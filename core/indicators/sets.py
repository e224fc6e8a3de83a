"""The configured indicators of an interval, stepped together over one state: what final query, relay and backfill use.

A state is a float64 array (keys, width), one row per symbol: the start of the last bar taken in, in epoch microseconds
(exact as a double, and 0 before the first), then the state of each indicator. The values are those of the indicators
stepped one by one, bit for bit; what a set saves is work that is the same for several of them.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.errors import InputError
from core.indicators.base import Array, Bars, Indicator, Outputs, keep
from core.indicators.spec import columns_of, parse_all
from core.intervals import MINUTE_US
from core.sessions import ALWAYS_OPEN, session_places

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

READY, UNREADY, STEPPED = 0.0, 1.0, 2.0  # of an indicator and a bar to come: its value is formed, NaN, stepped
AT_ONCE = 512  # keys of a fold: half the time of 5,000 at once


@dataclass(frozen=True, slots=True)
class Folded:
    """What `IndicatorSet.fold` gives: the new state, and by bar, in the order that the bars came in, the rest."""

    state: Array
    values: Array
    """(bars, columns): the values after that bar."""
    ready: Flags
    stable: Flags
    last: Flags
    """Whether no newer bar of its key came in: the new state is the one after it."""


class IndicatorSet:
    """Indicators that take in the same bars. Its functions are pure, as those of an indicator are."""

    def __init__(self, indicators: Sequence[Indicator]) -> None:
        self.indicators: tuple[Indicator, ...] = tuple(dict.fromkeys(indicators))
        self.specs: str = " ".join(each.spec for each in self.indicators)
        self.columns: tuple[str, ...] = tuple(name for each in self.indicators for name in columns_of(each))
        edges = list(accumulate((each.width for each in self.indicators), initial=1))
        self.width: int = edges[-1]
        self._slices = [slice(left, right) for left, right in pairwise(edges)]
        widths = (each.held(each.initial(1)).shape[1] for each in self.indicators)
        self._held = [slice(*each) for each in pairwise(accumulate(widths, initial=len(self.indicators)))]
        self._counters = np.array(edges[:-1], np.int64)
        self._ready_after = np.array([each.ready_after for each in self.indicators], np.float64)
        self._stable_after = np.array([each.stable_after for each in self.indicators], np.float64)
        outputs = np.array([len(each.outputs) for each in self.indicators], np.int64)
        self._owners = np.repeat(np.arange(len(outputs)), outputs)
        self._alike = _alike(self.indicators)
        self._inputs = tuple(dict.fromkeys(name for each in self.indicators for name in each.inputs))

    def initial(self, keys: int) -> Array:
        """The state of keys that have seen no bar."""
        return np.concatenate([np.zeros((keys, 1)), *(each.initial(keys) for each in self.indicators)], axis=1)

    def step(self, state: Array, bars: Bars, start: Ints) -> Array:
        """The state after one more bar of every key, which starts at these epoch microseconds.

        A bar that is not newer than the last one of its key begins a new history: a replay of older data must not go
        on from what came after it.
        """
        again = start <= state[:, 0]
        if again.any():
            state = keep(again, self.initial(1), state)
        parts: list[Array] = [state] * len(self.indicators)
        for places, usable in self._usable(bars):
            given = bars if usable is None else bars.only(usable)
            for place in places:
                held = state[:, self._slices[place]]
                advanced = self.indicators[place].advance(held, given)
                parts[place] = advanced if usable is None else keep(usable, advanced, held)
        return np.concatenate([start.astype(np.float64)[:, None], *parts], axis=1)

    def values(self, state: Array) -> Array:
        """The outputs (keys, columns), NaN until the indicator of the column is ready."""
        places = zip(self.indicators, self._slices, strict=True)
        ready = self._counted(state) >= self._ready_after
        matrix = self._matrix([each.read(state[:, place]) for each, place in places], len(state))
        return np.where(ready[:, self._owners], matrix, np.nan)

    def held(self, state: Array, start: Ints) -> Array:
        """What of a state `formed` takes for a bar that starts then, (keys, any width): once for all moves of the bar.

        The columns: how each indicator comes to its value, then what they hold.
        """
        count = self._counted(state) + 1
        again = start <= state[:, 0]
        first = (count == self._ready_after) & (self._ready_after > 1)
        kinds = np.where(first | again[:, None], STEPPED, np.where(count < self._ready_after, UNREADY, READY))
        parts = [each.held(state[:, place]) for each, place in zip(self.indicators, self._slices, strict=True)]
        return np.concatenate([kinds, *parts], axis=1)

    def formed(self, held: Array, bars: Bars) -> tuple[Array, Flags]:
        """`values(step(state, bars, start))` from `held(state, start)`, at a third of the time.

        And the indicators, (keys, indicators), of which it is not, for `complete`: they make their first value, or the
        bar lacks an input of any, or is not newer than the last one.
        """
        rows = np.array(held.T, order="C")
        kinds = rows[: len(self.indicators)]
        stepped = kinds.T == STEPPED
        gaps = [usable for _, usable in self._usable(bars) if usable is not None]
        if gaps:
            whole = np.logical_and.reduce(gaps)
            stepped[~whole] = True
            bars = bars.only(whole)
        places = zip(self.indicators, self._held, strict=True)
        matrix = self._matrix([each.formed(rows[place], bars) for each, place in places], len(held))
        if kinds.any():
            matrix = np.where(kinds[self._owners].T == UNREADY, np.nan, matrix)
        return matrix, stepped

    def complete(self, formed: Array, stepped: Flags, state: Array, bars: Bars, start: Ints) -> None:
        """Put into what `formed` gave the values that it left out, those of the indicators which must be `stepped`."""
        again = start <= state[:, 0]
        for place in np.flatnonzero(stepped.any(axis=0)):
            each, rows = self.indicators[place], np.flatnonzero(stepped[:, place])
            held = state[rows, self._slices[place]]
            if again[rows].any():
                held = keep(again[rows], each.initial(1), held)
            made = each.value(each.step(held, bars.at(rows)))
            formed[np.ix_(rows, self._owners == place)] = np.stack(list(made.values()), axis=1)

    def ready(self, state: Array) -> Flags:
        """Of which keys all indicators are ready."""
        return np.asarray((self._counted(state) >= self._ready_after).all(axis=1))

    def stable(self, state: Array) -> Flags:
        """Of which keys all indicators are stable."""
        return np.asarray((self._counted(state) >= self._stable_after).all(axis=1))

    def started(self, state: Array) -> Ints:
        """The start of the last bar of each key, 0 before the first."""
        return state[:, 0].astype(np.int64)

    def fold(self, state: Array, key: Ints, start: Ints, bars: Bars) -> Folded:
        """Take in any number of bars in any order of rows: arrays (n,), bar i being one of the key of row key[i].

        A key's bars are taken by their start. All keys are stepped at once, so many keys with few bars cost little,
        one key with many bars as much as its steps.
        """
        state, size = state.copy(), len(key)
        values = np.empty((size, len(self.columns)))
        ready, stable, last = np.zeros(size, bool), np.zeros(size, bool), np.zeros(size, bool)
        order = np.lexsort((start, key))
        for rows in _rounds(order, key):
            held = self.step(state[key[rows]], bars.at(rows), start[rows])
            state[key[rows]] = held
            values[rows], ready[rows], stable[rows] = self.values(held), self.ready(held), self.stable(held)
        last[order] = np.append(np.diff(key[order]) != 0, np.ones(min(size, 1), bool))
        return Folded(state, values, ready, stable, last)

    def to_bytes(self, row: Array) -> bytes:
        """One row of a state as little-endian doubles."""
        if row.shape != (self.width,):
            raise ValueError(f"a state of {self.specs} has {self.width} numbers, this array has shape {row.shape}")
        return row.astype("<f8").tobytes()

    def adopt(self, specs: str, data: bytes) -> Array:
        """A row of this set from the bytes of a set with these specs; an indicator that was not in it starts empty.

        Raises ValueError for bytes of another size, and for specs that are not known any more.
        """
        try:
            other = self if specs == self.specs else _set_of(specs)
        except InputError as error:
            raise ValueError(f"a state of {specs}: {error}") from None
        if len(data) != 8 * other.width:
            raise ValueError(f"a state of {specs} has {8 * other.width} bytes, these are {len(data)}")
        held = np.frombuffer(data, "<f8").astype(np.float64)
        if other is self:
            return held
        return self.merged(self.initial(1)[0], other, held)

    def merged(self, row: Array, other: "IndicatorSet", held: Array) -> Array:
        """A row of this set in which what a row of another set knows takes the place of what is known."""
        merged, found = row.copy(), dict(zip(other.indicators, other._slices, strict=True))
        merged[0] = held[0]
        for each, place in zip(self.indicators, self._slices, strict=True):
            if each in found:
                merged[place] = held[found[each]]
        return merged

    def _usable(self, bars: Bars) -> Iterator[tuple[list[int], Flags | None]]:
        """The places of indicators for which the same bars are usable, and which bars these are, None for all."""
        complete = not self._inputs or _all(np.isfinite(np.concatenate([getattr(bars, each) for each in self._inputs])))
        for places in self._alike:
            first = self.indicators[places[0]]
            usable = None if complete and not _own_rule(first) else first.usable(bars)
            yield places, None if usable is None or _all(usable) else usable

    def _matrix(self, outputs: Iterable[Outputs], keys: int) -> Array:
        """The outputs of all indicators, (keys, columns)."""
        found = [values for each in outputs for values in each.values()]
        return np.concatenate(found).reshape(len(self.columns), keys).T if found else np.empty((keys, 0))

    def _counted(self, state: Array) -> Array:
        """The bars that each indicator has taken in, (keys, indicators)."""
        return np.asarray(state[:, self._counters])


def bars_of(
    open: ArrayLike,
    high: ArrayLike,
    low: ArrayLike,
    close: ArrayLike,
    volume: ArrayLike,
    notional: ArrayLike,
    start: ArrayLike,
    calendar: str = ALWAYS_OPEN,
) -> Bars:
    """Bars from arrays or lists of numbers, None for none; start in epoch microseconds tells their sessions."""
    session, since_open_us = session_places(np.asarray(start, np.int64), calendar)
    fields = (open, high, low, close, volume, notional, session, since_open_us / MINUTE_US)
    return Bars(*(np.asarray(field, np.float64) for field in fields))


def values_json(columns: Sequence[str], values: Array) -> list[bytes]:
    """A JSON object per row of (rows, columns): numbers that read back as the same doubles, null for NaN and inf."""
    kind, encode = _struct(tuple(columns)), msgspec.json.Encoder().encode
    return [encode(kind(*row)) for row in values.tolist()]


@functools.lru_cache(maxsize=64)
def _struct(columns: tuple[str, ...]) -> type[msgspec.Struct]:
    """A struct of these columns: half the time of a dict per row."""
    fields = {f"f{place}": name for place, name in enumerate(columns)}
    return msgspec.defstruct("Values", [(field, float) for field in fields], rename=fields, gc=False)


@functools.lru_cache(maxsize=16)
def _set_of(specs: str) -> IndicatorSet:
    """A set takes as long to make as hundreds of states to read, and they come by the hundred."""
    return IndicatorSet(parse_all(specs))


def _alike(indicators: Sequence[Indicator]) -> list[list[int]]:
    """The places of indicators for which the same bars are usable."""
    groups: dict[object, list[int]] = {}
    for place, each in enumerate(indicators):
        groups.setdefault(each if _own_rule(each) else frozenset(each.inputs), []).append(place)
    return list(groups.values())


def _all(flags: Flags) -> bool:
    """`flags.all()`, at a fifth of the time for a few."""
    return bool(np.count_nonzero(flags) == flags.size)


def _own_rule(indicator: Indicator) -> bool:
    """Whether more than finite inputs makes a bar usable."""
    return type(indicator).usable is not Indicator.usable


def _rounds(order: Ints, key: Ints) -> list[Ints]:
    """Row numbers, given in the order of key and time, by round: the first bars of all keys, then the second ones.

    A round comes in parts, so that the states of one stay in the processor's cache.
    """
    counts = np.unique(key, return_counts=True)[1]
    turn = np.arange(len(key)) - np.repeat(np.cumsum(counts) - counts, counts)
    by_turn = order[np.argsort(turn, kind="stable")]
    rounds = np.split(by_turn, np.cumsum(np.bincount(turn))[:-1]) if len(key) else []
    return [rows[left : left + AT_ONCE] for rows in rounds for left in range(0, len(rows), AT_ONCE)]
