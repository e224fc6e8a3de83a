"""Indicators of forming bars: `value(step(state, forming bar))`, from the state after the newest final bar on.

Between that bar and the forming one stand those that are closed and not final yet. Their last live row is what the
final row will say, so they are stepped over on the way; the final query's own state then replaces the guess.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import msgspec
import numpy as np
import structlog

from conf.settings import Settings
from core.indicators.base import BAR_FIELDS, Bars
from core.indicators.sets import IndicatorSet, values_json
from core.intervals import MINUTE_US
from core.sessions import session_places
from jobs.indicator_topic import Memory
from stores.redis import LiveRow, Shown

# Closed bars held for one key; where no final query runs, the oldest counts as final after so many.
PENDING_BARS = 64
_log = structlog.get_logger("jobs.relay")


_Fields = tuple[float, ...]


@dataclass(slots=True, eq=False)
class _Key:
    """What is known of a (symbol, interval): its bars after the final one, by start, in the fields of `Bars`."""

    group: "_Group"
    slot: int
    """Its row in the states of the group."""
    final_start: int = 0
    based_on: int = 0
    """The start of the bar that the base of the group is made for, 0 for none."""
    pending: dict[int, _Fields] = field(default_factory=dict)


class _Group:
    """The keys of one set of indicators: their states after the final bar, and before the bar now forming."""

    def __init__(self, indicators: IndicatorSet) -> None:
        self.indicators = indicators
        self.final = indicators.initial(16)
        self.base = indicators.initial(16)
        self.held = indicators.held(self.base, np.zeros(16, np.int64))
        """What the base gives to the values of the bar that it was made for."""
        self._count = 0

    def add(self) -> _Key:
        """A key with an empty state."""
        if self._count == len(self.final):
            more = self.indicators.initial(self._count)
            self.final, self.base = np.concatenate([self.final, more]), np.concatenate([self.base, more])
            self.held = np.concatenate([self.held, np.empty_like(self.held)])
        self._count += 1
        return _Key(self, self._count - 1)

    def settle(self, key: _Key) -> None:
        """Take the oldest pending bars for final where there are too many; a base made after them stays what it is."""
        while len(key.pending) > PENDING_BARS:
            start = min(key.pending)
            at, fields = np.zeros(1, np.int64), [key.pending.pop(start)]
            folded = self.indicators.fold(self.final[[key.slot]], at, np.array([start], np.int64), _bars(fields))
            self.final[key.slot] = folded.state[0]
            key.final_start = start
        if key.based_on <= key.final_start:
            key.based_on = 0

    def rebase(self, asked: Sequence[tuple[_Key, int]]) -> None:
        """Make the base of each key that of the bar with this start: from an older base, or the final state."""
        slots = [key.slot for key, _ in asked]
        onward = np.array([0 < key.based_on < until for key, until in asked])
        rows = np.where(onward[:, None], self.base[slots], self.final[slots])
        passed = [
            (place, start, key.pending[start])
            for place, (key, until) in enumerate(asked)
            for start in sorted(key.pending)
            if (key.based_on if onward[place] else 0) <= start < until
        ]
        if passed:
            places, starts, fields = zip(*passed, strict=True)
            at, start = np.array(places, np.int64), np.array(starts, np.int64)
            rows = self.indicators.fold(rows, at, start, _bars(fields)).state
        self.base[slots] = rows
        self.held[slots] = self.indicators.held(rows, np.array([until for _, until in asked], np.int64))
        for key, until in asked:
            key.based_on = until

    def values(self, asked: Sequence[tuple[_Key, int]]) -> list[bytes]:
        """The values that the bars with these starts would leave, as JSON."""
        moved = [(key, start) for key, start in asked if key.based_on != start]
        if moved:
            self.rebase(moved)
        bars = _bars([key.pending[start] for key, start in asked])
        slots = [key.slot for key, _ in asked]
        values, stepped = self.indicators.formed(self.held[slots], bars)
        if stepped.any():
            start = np.array([start for _, start in asked], np.int64)
            self.indicators.complete(values, stepped, self.base[slots], bars, start)
        return values_json(self.indicators.columns, values)


class LiveIndicators:
    """Follows the final states and the forming bars of every key. Holds no truth: both come again after a restart."""

    def __init__(self, sets: Mapping[str, IndicatorSet], calendar: str) -> None:
        self._calendar = calendar
        groups = {each.specs: _Group(each) for each in sets.values()}
        self._groups = {interval: groups[each.specs] for interval, each in sets.items() if each.indicators}
        self._keys: dict[tuple[str, str], _Key] = {}
        self._sessions: dict[int, tuple[float, float]] = {}

    @property
    def keys(self) -> list[tuple[str, str]]:
        """The (symbol, interval) of which a final state or a forming bar came."""
        return list(self._keys)

    def take_final(self, memory: Memory) -> None:
        """Go on from the state after a final bar; one older than what is known is passed over."""
        key = self._key(memory.symbol, memory.interval)
        if key is None or memory.start < key.final_start:
            return
        try:
            row = key.group.indicators.adopt(memory.specs, memory.state)
        except ValueError as error:
            _log.warning("a state that does not fit", symbol=memory.symbol, interval=memory.interval, error=str(error))
            return
        key.group.final[key.slot] = row
        key.final_start, key.based_on = memory.start, 0
        key.pending = {start: fields for start, fields in key.pending.items() if start > memory.start}

    def take_forming(self, rows: Sequence[LiveRow]) -> None:
        """Remember forming bars without computing anything."""
        self._settle([self._remember(row) for row in rows])

    def with_values(self, rows: Sequence[LiveRow]) -> list[LiveRow]:
        """The rows, those of forming bars with the JSON of their indicators."""
        noted = [(place, key, row.start) for place, row in enumerate(rows) if (key := self._remember(row)) is not None]
        made = list(rows)
        for turn in _turns(noted):
            groups = dict.fromkeys([key.group for _, key, _ in turn])
            for group in groups:
                own = turn if len(groups) == 1 else [item for item in turn if item[1].group is group]
                texts = group.values([(key, start) for _, key, start in own])
                for (place, _, _), text in zip(own, texts, strict=True):
                    row = rows[place]
                    made[place] = LiveRow(
                        row.symbol, row.interval, row.start, row.rev, row.offset, row.payload, text, row.bar
                    )
        self._settle([key for _, key, _ in noted])
        return made

    def _settle(self, keys: Sequence[_Key | None]) -> None:
        for key in [each for each in keys if each is not None and len(each.pending) > PENDING_BARS]:
            key.group.settle(key)

    def _key(self, symbol: str, interval: str) -> _Key | None:
        group = self._groups.get(interval)
        if group is None:
            return None
        key = self._keys.get((symbol, interval))
        if key is None:
            key = self._keys[symbol, interval] = group.add()
        return key

    def _remember(self, row: LiveRow) -> _Key | None:
        """The key of a forming bar, its amounts noted; None for one that is final, has no indicators or is no bar."""
        start = row.start
        key = self._keys.get((row.symbol, row.interval)) or self._key(row.symbol, row.interval)
        if key is None or row.rev or start <= key.final_start:
            return None
        try:
            numbers = _numbers(row.shown())
        except (msgspec.DecodeError, ValueError):
            return None  # Redis' own check names it
        fields = numbers + (self._sessions.get(start) or self._session(start))
        if start < key.based_on and key.pending.get(start) != fields:
            key.based_on = 0
        key.pending[start] = fields
        return key

    def _session(self, start: int) -> tuple[float, float]:
        """The session, and the minutes since its open."""
        if len(self._sessions) > 10_000:
            self._sessions.clear()
        number, since_open_us = session_places(np.array([start], np.int64), self._calendar)
        session = self._sessions[start] = float(number[0]), float(since_open_us[0] / MINUTE_US)
        return session


def live_indicators(settings: Settings) -> LiveIndicators:
    """Those that the settings ask for."""
    sets = {each.name: IndicatorSet(settings.indicators_of(each.name)) for each in settings.bar_intervals}
    return LiveIndicators(sets, settings.calendar)


def _numbers(bar: Shown) -> _Fields:
    """The amounts of a bar, NaN for one that is not there. Raises ValueError for text that is none."""
    try:
        return (  # one by one: half the time of a loop over them
            float(bar.open),  # type: ignore[arg-type]
            float(bar.high),  # type: ignore[arg-type]
            float(bar.low),  # type: ignore[arg-type]
            float(bar.close),  # type: ignore[arg-type]
            float(bar.volume),  # type: ignore[arg-type]
            float(bar.notional),  # type: ignore[arg-type]
        )
    except TypeError:
        texts = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.notional)
        return tuple([math.nan if text is None else float(text) for text in texts])


def _bars(fields: Sequence[_Fields]) -> Bars:
    numbers = np.fromiter(chain.from_iterable(fields), np.float64, len(fields) * len(BAR_FIELDS))
    return Bars(*np.ascontiguousarray(numbers.reshape(-1, len(BAR_FIELDS)).T))


def _turns(asked: Sequence[tuple[int, _Key, int]]) -> Iterator[list[tuple[int, _Key, int]]]:
    """The items in turns, so that no turn has two bars of one key, and the older one comes first."""
    if len({key for _, key, _ in asked}) == len(asked):
        if asked:
            yield list(asked)
        return
    waiting = sorted(asked, key=lambda item: item[2])
    while waiting:
        turn = {item[1]: item for item in reversed(waiting)}
        yield list(turn.values())
        waiting = [item for item in waiting if turn[item[1]] is not item]
