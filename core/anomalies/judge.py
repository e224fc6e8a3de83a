"""The rules applied to the bars of one interval as they close: what begins, grows worse and is over."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.anomalies.base import Ints, Limits, Moment, Rule
from core.anomalies.feed import SILENT_FEED
from core.anomalies.finding import SEVERITIES, Finding, number_text, price_text, rounded
from core.anomalies.registry import RULES
from core.anomalies.silence import Slot, slots
from core.indicators.base import Array, Bars
from core.indicators.keyed import KeyedStates
from core.indicators.sets import Flags, IndicatorSet
from core.indicators.spec import parse_all
from core.intervals import SECOND_US, Interval
from core.sessions import ALWAYS_OPEN


@dataclass(frozen=True, slots=True)
class Latch:
    """A rule fires: since the bar that starts then, and how severe it was at worst, as a place in SEVERITIES."""

    since: int
    level: int


@dataclass(frozen=True, slots=True)
class Row:
    """What findings say of one bar, or of a missing one."""

    symbol: str
    start: int
    rev: int
    close: float
    percent: float


Latches = dict[tuple[str, str], Latch]
"""By symbol and rule, those that fire."""


class Judge:
    """Holds, for each symbol, the state of the rules' indicators and which rules fire. No I/O, no clock.

    What it finds depends on the bars in their order of time, not on how many of them come at once.
    """

    def __init__(
        self,
        interval: Interval,
        limits: Limits,
        *,
        shortest: bool = True,
        calendar: str = ALWAYS_OPEN,
        rules: Iterable[Rule] = RULES.values(),
    ) -> None:
        self.interval = interval
        self.latches: Latches = {}
        self._limits = limits
        self._calendar = calendar
        self._rules = [rule for rule in rules if shortest or not rule.shortest_only]
        self._patience_us = int(limits.silence_seconds * SECOND_US)
        self._silence = next((rule for rule in self._rules if rule.name == SILENT_FEED), None)
        specs = " ".join(["roc:1", *(rule.indicators for rule in self._rules)])
        self.indicators = IndicatorSet(parse_all(specs))
        self._states = KeyedStates(self.indicators)

    @property
    def symbols(self) -> list[str]:
        """In the order of `rows`."""
        return [str(name) for name in self._states.names]

    @property
    def rows(self) -> Array:
        """The states of the indicators, (symbols, width)."""
        return self._states.rows

    def restore(self, symbols: Sequence[str], specs: str, rows: bytes, latches: Latches) -> None:
        """Go on from `rows`, as little-endian doubles, of a set with these specs, and from these latches alone.

        Raises ValueError for bytes that do not fit.
        """
        own, count = self.indicators, len(symbols)
        if specs == own.specs and len(rows) == 8 * own.width * count:
            held = np.frombuffer(rows, "<f8").astype(np.float64)
        else:
            size = len(rows) // max(1, count)
            held = np.array([own.adopt(specs, rows[at * size : (at + 1) * size]) for at in range(count)])
        self._states = KeyedStates(own, symbols, held.reshape(count, own.width))
        self.latches = dict(latches)

    def learn(self, other: "Judge", symbol: str) -> None:
        """Take what another one knows of a symbol, in place of what is known of the rules that it has."""
        row, held = self._states.of([symbol])[0], other._states.of([symbol])[0]
        self._states.put(symbol, self.indicators.merged(row, other.indicators, held))
        for rule in other._rules:
            self.latches.pop((symbol, rule.name), None)
        self.latches |= {key: latch for key, latch in other.latches.items() if key[0] == symbol}

    def take(
        self,
        symbols: Sequence[str],
        start: Ints,
        bars: Bars,
        rev: Sequence[int] | Ints,
        latency_ms: Array | None = None,
    ) -> list[Finding]:
        """Findings of closed bars, in order of time: arrays (bars,) in any order of rows, each bar once."""
        rows = _Rows(symbols, start, bars.close, rev)
        missing = self._gaps(rows)
        folded = self._states.fold(symbols, start, bars)
        values = {name: folded.values[:, place] for place, name in enumerate(self.indicators.columns)}
        return self._findings(rows, bars, values, missing, latency_ms)

    def look(self, symbols: Sequence[str], start: Ints, bars: Bars, values: Mapping[str, Array]) -> list[Finding]:
        """The same of bars whose indicators are known already, from the first bar on; the states stay empty."""
        rows = _Rows(symbols, start, bars.close, np.ones(len(start), np.int64))
        return self._findings(rows, bars, values, self._gaps(rows))

    def _findings(
        self,
        rows: "_Rows",
        bars: Bars,
        values: Mapping[str, Array],
        missing: Mapping[int, list[Slot]],
        latency_ms: Array | None = None,
    ) -> list[Finding]:
        count = len(rows.start)
        latency_ms = np.full(count, np.nan) if latency_ms is None else latency_ms
        moment = Moment(bars, values, self.interval.us, np.zeros(count), latency_ms)
        rows.percent = values["roc_1"]
        found = [finding for rule in self._rules for finding in self._judged(rule, moment, rows, missing)]
        return sorted(found, key=lambda each: (each.start, each.symbol))

    def silent(self, clock_us: int) -> list[Finding]:
        """Findings of symbols without a trade up to this event time, before which no more bars will come."""
        if self._silence is None or not self.symbols:
            return []
        ends = self._states.rows[:, 0].astype(np.int64) + self.interval.us
        waited = np.flatnonzero(clock_us - ends >= self._patience_us)
        found: list[Finding] = []
        names = self.symbols
        for place in waited.tolist():
            latch = self.latches.get((names[place], SILENT_FEED))
            if latch is None or latch.level < len(SEVERITIES) - 1:
                found += self._unheard(self._silence, names[place], self._slots(int(ends[place]), clock_us))
        return found

    def _gaps(self, rows: "_Rows") -> dict[int, list[Slot]]:
        """By row, the missing bars before it that were worth a finding."""
        if self._silence is None or not len(rows.start):
            return {}
        places = self._states.slots(rows.symbols)
        known, order, key = self._states.rows[places, 0].astype(np.int64), rows.order, rows.key
        same = np.append(False, np.diff(key[order]) == 0)
        start = rows.start[order]
        before = np.where(same, np.roll(start, 1), known[order]) + self.interval.us
        waited = (before > self.interval.us) & (start - before >= self._patience_us)
        return {
            int(order[place]): list(self._slots(int(before[place]), int(start[place])))
            for place in np.flatnonzero(waited).tolist()
        }

    def _slots(self, since_us: int, until_us: int) -> Iterator[Slot]:
        assert self._silence is not None
        return slots(self._silence, self._limits, self.interval, since_us, until_us, self._calendar)

    def _judged(
        self, rule: Rule, moment: Moment, rows: "_Rows", missing: Mapping[int, list[Slot]]
    ) -> Iterator[Finding]:
        values = rule.value(moment, self._limits)
        scores = rule.score(values, self._limits)
        silent = missing if rule is self._silence else {}
        firing = {symbol for symbol, name in self.latches if name == rule.name}
        for place in rows.turning(scores >= 1, scores < self._limits.release, firing, silent):
            if place in silent:
                yield from self._unheard(rule, rows.symbols[place], silent[place])
            yield from self._turned(rule, rows.at(place), float(values[place]), float(scores[place]))

    def _unheard(self, rule: Rule, symbol: str, found: Iterable[Slot]) -> Iterator[Finding]:
        for start, _, seconds in found:
            score = seconds / self._limits.silence_seconds
            yield from self._turned(rule, Row(symbol, start, 0, np.nan, np.nan), seconds, score)

    def _turned(self, rule: Rule, row: Row, value: float, score: float) -> Iterator[Finding]:
        """The finding of a bar that changes something."""
        key = row.symbol, rule.name
        latch = self.latches.get(key)
        if latch is not None and score < self._limits.release:
            del self.latches[key]
            yield self._finding(rule, row, value, score, latch, over=True)
        elif score >= 1:
            level = rule.level(score, self._limits)
            if latch is None or level > latch.level:
                latch = self.latches[key] = Latch(row.start if latch is None else latch.since, level)
                yield self._finding(rule, row, value, score, latch, over=False)

    def _finding(self, rule: Rule, row: Row, value: float, score: float, latch: Latch, over: bool) -> Finding:
        limit, end = rule.threshold(self._limits), row.start + self.interval.us
        text = (rule.over if over else rule.text).format(
            symbol=row.symbol,
            interval=self.interval.name,
            close=price_text(row.close),
            value=number_text(abs(value)),
            limit=number_text(limit),
            way="below" if value < rule.usual else "above",
            percent=number_text(abs(row.percent)),
        )
        return Finding(
            symbol=row.symbol, interval=self.interval.name, start=row.start, end=end, rev=row.rev, event_us=end,
            rule=rule.name, severity=SEVERITIES[latch.level], state="resolved" if over else "firing",
            value=rounded(value), threshold=limit, score=rounded(score), text=text, since=latch.since,
        )  # fmt: skip


class _Rows:
    """Bars in any order; `order` has their places by symbol and time, `key` a number for the symbol of each."""

    def __init__(self, symbols: Sequence[str], start: Ints, close: Array, rev: Sequence[int] | Ints) -> None:
        self.symbols, self.start, self.close, self.rev = symbols, start, close, rev
        self.percent: Array = close
        numbers: dict[str, int] = {}
        self.key = np.array([numbers.setdefault(symbol, len(numbers)) for symbol in symbols], np.int64)
        self.order = np.lexsort((start, self.key))
        self._numbers = numbers

    def turning(self, fires: Flags, over: Flags, firing: Collection[str], more: Collection[int]) -> list[int]:
        """The places, in order of time, that may change what fires: bars that do, and the first that is over after
        one, or of a symbol of which a rule is `firing`; and `more`. There are few."""
        told = (fires | over)[self.order]
        places = self.order[told]
        key, begins = self.key[places], fires[places]
        first = np.append(True, np.diff(key) != 0)[: len(key)]
        known = np.isin(key, [self._numbers[symbol] for symbol in firing if symbol in self._numbers])
        kept = begins | np.where(first, known, np.roll(begins, 1))
        found = np.unique(np.append(places[kept], np.array(list(more), np.int64)))
        return [int(place) for place in found[np.lexsort((self.key[found], self.start[found]))]]

    def at(self, place: int) -> Row:
        numbers = (float(column[place]) for column in (self.close, self.percent))
        return Row(self.symbols[place], int(self.start[place]), int(self.rev[place]), *numbers)


def judges(intervals: Sequence[Interval], limits: Limits, calendar: str = ALWAYS_OPEN) -> dict[str, Judge]:
    """One for each interval, by name."""
    shortest = min((each.us for each in intervals), default=0)
    return {each.name: Judge(each, limits, shortest=each.us == shortest, calendar=calendar) for each in intervals}
