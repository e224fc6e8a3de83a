"""Bars as a reader wants them: stored rows joined with the live tail, gaps filled. Pure functions.

A bar here is a dict with `core.records.BAR_COLUMNS` as keys, `start` and `end` in epoch microseconds. A range is
half-open over `start`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeVar

from core.hours import Spans
from core.intervals import Interval
from core.records import BAR_COLUMNS

Row = Mapping[str, Any]
Fill = Literal["none", "null", "prev"]
Hours = Callable[[int, int], Spans]
"""The stretches of a range `[start, end)` in which trading is open."""
T = TypeVar("T")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Window:
    """Starts in `[start, end)`, of which at most `limit` are wanted: the newest ones or the oldest."""

    start: int
    end: int
    limit: int
    newest: bool

    def cut(self, rows: list[T]) -> list[T]:
        """At most `limit` of ascending rows, from the wanted side."""
        return rows[-self.limit :] if self.newest else rows[: self.limit]


def join(stored: Iterable[Row], tail: Iterable[Row], start: int, end: int) -> list[Row]:
    """Every bar with a start in `[start, end)` once, ascending.

    Of two bars with one start the higher revision wins; of equal revisions the one that is not forming.
    """
    best: dict[int, Row] = {}
    for row in (*stored, *tail):
        if start <= row["start"] < end:
            held = best.get(row["start"])
            if held is None or _rank(row) > _rank(held):
                best[row["start"]] = row
    return [best[key] for key in sorted(best)]


def fill(
    bars: list[Row],
    prior: Row | None,
    window: Window,
    interval: Interval,
    mode: Fill,
    until: int = 0,
    hours: Hours | None = None,
) -> list[Row]:
    """`bars` (ascending, inside the window) with a synthetic row where there is none, cut to the window's limit.

    Nothing is made up before the first bar of the symbol: `prior`, a bar before the window, says that it has begun.
    Nothing is made up after the last bar either, but for slots that start before `until`, and nothing outside of
    `hours`. The cost is bounded by the limit, and by the sessions that lie in the window.
    """
    if mode == "none" or not (bars or prior):
        return window.cut(bars)
    by_start = {bar["start"]: bar for bar in bars}
    starts = _starts(bars, prior, window, interval, until, hours)
    first = starts[0] if starts else 0
    close = last_close(bar for bar in (*bars[::-1], prior) if bar is not None and bar["start"] < first)
    filled: list[Row] = []
    for start in starts:
        row = by_start.get(start) or _synthetic(start, interval, close if mode == "prev" else None)
        close = close if row["close"] is None else row["close"]
        filled.append(row)
    return filled


def last_close(newest_first: Iterable[Row]) -> Decimal | None:
    """The newest close that is known: a bar whose trades may touch no price has none."""
    return next((bar["close"] for bar in newest_first if bar["close"] is not None), None)


def _rank(row: Row) -> tuple[int, bool]:
    return row["rev"], row["state"] != "forming"


def _starts(
    bars: list[Row], prior: Row | None, window: Window, interval: Interval, until: int, hours: Hours | None
) -> list[int]:
    """The starts to answer, ascending and within the limit: of the bars, and of the slots that are to be filled."""
    first = bars[0]["start"] if prior is None else _ceil(window.start, interval)
    stop = max(bars[-1]["end"] if bars else 0, _ceil(min(window.end, until), interval))
    if hours is None:
        if window.newest:
            return list(range(max(first, stop - window.limit * interval.us), stop, interval.us))
        return list(range(first, min(stop, first + window.limit * interval.us), interval.us))
    slots = _slots_within(hours(first, stop), interval, window)
    return window.cut(sorted({*slots, *(bar["start"] for bar in bars)}))


def _slots_within(spans: Spans, interval: Interval, window: Window) -> list[int]:
    """The slots that start in the spans, as many as are wanted from the wanted side."""
    slots: list[int] = []
    for low, high in spans[::-1] if window.newest else spans:
        slots += range(_ceil(low, interval), high, interval.us)
        if len(slots) >= window.limit:
            break
    return slots


def _ceil(us: int, interval: Interval) -> int:
    return -(-us // interval.us) * interval.us


def _synthetic(start: int, interval: Interval, close: Decimal | None) -> Row:
    row: dict[str, Any] = dict.fromkeys(BAR_COLUMNS)
    row |= {"interval": interval.name, "start": start, "end": start + interval.us, "rev": 0, "state": "synthetic"}
    row |= {"open": close, "high": close, "low": close, "close": close}
    return row | {"volume": ZERO, "notional": ZERO, "trade_count": 0}
