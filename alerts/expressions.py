"""What a condition compares: `rsi:14 > 70`, `close crosses_above sma:200`, `macd:12,26,9.signal < 0`."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from core.errors import InputError
from core.indicators import Indicator, column, parse

Operator = Literal[">", ">=", "<", "<=", "crosses", "crosses_above", "crosses_below"]
OPERATORS: tuple[str, ...] = get_args(Operator)
FIELDS = ("open", "high", "low", "close", "volume")
_OUTPUT = re.compile(r"(.+)\.([a-z_]+)")
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,12})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Operand:
    """A number, a field of the bar, or an output of an indicator; `name` is what its value is found under."""

    text: str
    name: str = ""
    number: float | None = None
    indicator: Indicator | None = None

    def of(self, values: Mapping[str, float]) -> float:
        """NaN where there is no value."""
        return values.get(self.name, math.nan) if self.number is None else self.number


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two operands held against each other. `size` takes the left one without its sign.

    While it holds, `>` ends only once the left one is back by more than `hysteresis`; a crossing counts only when it
    goes as far beyond.
    """

    left: Operand
    operator: Operator
    right: Operand
    hysteresis: float = 0.0
    size: bool = False

    @property
    def crossing(self) -> bool:
        """Whether it is of one moment: true of the bar that crossed, and of no other."""
        return self.operator.startswith("crosses")

    @property
    def indicators(self) -> tuple[Indicator, ...]:
        return tuple(each.indicator for each in (self.left, self.right) if each.indicator is not None)

    @property
    def text(self) -> str:
        left = f"|{self.left.text}|" if self.size else self.left.text
        return f"{left} {self.operator} {self.right.text}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a comparison says of one bar. `side`: of a crossing, on which side of the right
    operand the left one is, 0 for unknown."""

    holds: bool
    value: float
    threshold: float
    side: int


def read(comparison: Comparison, values: Mapping[str, float], firing: bool, side: int) -> Reading | None:
    """The comparison over the values of a bar; None where one of them is missing.

    `firing` and `side` are what was known after the bar before.
    """
    value, threshold = comparison.left.of(values), comparison.right.of(values)
    if not (math.isfinite(value) and math.isfinite(threshold)):
        return None
    value = abs(value) if comparison.size else value
    gap, slack = value - threshold, comparison.hysteresis
    now = (1 if gap > slack else -1 if gap < -slack else side) if comparison.crossing else 0
    return Reading(_holds(comparison.operator, gap, slack if firing else 0.0, side, now), value, threshold, now)


def _holds(operator: Operator, gap: float, slack: float, side: int, now: int) -> bool:
    match operator:
        case ">":
            return gap > -slack
        case ">=":
            return gap >= 0 or gap > -slack
        case "<":
            return gap < slack
        case "<=":
            return gap <= 0 or gap < slack
        case "crosses":
            return side * now < 0
        case "crosses_above":
            return side < 0 < now
        case "crosses_below":
            return now < 0 < side


def parse_expression(text: str, hysteresis: float = 0.0) -> Comparison:
    """The comparison that a text says. Raises InputError that names what is wrong and what there is."""
    words = text.split()
    if len(words) == 4 and words[1] == "crosses":
        words[1:3] = [f"crosses_{words[2]}"]
    if len(words) != 3:
        raise InputError(f"not a comparison of two things with spaces around its operator, as `rsi:14 > 70`: {text!r}")
    left, operator, right = words
    if operator not in OPERATORS:
        raise InputError(f"unknown operator {operator!r}; known: {', '.join(OPERATORS)}")
    found = Comparison(operand(left), operator, operand(right), hysteresis)  # type: ignore[arg-type]
    if found.left.number is not None and found.right.number is not None:
        raise InputError(f"two numbers: {text!r}; one side has to be a field ({', '.join(FIELDS)}) or an indicator")
    return found


def operand(text: str) -> Operand:
    """A number, a field of the bar, `rsi:14`, or `bbands:20,2.upper`. Raises InputError."""
    if _NUMBER.fullmatch(text):
        return Operand(text, number=float(text))
    if text in FIELDS:
        return Operand(text, name=text)
    match = _OUTPUT.fullmatch(text)
    indicator = parse(match[1] if match else text)
    output = match[2] if match else indicator.name if indicator.name in indicator.outputs else indicator.outputs[0]
    try:
        name = column(indicator, output)
    except InputError as error:
        raise InputError(f"{text}: {error}") from None
    return Operand(text, name=name, indicator=indicator)
