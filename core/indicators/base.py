"""What an indicator is: parameters, and pure functions over an explicit state of fixed size.

A state is a float64 array of shape (keys, width), one row per (symbol, interval). The row is the whole memory of its
key: column 0 counts the bars taken in, the rest is the indicator's own. Keys never influence one another.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate, pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError

Array = NDArray[np.float64]
Outputs = dict[str, Array]

MAX_PERIOD = 5000
FADED = 1e-9


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar per key, arrays of shape (keys,); for `scan` a history of them, arrays of shape (bars, keys).

    NaN stands for what a bar does not have. `session` holds integers; VWAP starts anew where it changes. `minute` are
    the minutes from the session's open to the bar's start.
    """

    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    notional: Array
    session: Array
    minute: Array

    def at(self, bar: int | NDArray[np.int64]) -> "Bars":
        """The bars of one position of a history, or of several rows."""
        return Bars(*(getattr(self, column)[bar] for column in BAR_FIELDS))

    def only(self, usable: NDArray[np.bool_]) -> "Bars":
        """The same with NaN in every field of the other bars, so that no arithmetic trips over what they hold."""
        if usable.all():
            return self
        return Bars(*(np.where(usable, getattr(self, column), np.nan) for column in BAR_FIELDS))


BAR_FIELDS: tuple[str, ...] = tuple(item.name for item in fields(Bars))


@dataclass(frozen=True, slots=True)
class Limits:
    """The type and the closed range of a parameter."""

    kind: type[int] | type[float]
    low: float
    high: float

    def admit(self, value: object) -> bool:
        kinds = int if self.kind is int else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high


def period(default: int, low: int = 1) -> Any:
    """A dataclass field for a number of bars."""
    return field(default=default, metadata={"limits": Limits(int, low, MAX_PERIOD)})


def factor(default: float, low: float, high: float) -> Any:
    """A dataclass field for a number with decimals."""
    return field(default=default, metadata={"limits": Limits(float, low, high)})


@dataclass(frozen=True)
class Indicator(ABC):
    """Subclass as a frozen dataclass of parameters made with `period` and `factor`, in a file of this folder.

    To write: `width`, `ready_after`, `advance` and `read`. A faster `scan` may replace the inherited one if it gives
    the same bits. All functions are pure: no argument is modified, no clock, no I/O.
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    """The fields of `Bars` that must be numbers; a bar that lacks one leaves the state as it is."""
    outputs: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        for item in fields(self):
            limits: Limits = item.metadata["limits"]
            value = getattr(self, item.name)
            if not limits.admit(value):
                what = "a whole number" if limits.kind is int else "a number"
                raise InputError(
                    f"{self.name}: {item.name} must be {what} between {limits.low:g} and {limits.high:g}, not {value}"
                )
            object.__setattr__(self, item.name, limits.kind(value))

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers in a row of the state."""

    @property
    @abstractmethod
    def ready_after(self) -> int:
        """Usable bars until there is a value."""

    @property
    def stable_after(self) -> int:
        """Usable bars until what came before them weighs less than 1e-9 in the value."""
        return self.ready_after

    @property
    def spec(self) -> str:
        """The canonical text with all parameters: `rsi:14`."""
        values = ",".join(number_text(getattr(self, item.name)) for item in fields(self))
        return f"{self.name}:{values}" if values else self.name

    def __str__(self) -> str:
        return self.spec

    def initial(self, keys: int) -> Array:
        """The state before the first bar."""
        return np.zeros((keys, self.width))

    def step(self, state: Array, bars: Bars) -> Array:
        """The state after one more bar of every key; rows whose bar lacks an input stay as they are."""
        usable = self.usable(bars)
        if usable.all():
            return self.advance(state, bars)
        return keep(usable, self.advance(state, bars.only(usable)), state)

    def value(self, state: Array) -> Outputs:
        """The outputs, arrays of shape (keys,): NaN until ready, and where the formula is undefined."""
        ready = self.ready(state)
        return {output: np.where(ready, values, np.nan) for output, values in self.read(state).items()}

    def scan(self, bars: Bars) -> Outputs:
        """The value after every bar of a history, arrays of shape (bars, keys): `step` and `value` bar by bar."""
        state = self.initial(bars.close.shape[1])
        found = {output: np.empty(bars.close.shape) for output in self.outputs}
        for bar in range(len(bars.close)):
            state = self.step(state, bars.at(bar))
            for output, values in self.value(state).items():
                found[output][bar] = values
        return found

    def usable(self, bars: Bars) -> NDArray[np.bool_]:
        """Which bars have every input as a finite number."""
        first, *others = self.inputs
        usable: NDArray[np.bool_] = np.isfinite(getattr(bars, first))
        for column in others:
            usable &= np.isfinite(getattr(bars, column))
        return usable

    def ready(self, state: Array) -> NDArray[np.bool_]:
        return np.greater_equal(state[:, 0], self.ready_after)

    def stable(self, state: Array) -> NDArray[np.bool_]:
        return np.greater_equal(state[:, 0], self.stable_after)

    @abstractmethod
    def advance(self, state: Array, bars: Bars) -> Array:
        """A new array: the state with one more bar of every key; `step` drops the rows whose bar is not usable."""

    @abstractmethod
    def read(self, state: Array) -> Outputs:
        """The outputs of a state; what it gives for rows that are not ready is dropped by `value`."""

    def held(self, state: Array) -> Array:
        """What of a state the outputs after one more bar take, (keys, any width): once for all moves of the bar."""
        return state

    def formed(self, held: Array, bars: Bars) -> Outputs:
        """`read(advance(state, bars))` from the columns of `held(state)`, (width, keys), which are for it to overwrite.

        Need not hold for the bar that makes the first value, unless that is the first of all.
        """
        return self.read(self.advance(held.T, bars))

    def to_bytes(self, row: Array) -> bytes:
        """One row of a state as little-endian doubles."""
        if row.shape != (self.width,):
            raise ValueError(f"{self.spec}: a state has {self.width} numbers, this array has shape {row.shape}")
        return row.astype("<f8").tobytes()

    def from_bytes(self, data: bytes) -> Array:
        """The row that `to_bytes` wrote. Raises ValueError when it is not one of this indicator."""
        if len(data) != 8 * self.width:
            raise ValueError(f"{self.spec}: a state has {8 * self.width} bytes, these are {len(data)}")
        return np.frombuffer(data, "<f8").astype(np.float64)


def keep(where: NDArray[np.bool_], new: Array, old: Array) -> Array:
    """Rows of `new` where the condition holds, of `old` elsewhere."""
    return np.where(where[:, None], new, old)


def columns(*parts: Array) -> Array:
    """A state put together from columns (keys,) and blocks (keys, width)."""
    return np.concatenate([part if part.ndim == 2 else part[:, None] for part in parts], axis=1)


def blocks(state: Array, widths: Sequence[int]) -> list[Array]:
    """What `columns` put together, taken apart again as blocks; the counter in column 0 is left out."""
    return [state[:, left:right] for left, right in pairwise(accumulate(widths, initial=1))]


def divide(dividend: Array, divisor: Array, otherwise: float) -> Array:
    """The quotient, and `otherwise` where the divisor is zero."""
    if np.count_nonzero(divisor) == divisor.size:
        return np.asarray(dividend / divisor)
    return np.divide(dividend, divisor, out=np.full_like(divisor, otherwise), where=divisor != 0)


def number_text(number: float) -> str:
    """A parameter as people write it: 2 for 2.0, 2.5 for 2.5."""
    return str(int(number)) if number == int(number) else repr(number)
