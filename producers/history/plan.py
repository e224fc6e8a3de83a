"""What a backfill has to ask for: a pure function of what is wanted, what is done and what went missing."""

from collections.abc import Iterable
from dataclasses import dataclass

from core.intervals import MINUTE_US
from producers.feeds.base import LENGTHS
from producers.history.ranges import Range, Ranges, both, cut, union, without

TICKS = "ticks"
TRADES_A_PAGE = 1000
BARS_A_PAGE = 300
_HOUR_US = 60 * MINUTE_US
_BARS_A_STEP = 1440
SETTLED_US = MINUTE_US
"""How old trades must be to be asked for: a provider may show the newest ones a little later."""


@dataclass(frozen=True, slots=True)
class Done:
    """A range that was finished at `at_us`, with so many rows."""

    start_us: int
    end_us: int
    rows: int
    at_us: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A range, noticed at `at_us`, in which trades went missing, whatever had been finished before."""

    id: int
    start_us: int
    end_us: int
    at_us: int


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of work: everything of `[start_us, end_us)` of one symbol. `what` is ticks, or bars:1m."""

    symbol: str
    what: str
    start_us: int
    end_us: int
    requests: int
    """How many it takes, as far as can be told before."""


def missing(wanted: Iterable[Range], done: Iterable[Done], gaps: Iterable[Gap] = ()) -> Ranges:
    """What of the wanted sessions is to be asked for: what was never finished, and gaps not filled since."""
    finished, sessions = list(done), union(wanted)
    never = without(sessions, _ranges(finished))
    return union(never, *(both(sessions, unfilled(gap, finished)) for gap in gaps))


def unfilled(gap: Gap, done: Iterable[Done]) -> Ranges:
    """What of a gap was not finished again after it had been noticed."""
    return without([(gap.start_us, gap.end_us)], _ranges(one for one in done if one.at_us >= gap.at_us))


def items(
    symbol: str, what: str, ranges: Iterable[Range], sessions: Iterable[Range], done: Iterable[Done]
) -> list[Item]:
    """The missing ranges as pieces of sensible size, in order of time.

    Two ranges of one step with only closed hours between them are one piece: one request instead of two.
    """
    finished, opened, step = list(done), union(sessions), _step(what)
    pieces: Ranges = []
    for start, end in cut(union(ranges), step):
        if pieces and pieces[-1][0] // step == start // step and not both(opened, [(pieces[-1][1], start)]):
            pieces[-1] = (pieces[-1][0], end)
        else:
            pieces.append((start, end))
    rate = _rate(finished)
    return [Item(symbol, what, start, end, _requests(what, end - start, rate)) for start, end in pieces]


def runs(plan: Iterable[Item]) -> list[list[Item]]:
    """The pieces in groups of one symbol that follow each other without a hole."""
    groups: list[list[Item]] = []
    for item in plan:
        if groups and (groups[-1][-1].symbol, groups[-1][-1].end_us) == (item.symbol, item.start_us):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def aligned(what: str, start_us: int, end_us: int, now_us: int) -> Range:
    """The part of `[start_us, end_us)` that no longer changes, on the edges at which its bars may start."""
    settled_us = now_us - SETTLED_US
    if what == TICKS:
        return start_us, min(end_us, settled_us)
    length = bar_length(what)
    # Longer bars start where a market opens, or at a local midnight: on a quarter hour everywhere.
    grid = min(length, LENGTHS["15m"])
    last_us = settled_us - length
    return start_us - start_us % grid, min(end_us + -end_us % grid, last_us - last_us % grid + grid)


def bar_length(what: str) -> int:
    """`bars:1m` -> microseconds."""
    return LENGTHS[what.removeprefix("bars:")]


def _step(what: str) -> int:
    """An hour of ticks, a day of minute bars, as many of longer ones."""
    return _HOUR_US if what == TICKS else _BARS_A_STEP * bar_length(what)


def _rate(done: Iterable[Done]) -> float:
    """Rows in a microsecond of what was finished; 0 while nothing was."""
    finished = list(done)
    covered = sum(one.end_us - one.start_us for one in finished)
    return sum(one.rows for one in finished) / covered if covered else 0.0


def _requests(what: str, length_us: int, rate: float) -> int:
    """One page at least; more where finished ranges, or the length of the bars, say so."""
    if what == TICKS:
        return 1 + int(rate * length_us) // TRADES_A_PAGE
    return -(-length_us // (BARS_A_PAGE * bar_length(what)))


def _ranges(done: Iterable[Done]) -> Ranges:
    return [(one.start_us, one.end_us) for one in done]
