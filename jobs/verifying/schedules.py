"""Orders of arrival that must not matter: what a schedule says, and the arrivals that it makes of a part."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from core.errors import InputError

Engine = Literal["fold", "stream", "killed", "batch"]
Order = Literal["in order", "shuffled", "reversed", "anyhow"]
Pace = Literal["one gulp", "steady", "bursts", "trickle"]
Crash = tuple[int, Literal["before", "after"]]
"""In which write of the sink it happens, and whether before or after anything was written."""

_OF_LATENESS = 0.98
ENGINES: dict[str, tuple[Engine, ...]] = {
    "python": ("fold",),
    "spark": ("stream", "killed", "batch"),
    "both": ("fold", "stream", "killed", "batch"),
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a part arrives. `shuffled` and `reversed` stay within the watermark, `anyhow` (of a batch) does not.

    `keyed`: a symbol's ticks in one partition, as a producer has it; else each anywhere. `copies` is the share of
    ticks that come twice. `pace` says how event time is cut into micro-batches: one for all, one for each stretch of
    time, sizes at random, or some of single ticks. `kills` are real SIGKILLs. `amended`: some trades come behind the
    watermark, some are corrected, some cancelled.
    """

    name: str
    engine: Engine
    order: Order = "shuffled"
    partitions: int = 2
    keyed: bool = True
    copies: float = 0.0
    pace: Pace = "bursts"
    batches: int = 6
    crashes: tuple[Crash, ...] = ()
    kills: int = 0
    shuffles: int = 2
    amended: bool = False
    seed: int = 0

    @property
    def told(self) -> str:
        """What is done to the ticks, in words."""
        if self.engine == "batch":
            parts = [self.order, f"{self.partitions} files"]
        else:
            parts = [self.order, f"{self.partitions} {'keyed' if self.keyed else 'mixed'} partitions"]
            parts.append(f"{self.batches} batches, {self.pace}")
        said = {
            f"{self.copies:.0%} twice": self.copies,
            f"{len(self.crashes)} crashes": self.crashes,
            f"{self.kills} x kill -9": self.kills,
            "amended": self.amended,
        }
        return ", ".join([*parts, *(words for words, applies in said.items() if applies)])


_FIXED = (
    Schedule("as it was", "stream", "in order", pace="steady", batches=4),
    Schedule("plain fold", "fold", "in order", pace="one gulp", batches=1),
    Schedule("whole files", "batch", "in order", partitions=0),
    Schedule("shuffled", "stream", copies=0.03),
    Schedule("shuffled, crashing", "fold", copies=0.1, batches=40, crashes=((3, "before"), (11, "after"),
             (12, "after"))),
    Schedule("reversed", "stream", "reversed", partitions=3, batches=5, shuffles=3),
    Schedule("any order", "batch", "anyhow", partitions=1, keyed=False, copies=0.05, shuffles=1),
    Schedule("late, corrected, cancelled", "fold", amended=True, copies=0.02, batches=20),
    Schedule("crash before a write", "stream", copies=0.02, crashes=((2, "before"),), batches=5),
    Schedule("sixteen partitions", "fold", partitions=16, keyed=False, batches=25),
    Schedule("crash after a write", "stream", "reversed", crashes=((1, "after"), (3, "after")), batches=5),
    Schedule("many files", "batch", "anyhow", partitions=11, keyed=False, copies=0.2, shuffles=7),
    Schedule("killed", "killed", copies=0.02, kills=1, batches=8),
    Schedule("mixed partitions", "stream", partitions=5, keyed=False, copies=0.05, batches=4, shuffles=4),
    Schedule("one tick at a time", "fold", "reversed", pace="trickle", batches=400, crashes=((200, "after"),)),
    Schedule("one gulp", "stream", partitions=1, copies=0.5, pace="one gulp", batches=1, shuffles=1),
    Schedule("late, corrected, crashing", "fold", "reversed", partitions=7, amended=True, batches=30,
             crashes=((7, "before"), (19, "after"))),
    Schedule("fast and slow", "stream", partitions=2, pace="trickle", batches=9, crashes=((5, "before"),)),
    Schedule("killed twice", "killed", "reversed", partitions=3, kills=2, batches=9),
    Schedule("sixteen partitions, repeated", "stream", partitions=16, keyed=False, copies=0.3, batches=3, shuffles=5),
)  # fmt: skip


def schedules(count: int, engine: str, seed: int) -> list[Schedule]:
    """So many for an engine of ENGINES: the fixed ones first, then some at random. `seed` turns all of them."""
    if count < 1:
        raise InputError("at least one schedule is needed")
    wanted, rng = ENGINES[engine], np.random.default_rng(seed)
    found = [each for each in _FIXED if each.engine in wanted][:count]
    while len(found) < count:
        found.append(_drawn(len(found), wanted, rng))
    return [replace(each, seed=seed * 1_000 + number) for number, each in enumerate(found)]


