"""Files of daily bars and of corporate actions, as the historical tier keeps them: raw prices, exact, one per day.

What is refused here would be wrong for years and look right: prices that were adjusted already, two sides of a quote in
one series, a day twice.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from core.adjustment import Action, simplest_ratio
from core.errors import InputError
from jobs.daily_cells import PRICES, Row, day_of, number_of, rounded, rows_of, symbol_of
from stores.daily_bars import DAILY_SCHEMA

_CLEAR_SPLIT = math.log(1.25)  # a smaller one cannot be told from a day's move
_JUMP = math.log(1.9)


@dataclass(slots=True)
class History:
    """One symbol's days, ascending, as columns; `actions` are those that the same file states."""

    symbol: str
    source: str
    days: list[date] = field(default_factory=list)
    prices: dict[str, list[Decimal]] = field(default_factory=lambda: {name: [] for name in PRICES})
    volumes: list[Decimal | None] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    has_adjusted: bool = False
    states_actions: bool = False

    def around(self, ex_date: date) -> tuple[Decimal, Decimal] | None:
        """The closes before and from an ex-date on; None where one is not there."""
        place = bisect_left(self.days, ex_date)
        closes = self.prices["close"]
        return (closes[place - 1], closes[place]) if 0 < place < len(closes) else None


def read_histories(path: Path, kind: str | None = None, source: str | None = None) -> list[History]:
    """The bars of a file by symbol; `kind` chooses the side of quotes. Raises InputError."""
    rows = list(rows_of(path))
    kinds = sorted({str(row["kind"]) for row in rows if row.get("kind")})
    if kind is None and len(kinds) > 1:
        raise InputError(f"{path} holds several kinds of bars, {', '.join(kinds)}: choose one with --kind")
    found: dict[str, History] = {}
    for row in sorted(rows, key=lambda row: (str(row["symbol"]), str(row["date"]))):
        if kind is None or row.get("kind") == kind:
            symbol = symbol_of(row, path)
            history = found.setdefault(symbol, History(symbol, source or str(row.get("source") or path.stem)))
            _add(history, row, f"{path}: {symbol} {row['date']}")
    if not found:
        raise InputError(f"{path} holds no bars{'' if kind is None else f' of kind {kind}: {kinds}'}")
    return list(found.values())


class DaysOfFiles:
    """The days of all files of a load, to find one that two files tell differently."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[date, tuple[Path, int]]] = {}

    def add(self, path: Path, histories: Iterable[History]) -> None:
        """Raise InputError for a day that another file of the same source has with other values."""
        for each in histories:
            known = self._known.setdefault((each.symbol, each.source), {})
            rows = zip(*each.prices.values(), each.volumes, strict=True)
            for day, row in zip(each.days, map(hash, rows), strict=True):
                before, same = known.setdefault(day, (path, row))
                if row != same:
                    raise InputError(
                        f"{before} and {path}: {each.symbol} {day} is in both, with other values, and both are from"
                        f" {each.source}: leave out one of them"
                    )


def check_raw(history: History, actions: Iterable[Action], declared: bool) -> None:
    """Raise InputError where the prices are adjusted already, or may be and nobody says that they are not.

    A large split shows: raw closes jump by its ratio. Without one in the file, one after its end may be in its prices.
    """
    proven = False
    for action in actions:
        closes = history.around(action.ex_date)
        if action.kind == "split" and action.ratio is not None and closes is not None:
            proven |= _jumps(history.symbol, action.ex_date, action.ratio, *closes)
    if history.has_adjusted and not (history.states_actions or proven or declared):
        raise InputError(
            f"{history.symbol}: the file has adj_close, but no splits and dividends, and no known split shows in its"
            " prices: whether they are raw cannot be seen, and most that are published so have splits in them (Yahoo's"
            " do). Only raw prices are kept. If they are raw, say --prices raw"
        )


def unexplained(history: History, actions: Iterable[Action]) -> list[str]:
    """Moves from close to close as large as a split's, on days without one, a line each."""
    known = {action.ex_date for action in actions}
    closes = history.prices["close"]
    return [
        f"{history.symbol} {day}: the close went from {before} to {after}; a split that no action tells of?"
        for (day_before, day), (before, after) in zip(pairwise(history.days), pairwise(closes), strict=True)
        if abs(math.log(after / before)) > _JUMP and not any(day_before < ex_date <= day for ex_date in known)
    ]


def as_table(histories: Sequence[History]) -> pa.Table:
    """As DAILY_SCHEMA."""
    tables = [
        pa.table(
            {
                "symbol": [each.symbol] * len(each.days),
                "day": each.days,
                **each.prices,
                "volume": each.volumes,
                "source": [each.source] * len(each.days),
            },
            schema=DAILY_SCHEMA,
        )
        for each in histories
    ]
    return pa.concat_tables(tables) if tables else DAILY_SCHEMA.empty_table()


def _jumps(symbol: str, day: date, ratio: Fraction, before: Decimal, after: Decimal) -> bool:
    """Whether the split shows, and is large enough to. Raises InputError where it should and does not."""
    expected, moved = math.log(ratio), math.log(before / after)
    if abs(expected) < _CLEAR_SPLIT:
        return False
    if abs(moved - expected) > abs(moved):
        raise InputError(
            f"{symbol} {day}: a split of {ratio.numerator} for {ratio.denominator}, and the close went from {before} to"
            f" {after}: these prices are adjusted already. Only raw ones are kept; the API adjusts on read"
        )
    return True


def _add(history: History, row: Row, where: str) -> None:
    day = day_of(row["date"], where)
    if history.days and day == history.days[-1]:
        raise InputError(f"{where}: the day is there twice")
    prices = {name: number_of(row[name], where) for name in PRICES}
    if any(price is None or price <= 0 for price in prices.values()):
        raise InputError(f"{where}: a price is missing or not above zero")
    volume = number_of(row.get("volume"), where)
    if volume is not None and volume < 0:
        raise InputError(f"{where}: the volume is below zero")
    history.days.append(day)
    for name, price in prices.items():
        history.prices[name].append(rounded(price))  # type: ignore[arg-type]
    history.volumes.append(None if volume is None else rounded(volume))
    history.has_adjusted |= number_of(row.get("adj_close"), where) is not None
    _add_actions(history, day, number_of(row.get("dividend"), where), number_of(row.get("split_ratio"), where))


def _add_actions(history: History, day: date, dividend: Decimal | None, split: Decimal | None) -> None:
    history.states_actions |= dividend is not None and split is not None
    if split and split != 1:  # Yahoo's files write 0 where there was none
        history.actions.append(Action(day, "split", simplest_ratio(Fraction(split), Fraction(1, 10**6))))
    if dividend:
        history.actions.append(Action(day, "dividend", amount=dividend))
