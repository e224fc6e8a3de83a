"""Files of corporate actions: stated as they are, or hidden in cumulative factors."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from core.adjustment import Action, simplest_ratio
from core.errors import InputError
from jobs.daily_cells import FACTORS, FileKind, Row, day_of, number_of, rounded, rows_of, symbol_of

_FACTOR_UNIT = Fraction(1, 10**7)  # factors are published with six to eight decimals
_SHORT_DECIMALS = 3
_SATURDAY = 5


def read_actions(path: Path, kind: FileKind) -> dict[str, list[Action]]:
    """The corporate actions of a file by symbol. Raises InputError."""
    by_symbol: dict[str, list[Row]] = {}
    for row in rows_of(path):
        by_symbol.setdefault(symbol_of(row, path), []).append(row)
    made = _of_factors if kind == "factors" else _stated
    return {symbol: made(rows, f"{path}: {symbol}") for symbol, rows in by_symbol.items()}


def _stated(rows: Sequence[Row], where: str) -> list[Action]:
    """Rows of ex_date, kind, and ratio (new shares per old one, 7 or 7:1) or amount; those of one day are one."""
    made: list[Action] = []
    for row in rows:
        day = day_of(row["ex_date"], where)
        if row["kind"] == "split":
            made.append(Action(day, "split", _ratio(row.get("ratio"), f"{where} {day}")))
        elif row["kind"] == "dividend":
            reference = number_of(row.get("reference"), where)
            made.append(Action(day, "dividend", amount=number_of(row.get("amount"), where), reference=reference))
        else:
            raise InputError(f"{where} {day}: kind is {row['kind']!r}, not split or dividend")
    return list(_by_day(made).values())


def _by_day(actions: Iterable[Action]) -> dict[tuple[date, str], Action]:
    """A special dividend may come with the regular one."""
    found: dict[tuple[date, str], Action] = {}
    for action in actions:
        key = action.ex_date, action.kind
        before = found.get(key, action)
        if before is not action and before.ratio is not None and action.ratio is not None:
            action = replace(action, ratio=before.ratio * action.ratio)
        elif before is not action and before.amount is not None and action.amount is not None:
            action = replace(action, amount=before.amount + action.amount)
        found[key] = action
    return found


def _ratio(given: object, where: str) -> Fraction:
    new, _, old = str(given).partition(":")
    try:
        return Fraction(new.strip()) / Fraction(old.strip() or "1")
    except (ValueError, ZeroDivisionError):
        raise InputError(f"{where}: {given!r} is not a ratio such as 7 or 3:2") from None


def _of_factors(rows: Sequence[Row], where: str) -> list[Action]:
    """Actions from cumulative factors, each of the days up to and including its date.

    The ex-date is the weekday after that; should that be a holiday, no bar lies between.
    """
    splits: list[Action] = []
    paid: list[tuple[date, Fraction, Fraction, Fraction]] = []
    for day, (row, following) in _changes(rows, where).items():
        at = f"{where} {row['date']}"
        price, split, reference = (_positive(row[name], at) for name in FACTORS)
        later_price, later_split = (_positive(following[name], at) for name in FACTORS[:2])
        if split != later_split:
            off = later_split / split * _FACTOR_UNIT * 5 * (1 / split + 1 / later_split)
            splits.append(Action(day, "split", simplest_ratio(later_split / split, off)))
        if price > later_price:
            raise InputError(f"{at}: a price factor that falls")
        if price != later_price:
            paid.append((day, reference * (1 - price / later_price), reference * _FACTOR_UNIT / later_price, reference))
    amounts = _amounts([(amount, tolerance) for _, amount, tolerance, _ in paid])
    dividends = [
        Action(day, "dividend", amount=_as_decimal(amount), reference=_as_decimal(reference))
        for (day, _, _, reference), amount in zip(paid, amounts, strict=True)
    ]
    return [*splits, *dividends]


def _changes(rows: Sequence[Row], where: str) -> dict[date, tuple[Row, Row]]:
    """By ex-date the last row before it and the next one; rows of a weekend are of one ex-date."""
    found: dict[date, tuple[Row, Row]] = {}
    for row, following in pairwise(sorted(rows, key=lambda row: str(row["date"]))):
        if str(row["date"]) == str(following["date"]):
            raise InputError(f"{where} {row['date']}: the day is there twice")
        ex_date = _weekday_after(day_of(row["date"], where))
        before, _ = found.get(ex_date, (row, following))
        found[ex_date] = before, following
    return found


def _amounts(derived: Sequence[tuple[Fraction, Fraction]]) -> list[Fraction]:
    """The dividends that made factors: in mills where all of a share's fit the rounding, else as they come out."""
    short = [_short(amount, tolerance) for amount, tolerance in derived]
    return [amount for amount, _ in derived] if None in short else [each for each in short if each is not None]


def _short(amount: Fraction, tolerance: Fraction) -> Fraction | None:
    for decimals in range(_SHORT_DECIMALS + 1):
        rounded = Fraction(round(amount * 10**decimals), 10**decimals)
        if rounded > 0 and abs(rounded - amount) <= tolerance:
            return rounded
    return None


def _as_decimal(value: Fraction) -> Decimal:
    return rounded(Decimal(value.numerator) / Decimal(value.denominator)).normalize()


def _weekday_after(day: date) -> date:
    following = day + timedelta(days=1)
    while following.weekday() >= _SATURDAY:
        following += timedelta(days=1)
    return following


def _positive(value: object, where: str) -> Fraction:
    number = number_of(value, where)
    if number is None or number < 0:
        raise InputError(f"{where}: not a factor: {value}")
    return Fraction(number) if number else Fraction(1)
