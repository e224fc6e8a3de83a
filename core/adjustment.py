"""Corporate actions as factors: prices of years ago in today's shares, with or without the dividends between.

Factors are cumulative, anchored at the newest bar, which stays as it is, and are made when they are read. A bar of day
`t` is multiplied by the factors of all actions whose ex-date lies after `t`:

    split      price x old / new, volume x new / old        new shares for old ones
    dividend   price x (1 - D / P)                          D cash per share, P the close before the ex-date

This is how CRSP chains its factor to adjust prices from the newest day backwards (C(t) = C(t+1) * f, adjusted price =
raw / C), and the dividend multiplier that vendors of adjusted closes use (Yahoo, QuantConnect). The other usual one,
P / (P + D) with the close P of the ex-date itself, reinvests the dividend at that close: CRSP's total return, and the
adjusted closes of Quandl's WIKI set. Volumes know splits only. D counts shares as P does: those before a split of the
same day.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Context, Decimal
from fractions import Fraction
from typing import Literal

from core.errors import InputError

Kind = Literal["split", "dividend"]
Adjustment = Literal["raw", "split", "all"]
Reinvested = Literal["close_before", "ex_close"]
CloseOf = Callable[[date], Decimal | None]
"""The raw close that the formula wants of an ex-date: the one before it, or its own; None where there is none."""

ONE = Fraction(1)
EXACT = Context(prec=80)
# Splits are exact. A chain of a hundred dividends is kept at forty decimals, or its terms would have a thousand digits.
_PLACES = 10**40


@dataclass(frozen=True, slots=True)
class Action:
    """What happened to a share as of the open of `ex_date`.

    A split has `ratio`, new shares per old one. A dividend has `amount`, cash per share, and may have `reference`, the
    close that it is measured by where that is not the one of our own bars.
    """

    ex_date: date
    kind: Kind
    ratio: Fraction | None = None
    amount: Decimal | None = None
    reference: Decimal | None = None

    def __post_init__(self) -> None:
        given = self.ratio if self.kind == "split" else self.amount
        if given is None or (given <= 0 if self.kind == "split" else given < 0):
            raise InputError(f"{self.ex_date}: not a {self.kind}: {given}")


@dataclass(frozen=True, slots=True)
class Factor:
    """What prices and volumes of a day are multiplied by."""

    price: Fraction = ONE
    volume: Fraction = ONE


class Factors:
    """The cumulative factors of one symbol, by day."""

    def __init__(self, steps: Iterable[tuple[date, Factor]]) -> None:
        """Of each ex-date the factor of the days before it, back to the ex-date before; in any order."""
        ordered = sorted(steps, key=lambda step: step[0])
        self._dates = [ex_date for ex_date, _ in ordered]
        self._factors = [factor for _, factor in ordered]

    def at(self, day: date) -> Factor:
        place = bisect_right(self._dates, day)
        return self._factors[place] if place < len(self._factors) else Factor()


def factors(
    actions: Iterable[Action],
    adjustment: Adjustment,
    close_of: CloseOf = lambda _: None,
    method: Reinvested = "close_before",
) -> Factors:
    """The factors of the actions given; those that are not in force yet are the caller's to leave out.

    A dividend without a close to measure it by has no bars before it, and changes nothing. Raises InputError for a
    dividend that is not below its close.
    """
    wanted = [] if adjustment == "raw" else [each for each in actions if adjustment == "all" or each.kind == "split"]
    steps: dict[date, Factor] = {}
    held = Factor()
    for action in sorted(wanted, key=lambda each: each.ex_date, reverse=True):
        held = _chained(held, action, close_of, method)
        steps[action.ex_date] = held
    return Factors(steps.items())


def adjusted(value: Decimal, factor: Fraction, quantum: Decimal) -> Decimal:
    """value x factor, rounded once, half to even, to the quantum."""
    product = EXACT.multiply(value, Decimal(factor.numerator))
    return EXACT.divide(product, Decimal(factor.denominator)).quantize(quantum, context=EXACT)


def simplest_ratio(value: Fraction, tolerance: Fraction, largest: int = 100) -> Fraction:
    """A published ratio as the whole numbers of shares it was rounded from, where small ones fit; else as it is.

    >>> simplest_ratio(Fraction("6.9999972"), Fraction("0.00001"))
    Fraction(7, 1)
    """
    simple = value.limit_denominator(largest)
    fits = simple.numerator <= largest and abs(simple - value) <= tolerance
    return simple if fits else value


def _chained(held: Factor, action: Action, close_of: CloseOf, method: Reinvested) -> Factor:
    if action.kind == "split":
        assert action.ratio is not None
        return Factor(held.price / action.ratio, held.volume * action.ratio)
    step = dividend_factor(action, close_of, method)
    price = held.price * step
    if price.denominator > _PLACES:
        price = Fraction(round(price * _PLACES), _PLACES)
    return Factor(price, held.volume)


def dividend_factor(action: Action, close_of: CloseOf, method: Reinvested = "close_before") -> Fraction:
    """What one dividend does to the prices before it. Raises InputError where it is not below its close."""
    assert action.amount is not None
    close = close_of(action.ex_date) if action.reference is None else action.reference
    if close is None:
        return ONE
    amount, measure = Fraction(action.amount), Fraction(close)
    if method == "ex_close":
        return measure / (measure + amount)
    if amount >= measure:
        raise InputError(f"{action.ex_date}: a dividend of {action.amount} on a close of {close}")
    return 1 - amount / measure
