"""Recorded bars with anomalies put into them, so that it is known what a rule should find. Pure functions, seeded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.hours import spans, within
from core.indicators.base import Array
from core.intervals import MINUTE_US
from ml.dataset import read_bars

Ints = NDArray[np.int64]

WARM_UP = 120
"""Minutes at the beginning of a part in which nothing is injected and nothing is counted."""
APART = 45
"""Minutes between two injections, and up to a third more."""
BURST_BARS = 3
SILENT_MINUTES = 10
GRACE_BARS = 1


@dataclass(frozen=True)
class Kind:
    """A way to spoil bars, in these sizes; `bars` is how many it touches."""

    name: str
    sizes: tuple[float, ...]
    unit: str
    bars: int


KINDS = (
    Kind("spike", (0.5, 1.0, 3.0, 6.0), "% of the price of one bar", 1),
    Kind("shift", (0.5, 1.0, 3.0, 6.0), "% of all prices from a bar on", 1),
    Kind("burst", (4.0, 8.0, 16.0), f"times the volume of {BURST_BARS} bars", BURST_BARS),
    Kind("silence", (float(SILENT_MINUTES),), "minutes without a bar", SILENT_MINUTES),
)


@dataclass(frozen=True)
class Tape:
    """The minute bars of one symbol, arrays (bars,); `counted` is the half-open range of time that is looked at."""

    name: str
    group: str
    calendar: str
    start: Ints
    close: Array
    volume: Array
    counted: tuple[int, int]

    @property
    def days(self) -> int:
        """Days of UTC in the counted part that have bars."""
        inside = self.start[(self.start >= self.counted[0]) & (self.start < self.counted[1])]
        return len(np.unique(inside // (1440 * MINUTE_US)))

    def only(self, keep: NDArray[np.bool_]) -> "Tape":
        return replace(self, start=self.start[keep], close=self.close[keep], volume=self.volume[keep])


@dataclass(frozen=True)
class Spoiled:
    """A tape with anomalies of one kind and size; `events` are the half-open ranges of time that each touches."""

    tape: Tape
    kind: Kind
    size: float
    events: tuple[tuple[int, int], ...]


SOURCES = (
    ("us_equity_2013/bars_1m", "equities", "XNYS"),
    ("us_equity_minutes/bars_1m/AAPL.parquet", "equities", "XNYS"),
    ("crypto_bars/coinbase_BTC-USD_2016_1m.parquet", "crypto", "24/7"),
    ("crypto_bars/coinbase_BTC_ETH_2018_1m.parquet", "crypto", "24/7"),
    ("crypto_binance_xrpeth_2019/bars_1m/XRPETH.parquet", "thin crypto", "24/7"),
    ("crypto_bars/bittrex_XRPBTC_multi_interval.parquet", "thin crypto", "24/7"),
)
CHOOSE, TEST = "choose", "test"
PARTS = {CHOOSE: (0.0, 0.6), TEST: (0.6, 1.0)}
"""Shares of a tape's days: thresholds are chosen on the first, and what is reported is the second."""


def tapes(folder: Path, part: str) -> list[Tape]:
    """The recorded minute bars; a part sees all bars before it too, as a running system would."""
    if not folder.is_dir():
        raise InputError(f"no recorded bars at {folder}")
    return [tape for path, group, calendar in SOURCES for tape in _read(folder / path, group, calendar, part)]


def _read(path: Path, group: str, calendar: str, part: str) -> Iterator[Tape]:
    for symbol, bars in read_bars(path, "1m" if "multi" in path.name else None).groupby("symbol"):
        start = bars["start"].dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
        close, volume = bars["close"].to_numpy(float), bars["volume"].to_numpy(float)
        days = np.unique(start // (1440 * MINUTE_US))
        low, high = (days[min(round(share * len(days)), len(days) - 1)] for share in PARTS[part])
        until = int(days[-1] + 1 if PARTS[part][1] == 1 else high) * 1440 * MINUTE_US
        year = str(start[0].astype("datetime64[us]").astype("datetime64[Y]"))
        tape = Tape(f"{symbol} {year}", group, calendar, start, close, volume, (int(low) * 1440 * MINUTE_US, until))
        yield tape.only(start < until)


def spoiled(tape: Tape, kind: Kind, size: float, seed: int) -> Spoiled:
    """A copy of a tape with as many anomalies as fit; those of a seed are the same for each size."""
    rng = np.random.default_rng([seed, len(tape.start), KINDS.index(kind)])
    places = _places(tape, kind, rng)
    signs = rng.choice((-1.0, 1.0), len(places))
    close, volume, keep = tape.close.copy(), tape.volume.copy(), np.ones(len(tape.start), bool)
    for place, sign in zip(places, signs.tolist(), strict=True):
        touched = slice(place, place + kind.bars)
        if kind.name == "spike":
            close[place] *= 1 + sign * size / 100
        elif kind.name == "shift":
            close[place:] *= 1 + sign * size / 100
        elif kind.name == "burst":
            volume[touched] *= size
        else:
            keep &= (tape.start < tape.start[place]) | (tape.start >= tape.start[place] + SILENT_MINUTES * MINUTE_US)
    events = tuple(_touched(tape, kind, place) for place in places)
    return Spoiled(replace(tape, close=close, volume=volume).only(keep), kind, size, events)


def _places(tape: Tape, kind: Kind, rng: np.random.Generator) -> list[int]:
    """Bars at which an anomaly begins: inside sessions, apart, and with the bars it touches right behind them."""
    hours = spans(tape.calendar, "rth", int(tape.start[0]), int(tape.start[-1]) + MINUTE_US)
    place, found = int(np.searchsorted(tape.start, tape.counted[0] + WARM_UP * MINUTE_US)), []
    while place + SILENT_MINUTES + 5 < len(tape.start):
        begin, end = _touched(tape, kind, place)
        if within(begin, hours) and within(end, hours) and end - begin <= 2 * (kind.bars + 1) * MINUTE_US:
            found.append(place)
            place += APART + int(rng.integers(0, APART // 3))
        else:
            place += 1
    return found


def _touched(tape: Tape, kind: Kind, place: int) -> tuple[int, int]:
    """From the first bar touched to the end of the last one, and the grace for what is seen in the bar after."""
    begin = int(tape.start[place])
    if kind.name == "silence":
        return begin, begin + (SILENT_MINUTES + GRACE_BARS) * MINUTE_US
    return begin, int(tape.start[place + kind.bars - 1 + GRACE_BARS]) + MINUTE_US


def caught(events: Sequence[tuple[int, int]], alarms: Sequence[int]) -> tuple[list[int | None], int]:
    """Of each event the minutes to the first alarm within it, None for none; and how many alarms hit none.

    Alarms are the starts of bars, ascending.
    """
    hit: set[int] = set()
    delays: list[int | None] = []
    for begin, end in events:
        within_it = [alarm for alarm in alarms if begin <= alarm < end]
        hit.update(within_it)
        delays.append((within_it[0] - begin) // MINUTE_US if within_it else None)
    return delays, sum(alarm not in hit for alarm in alarms)