def _drawn(number: int, engines: Sequence[Engine], rng: np.random.Generator) -> Schedule:
    # A process that is killed costs a minute, so that chance leaves it to the fixed ones.
    engine = [each for each in engines if each != "killed"][int(rng.integers(len(engines) - ("killed" in engines)))]
    batches = int(rng.integers(2, {"fold": 60, "stream": 7, "batch": 3}[engine]))
    orders: tuple[Order, ...] = ("anyhow",) if engine == "batch" else ("shuffled", "reversed", "in order")
    paces: tuple[Pace, ...] = ("steady", "bursts", "trickle")
    crashes = sorted(int(at) for at in rng.integers(0, batches, int(rng.integers(0, 3)))) if engine != "batch" else ()
    return Schedule(
        f"at random {number + 1}",
        engine,
        orders[int(rng.integers(len(orders)))],
        partitions=int(rng.integers(1, 17)),
        keyed=bool(rng.random() < 0.5),
        copies=float(rng.choice([0.0, 0.02, 0.2])),
        pace=paces[int(rng.integers(len(paces)))],
        batches=batches,
        crashes=tuple((at, ("before", "after")[int(rng.integers(2))]) for at in crashes),
        shuffles=int(rng.integers(1, 9)),
        amended=engine == "fold" and bool(rng.random() < 0.3),
    )


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Row numbers of a part in the order of arrival, by micro-batch and then partition; all arrays of one length."""

    row: np.ndarray
    partition: np.ndarray
    batch: np.ndarray
    received_us: np.ndarray
    batches: int


def arrange(ticks: pd.DataFrame, schedule: Schedule, lateness_us: int) -> Arrivals:
    """The arrivals of a part. Within a partition no tick comes more than the lateness after one that is newer."""
    rng = np.random.default_rng(schedule.seed)
    event_us = ticks["event_us"].to_numpy()
    row = np.arange(len(ticks))
    row = np.concatenate([row, rng.choice(row, int(len(row) * schedule.copies), replace=False)])
    arrival_us = _arrival(event_us[row], schedule.order, int(lateness_us * _OF_LATENESS), rng)
    partition = _partition(ticks["symbol"].to_numpy()[row], schedule, rng)
    order = np.lexsort((rng.permutation(len(row)) if schedule.order != "in order" else row, arrival_us))
    row, partition, arrival_us = row[order], partition[order], arrival_us[order]
    batch = np.zeros(len(row), np.int64)
    for number in range(schedule.partitions):
        own = np.flatnonzero(partition == number)
        batch[own] = _cut(arrival_us[own], schedule, rng)
    order = np.lexsort((np.arange(len(row)), partition, batch))
    return Arrivals(row[order], partition[order], batch[order], arrival_us[order], schedule.batches)


def _arrival(event_us: np.ndarray, order: Order, span_us: int, rng: np.random.Generator) -> np.ndarray:
    """When each tick arrives, on the clock of event time."""
    if order == "shuffled":
        return event_us + rng.integers(0, span_us, len(event_us))
    if order == "reversed":
        half = span_us // 2
        return event_us - event_us % half + (half - 1 - event_us % half)
    if order == "anyhow":
        return rng.permutation(len(event_us)) + int(event_us.min())
    return event_us


def _partition(symbols: np.ndarray, schedule: Schedule, rng: np.random.Generator) -> np.ndarray:
    if not schedule.keyed:
        return rng.integers(0, schedule.partitions, len(symbols))
    places = {symbol: zlib.crc32(str(symbol).encode()) % schedule.partitions for symbol in set(symbols.tolist())}
    return np.array([places[symbol] for symbol in symbols.tolist()], np.int64)


def _cut(arrival_us: np.ndarray, schedule: Schedule, rng: np.random.Generator) -> np.ndarray:
    """The micro-batch of each tick of one partition, ascending; partitions are read apart from each other."""
    size, count = len(arrival_us), schedule.batches
    if count == 1 or schedule.pace == "one gulp" or size == 0:
        return np.zeros(size, np.int64)
    if schedule.pace == "steady":
        edges = np.linspace(arrival_us[0], arrival_us[-1] + 1, count + 1)[1:-1]
        return np.searchsorted(edges, arrival_us, side="right")
    places = rng.integers(0, size + 1, count - 1)
    if schedule.pace == "trickle":
        first = int(rng.integers(0, size + 1))
        places = np.concatenate([np.arange(count // 2) + first, rng.integers(0, size + 1, count - 1 - count // 2)])
    return np.searchsorted(np.sort(places), np.arange(size), side="right")
