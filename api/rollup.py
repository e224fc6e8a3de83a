"""What a stretch of bars adds up to, exactly: the session's bar, its change, and how prices moved. Pure functions."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import pairwise
from typing import Any

EXACT = Context(prec=80)
_EIGHTH = Decimal("1e-8")
_FOURTH = Decimal("1e-4")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Rollup:
    """One bar of many; prices None where no bar had one."""

    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    close: Decimal | None = None
    volume: Decimal = _ZERO
    notional: Decimal = _ZERO
    trade_count: int = 0
    close_us: int | None = None
    rev: int = 0

    @property
    def vwap(self) -> Decimal | None:
        return vwap(self.notional, self.volume)

    def then(self, bar: Any) -> "Rollup":
        """With one more bar, or roll-up, that comes after all of it."""
        return Rollup(
            open=bar.open if self.open is None else self.open,
            high=_most(max, self.high, bar.high),
            low=_most(min, self.low, bar.low),
            close=self.close if bar.close is None else bar.close,
            volume=EXACT.add(self.volume, bar.volume),
            notional=EXACT.add(self.notional, bar.notional),
            trade_count=self.trade_count + bar.trade_count,
            close_us=_most(max, self.close_us, bar.close_us),
            rev=max(self.rev, bar.rev),
        )


def rollup_of(row: Mapping[str, Any]) -> Rollup:
    """A row of `stores.market_reads`, or a bar, as a roll-up."""
    return Rollup(
        **{name: row[name] for name in ("open", "high", "low", "close", "close_us")},
        volume=row["volume"] or _ZERO,
        notional=row["notional"] or _ZERO,
        trade_count=row["trade_count"] or 0,
        rev=row["rev"] or 0,
    )


def vwap(notional: Decimal, volume: Decimal) -> Decimal | None:
    """notional / volume, rounded half up at the eighth decimal; None without volume."""
    if not volume:
        return None
    return EXACT.divide(notional, volume).quantize(_EIGHTH, ROUND_HALF_UP, EXACT)


def change(last: Decimal | None, before: Decimal | None) -> tuple[Decimal | None, Decimal | None]:
    """The difference, and the same in percent at four decimals; None where one of the two is not known."""
    if last is None or before is None:
        return None, None
    moved = EXACT.subtract(last, before)
    return moved, percent(moved, before)


def percent(part: Decimal, whole: Decimal) -> Decimal | None:
    """At four decimals, rounded half up."""
    if not whole:
        return None
    return EXACT.divide(EXACT.multiply(part, Decimal(100)), whole).quantize(_FOURTH, ROUND_HALF_UP, EXACT)


def realised_volatility(closes: Sequence[Decimal]) -> float | None:
    """The root of the summed squares of the log returns; None of fewer than two closes."""
    if len(closes) < 2:
        return None
    prices = [float(close) for close in closes]
    return math.sqrt(math.fsum(math.log(b / a) ** 2 for a, b in pairwise(prices)))


def priced(bars: Iterable[Mapping[str, Any]]) -> list[Decimal]:
    """The closes that are known."""
    return [bar["close"] for bar in bars if bar["close"] is not None]


def _most(pick: Any, one: Any, other: Any) -> Any:
    known = [value for value in (one, other) if value is not None]
    return pick(known) if known else None
