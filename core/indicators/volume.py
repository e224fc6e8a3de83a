"""Volume-weighted prices, relative and on-balance volume."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from core.indicators.base import Array, Bars, Indicator, Outputs, columns, divide, period
from core.indicators.smoothing import FEW_KEYS
from core.indicators.window import Window, Windowed, mean, over_usable, total


@dataclass(frozen=True)
class Vwap(Indicator):
    """Session VWAP: sum of notional / sum of volume since the session began; NaN while nothing was traded.

    The first session is counted from the first bar seen, which may stand in its middle.
    State: counter, session, notional, volume.
    """

    name: ClassVar[str] = "vwap"
    inputs: ClassVar[tuple[str, ...]] = ("volume", "notional", "session")
    outputs: ClassVar[tuple[str, ...]] = ("vwap",)

    @property
    def width(self) -> int:
        return 4

    @property
    def ready_after(self) -> int:
        return 1

    def advance(self, state: Array, bars: Bars) -> Array:
        return columns(state[:, 0] + 1, bars.session, *_since_open(state.T[1:], bars))

    def read(self, state: Array) -> Outputs:
        return {"vwap": divide(state[:, 2], state[:, 3], otherwise=np.nan)}

    def held(self, state: Array) -> Array:
        return state[:, 1:]

    def formed(self, held: Array, bars: Bars) -> Outputs:
        return {"vwap": divide(*_since_open(held, bars), otherwise=np.nan)}

    def scan(self, bars: Bars) -> Outputs:
        return super().scan(bars) if bars.close.shape[1] > FEW_KEYS else over_usable(self, bars, self._by_key)

    def _by_key(self, bars: Bars) -> Outputs:
        notional, volume = np.empty(bars.close.shape), np.empty(bars.close.shape)
        for key, sessions in enumerate(bars.session.T.tolist()):
            notional[:, key] = _since_start(sessions, bars.notional[:, key].tolist())
            volume[:, key] = _since_start(sessions, bars.volume[:, key].tolist())
        return {"vwap": divide(notional, volume, otherwise=np.nan)}


def _since_open(held: Array, bars: Bars) -> tuple[Array, Array]:
    """Notional and volume of the session with one more bar, from the session, notional and volume before."""
    session, notional, volume = held
    same = session == bars.session
    return np.where(same, notional, 0) + bars.notional, np.where(same, volume, 0) + bars.volume


def _since_start(sessions: list[float], values: list[float]) -> list[float]:
    """The running sum within each session."""
    sums, held, current = [], 0.0, 0.0
    for session, value in zip(sessions, values, strict=True):
        held = (held if session == current else 0.0) + value
        current = session
        sums.append(held)
    return sums


@dataclass(frozen=True)
class Rvwap(Windowed):
    """Rolling VWAP: sum of notional / sum of volume over the last N bars; NaN where nothing was traded in them."""

    name: ClassVar[str] = "rvwap"
    inputs: ClassVar[tuple[str, ...]] = ("notional", "volume")
    outputs: ClassVar[tuple[str, ...]] = ("rvwap",)
    length: int = period(20)

    @property
    def ready_after(self) -> int:
        return self.length

    def formula(self, *windows: Window) -> Outputs:
        notional, volume = windows
        return {"rvwap": divide(total(notional), total(volume), otherwise=np.nan)}


@dataclass(frozen=True)
class Relvol(Windowed):
    """Relative volume: the volume / the mean volume of the N bars before; NaN where nothing was traded in these."""

    name: ClassVar[str] = "relvol"
    inputs: ClassVar[tuple[str, ...]] = ("volume",)
    outputs: ClassVar[tuple[str, ...]] = ("relvol",)
    length: int = period(20)

    @property
    def ready_after(self) -> int:
        return self.length + 1

    def formula(self, *windows: Window) -> Outputs:
        volumes = windows[0]
        return {"relvol": divide(volumes[-1], mean(volumes[:-1]), otherwise=np.nan)}


@dataclass(frozen=True)
class Obv(Indicator):
    """On-balance volume (J. Granville): the volume added on a rise of the close and subtracted on a fall.

    It begins with the first bar's volume (TA-Lib), so its level depends on where the series begins for ever; only
    differences of it carry a meaning. State: counter, last close, level.
    """

    name: ClassVar[str] = "obv"
    inputs: ClassVar[tuple[str, ...]] = ("close", "volume")
    outputs: ClassVar[tuple[str, ...]] = ("obv",)

    @property
    def width(self) -> int:
        return 3

    @property
    def ready_after(self) -> int:
        return 1

    def advance(self, state: Array, bars: Bars) -> Array:
        count, last, level = state.T
        return columns(count + 1, bars.close, np.where(count > 0, _level(last, level, bars), bars.volume))

    def read(self, state: Array) -> Outputs:
        return {"obv": state[:, 2]}

    def held(self, state: Array) -> Array:
        count, last, level = state.T
        return columns(np.where(count > 0, last, -np.inf), level)  # the first close has risen

    def formed(self, held: Array, bars: Bars) -> Outputs:
        return {"obv": _level(held[0], held[1], bars)}

    def scan(self, bars: Bars) -> Outputs:
        return over_usable(self, bars, self._scanned)

    def _scanned(self, bars: Bars) -> Outputs:
        signed = np.sign(np.diff(bars.close, axis=0)) * bars.volume[1:]
        return {"obv": np.add.accumulate(np.concatenate([bars.volume[:1], signed]), axis=0)}


def _level(last: Array, level: Array, bars: Bars) -> Array:
    """The level one bar on."""
    return np.asarray(level + np.sign(bars.close - last) * bars.volume)
