"""What a rule found, as the table, the topic, Redis and the API have it."""

import math
from typing import Literal

import msgspec

Severity = Literal["info", "warning", "critical"]
State = Literal["firing", "resolved"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
STATES: tuple[State, ...] = ("firing", "resolved")
DIGITS = 6


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A rule begins to fire with a bar, grows more severe while it does, or is over. Times are epoch microseconds.

    `event_us` is the end of the bar, `since` the start of the bar with which the rule began to fire. `score` is 1 at
    the threshold. `severity` is the worst since then. `rev` is that of the bar, 0 where there is no bar, since nobody
    traded.
    """

    symbol: str
    interval: str
    start: int
    end: int
    rev: int
    event_us: int
    rule: str
    severity: Severity
    state: State
    value: float
    threshold: float
    score: float
    text: str
    since: int

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Of which there is one finding: symbol, interval, start, rule."""
        return self.symbol, self.interval, self.start, self.rule


def rounded(number: float) -> float:
    """To six digits: what a process that was warmed up and one that ran on would both say."""
    return float(f"{number:.{DIGITS}g}")


def number_text(number: float) -> str:
    """A number as people read it: three digits, and no more of them than matter.

    >>> number_text(5.4321), number_text(1234.5), number_text(300.0), number_text(0.012345)
    ('5.43', '1234', '300', '0.0123')
    """
    if number == 0 or not math.isfinite(number):
        return "0" if number == 0 else str(number)
    decimals = max(0, 2 - math.floor(math.log10(abs(number))))
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def price_text(price: float) -> str:
    """A price with two decimals at least and eight at most; a bar may have none.

    >>> price_text(187.3), price_text(0.00001234)
    ('187.30', '0.00001234')
    """
    if not math.isfinite(price):
        return "no price"
    whole, _, decimals = f"{price:.8f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"
