"""Broken bar rules, each a mistake that somebody makes, which a verification has to catch.

A mutant replaces one thing of the definition while `fold` runs; the reference does not know of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pandas as pd

from conf.settings import Settings
from core import auctions, corrections
from core import bars as definition
from core.bars import BAR_RULES, Rule
from core.intervals import INTERVALS, Interval
from core.records import Bar, to_scaled
from core.rulesets import FIELDS, Ruleset
from jobs.indicators import BatchIndicators
from jobs.verifying import folding
from jobs.verifying.comparing import Bars, with_indicators
from jobs.verifying.folding import fold
from jobs.verifying.recording import recording_of, with_ids
from jobs.verifying.reference import reference_bars
from jobs.verifying.schedules import Schedule

SCHEDULES = (
    Schedule("in order", "fold", "in order", partitions=1, pace="one gulp", batches=1),
    Schedule("shuffled, repeated, crashing", "fold", copies=0.1, batches=12, crashes=((3, "after"), (7, "before"))),
    Schedule("late, corrected, cancelled", "fold", partitions=3, keyed=False, amended=True, batches=8),
)
_RULES: Any = BAR_RULES


@dataclass(frozen=True)
class Mutant:
    """A name that says what is wrong, and what it puts in whose place."""

    name: str
    swaps: Callable[[], Sequence[tuple[Any, str, Any]]]
    """(owner, attribute or key, replacement)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`by` is the schedule that caught it and `how` what differed; None where it was missed."""

    name: str
    by: str | None
    how: str | None


def judge(
    raw: Sequence[pd.DataFrame], settings: Settings, progress: Callable[[], object] = lambda: None
) -> list[Verdict]:
    """Every mutant against a recorded session; first of all the sound definition, which has to pass."""
    lengths = {each.name: each.us for each in settings.bar_intervals}
    plain = recording_of(raw, settings)
    expected = {
        named: with_indicators(reference_bars(of.raw, settings.ruleset, lengths), settings)
        for named, of in ((False, plain), (True, with_ids(plain)))
    }
    found = []
    for mutant in (Mutant("nothing is wrong", lambda: ()), *MUTANTS):
        with mutated(mutant):
            found.append(_judged(mutant, raw, settings, expected))
        progress()
    return found


def _judged(mutant: Mutant, raw: Sequence[pd.DataFrame], settings: Settings, expected: Mapping[bool, Bars]) -> Verdict:
    recording = recording_of(raw, settings)
    for schedule in SCHEDULES:
        replayed = with_ids(recording) if schedule.amended else recording
        problem = fold(replayed.whole(), schedule).problem(expected[schedule.amended], schedule.amended)
        if problem is not None:
            return Verdict(mutant.name, schedule.name, problem)
    return Verdict(mutant.name, None, None)


@contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """The definition with this mistake in it, as long as the block runs."""
    held = []
    try:
        for owner, name, value in mutant.swaps():
            held.append((owner, name, owner[name] if isinstance(owner, dict) else owner.__dict__[name]))
            _put(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(held):
            _put(owner, name, value)


def _put(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, name, value)


def _by_arrival(forming: Any, column: str, how: str, key: int, value: object) -> None:
    if how == "last" or column not in forming.firsts:
        forming.firsts[column] = (key, value)


def _with_doubles(forming: Any, column: str, how: str, value: Any) -> None:
    if how == "sum":
        forming.values[column] = int(float(forming.values.get(column, 0)) + float(value))
    else:
        _ACCUMULATE(forming, column, how, value)


def _typical_price(*asked: Any) -> Bar:
    bar: Bar = _AS_BAR(*asked)
    if bar.high is None or bar.low is None or bar.close is None:
        return bar
    third = ((bar.high + bar.low + bar.close) / 3).quantize(Decimal("1e-8"))
    return msgspec.structs.replace(bar, vwap=third)


def _rolled_averages(ticks: Any, intervals: Any, ruleset: Any, processed_us: Any = None) -> list[Bar]:
    """VWAP of long bars as the mean of the short ones."""
    ticks, made = list(ticks), []
    minutes = _FOLD_BARS(ticks, (INTERVALS["1m"],), ruleset, processed_us)
    for bar in _FOLD_BARS(ticks, intervals, ruleset, processed_us):
        inside = [m.vwap for m in minutes if m.symbol == bar.symbol and bar.start <= m.start < bar.end and m.vwap]
        mean = (sum(inside) / len(inside)).quantize(Decimal("1e-8")) if inside else bar.vwap
        made.append(bar if bar.interval == "1m" else msgspec.structs.replace(bar, vwap=mean))
    return made


def _without_size_zero(ticks: Any, *asked: Any) -> list[Bar]:
    return _FOLD_BARS([placed for placed in ticks if to_scaled(placed[0].size or "1")], *asked)


def _without(kind: str) -> Callable[[Any], Any]:
    return lambda ticks: _CORRECTED([placed for placed in ticks if placed[0].kind != kind])


def _corrections_added(ticks: Any) -> Any:
    ticks = list(ticks)
    extra = [
        (msgspec.structs.replace(tick, kind="trade", trade_id=f"{tick.trade_id}+"), *rest)
        for tick, *rest in ticks
        if tick.kind == "correct"
    ]
    return [*_CORRECTED([placed for placed in ticks if placed[0].kind != "correct"]), *extra]


def _of_another_venue(ticks: Any) -> Any:
    """A correction that is looked for under another venue finds no trade."""
    return _CORRECTED([(_renamed(tick) if tick.kind == "correct" else tick, *rest) for tick, *rest in ticks])


def _renamed(tick: Any) -> Any:
    return msgspec.structs.replace(tick, venue=None if tick.venue else "?")


def _late_lost(log: Any, intervals: Any, ruleset: Any) -> list[Bar]:
    """Corrections and cancels are applied; what came behind the watermark is not looked at."""
    kept = [placed for placed in log if placed[0].kind != "trade" or placed[0].received_us <= placed[0].event_us]
    return _FOLD_BARS(_CORRECTED(kept), intervals, ruleset, 1)


def _forgetful(self: Any, final: Any) -> Any:
    """Indicators that begin anew with each batch."""
    self.restore(self.states().slice(0, 0))
    return _ROWS(self, final)


def _touching(change: Callable[[frozenset[str]], frozenset[str]]) -> Callable[..., frozenset[str]]:
    return lambda self, conditions, event_us: change(_TOUCHES(self, conditions, event_us))


_AS_BAR, _FOLD_BARS, _CORRECTED = definition._as_bar, definition.fold_bars, corrections.corrected
_ACCUMULATE, _ROWS, _TOUCHES = definition._Forming._accumulate, BatchIndicators.rows, Ruleset.touches
_ORDER_KEY, _FORMING = definition.order_key, definition._Forming

MUTANTS = (
    Mutant("open and close by arrival", lambda: [(_FORMING, "_keep_extreme", _by_arrival)]),
    Mutant("ties by arrival", lambda: [(definition, "order_key", lambda at, _, start: _ORDER_KEY(at, 0, start))]),
    Mutant("ties by the larger seq", lambda: [(definition, "order_key", lambda at, n, s: _ORDER_KEY(at, -n, s))]),
    Mutant("open is the highest", lambda: [(_RULES, "open", Rule("max", "price", "open_close"))]),
    Mutant("close is the first", lambda: [(_RULES, "close", Rule("first", "price", "open_close"))]),
    Mutant("high of every print", lambda: [(_RULES, "high", Rule("max", "price", "any"))]),
    Mutant("low of every print", lambda: [(_RULES, "low", Rule("min", "price", "volume"))]),
    Mutant("volume without odd prints", lambda: [(_RULES, "volume", Rule("sum", "size", "high_low"))]),
    Mutant("count of what sets a price", lambda: [(_RULES, "trade_count", Rule("count", "price", "open_close"))]),
    Mutant("VWAP is a typical price", lambda: [(definition, "_as_bar", _typical_price)]),
    Mutant("VWAP rolled up by averages", lambda: [(definition, "fold_bars", _rolled_averages)]),
    Mutant("sums of doubles", lambda: [(_FORMING, "_accumulate", _with_doubles)]),
    Mutant("trades of size zero left out", lambda: [(definition, "fold_bars", _without_size_zero)]),
    Mutant("the right edge belongs to the bar", lambda: [(Interval, "start_of", lambda self, at: at - 1 - (at - 1)
                                                                                % self.us)]),
    Mutant("copies counted", lambda: [(definition, "identity", lambda _: object())]),
    Mutant("conditions ignored", lambda: [(Ruleset, "touches", lambda *_: FIELDS)]),
    Mutant("odd prints may open and close", lambda: [(Ruleset, "touches", _touching(lambda found: found | {"open_close"}
                                                                                    if found else found))]),
    Mutant("odd prints dropped whole", lambda: [(Ruleset, "touches", _touching(lambda found: found if found == FIELDS
                                                                               else frozenset()))]),
    Mutant("auctions not moved", lambda: [(auctions.AuctionSelector, "select", lambda *_: None)]),
    Mutant("late trades lost", lambda: [(folding, "amended", _late_lost)]),
    Mutant("cancels ignored", lambda: [(corrections, "corrected", _without("cancel"))]),
    Mutant("corrections ignored", lambda: [(corrections, "corrected", _without("correct"))]),
    Mutant("corrections added, not put in place", lambda: [(corrections, "corrected", _corrections_added)]),
    Mutant("corrections of another venue", lambda: [(corrections, "corrected", _of_another_venue)]),
    Mutant("watermark of the fastest partition", lambda: [(folding, "watermark", max)]),
    Mutant("state lost in a crash", lambda: [(folding.State, "copy", lambda self: folding.State(list(self.newest)))]),
    Mutant("indicators begin anew with a batch", lambda: [(BatchIndicators, "rows", _forgetful)]),
)  # fmt: skip
"""What `python -m jobs.verify --mutants` judges."""
