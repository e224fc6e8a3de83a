"""From what was seen to latencies: pure functions over arrays.

A tick's latency runs from its stamp, taken as it was sent, to the arrival of the first row of its 1-minute bar that
includes it and all ticks before it. So it is also fair to whoever conflates: a tick that shares a row with later ones
waited for that row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# A checkpoint's pause lasts a few 100 ms; what piled up meanwhile is gone within this time.
CHECKPOINT_US = 1_500_000
MINUTE_US = 60_000_000
PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


@dataclass(frozen=True)
class TickLog:
    """Ticks in the order of their offsets; `symbol` is an index into `names`, `event_us` the stamp."""

    names: Sequence[str]
    symbol: np.ndarray
    offset: np.ndarray
    event_us: np.ndarray

    def between(self, start_us: int, end_us: int) -> "TickLog":
        """Those with a stamp in `[start_us, end_us)`."""
        kept = (self.event_us >= start_us) & (self.event_us < end_us)
        return TickLog(self.names, self.symbol[kept], self.offset[kept], self.event_us[kept])


@dataclass(frozen=True)
class Seen:
    """Rows of 1-minute bars in the order of their arrival, as `benchmarks.watch` noted them."""

    names: Sequence[str]
    symbol: np.ndarray
    arrival_us: np.ndarray
    start: np.ndarray
    last_offset: np.ndarray
    trade_count: np.ndarray

    def since(self, start_us: int) -> "Seen":
        """The rows of bars that start there or later."""
        kept = self.start >= start_us
        columns = (self.symbol, self.arrival_us, self.start, self.last_offset, self.trade_count)
        return Seen(self.names, *(column[kept] for column in columns))

    @classmethod
    def load(cls, path: Path) -> "Seen":
        with np.load(path) as held:
            columns = (held[name] for name in ("symbol", "arrival_us", "start", "last_offset", "trade_count"))
            return cls(held["names"].tolist(), *columns)


def missing(log: TickLog, seen: Seen) -> np.ndarray:
    """Per row, how many ticks of its minute up to its last offset it does not count; negative: counted twice.

    `log` must hold the minutes of all rows from their beginning. A row may overtake: the live query's two shuffles
    can hand a bar a later tick before an earlier one, whose row then follows.
    """
    result = np.zeros(len(seen.start), np.int64)
    ticks = _by_bar(log.names, log.symbol, log.event_us)
    for bar, rows in _by_bar(seen.names, seen.symbol, seen.start).items():
        offsets = log.offset[ticks.get(bar, _NONE)]
        result[rows] = np.searchsorted(offsets, seen.last_offset[rows], "right") - seen.trade_count[rows]
    return result


def latencies_us(ticks: TickLog, seen: Seen, complete: np.ndarray) -> np.ndarray:
    """Per tick, microseconds from its stamp to the first complete row that includes it; -1 where none does.

    `complete` says which rows miss nothing: only of those is it certain what they include.
    """
    latency = np.full(len(ticks.offset), -1, np.int64)
    rows_of = _by_bar(seen.names, seen.symbol, seen.start)
    for bar, mine in _by_bar(ticks.names, ticks.symbol, ticks.event_us).items():
        rows = rows_of.get(bar, _NONE)
        rows = rows[complete[rows]]
        # After a restart rows are repeated from the checkpoint on: what was seen once stays seen.
        reached = np.maximum.accumulate(seen.last_offset[rows])
        position = np.searchsorted(reached, ticks.offset[mine], "left")
        found = position < len(rows)
        arrival = seen.arrival_us[rows[position[found]]]
        latency[mine[found]] = arrival - ticks.event_us[mine[found]]
    return latency


def last_rows(seen: Seen) -> np.ndarray:
    """The position of the last row of each bar."""
    return np.array([rows[-1] for rows in _by_bar(seen.names, seen.symbol, seen.start).values()], np.int64)


_NONE = np.empty(0, np.int64)


def _by_bar(names: Sequence[str], symbol: np.ndarray, time_us: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
    """Positions by (symbol, minute), in their order."""
    key = symbol << 32 | time_us // MINUTE_US
    order = np.argsort(key, kind="stable")
    bars, starts = np.unique(key[order], return_index=True)
    parts = np.split(order, starts[1:]) if len(bars) else []
    return {(names[bar >> 32], bar & 0xFFFFFFFF): part for bar, part in zip(bars.tolist(), parts, strict=True)}


def outside(times_us: np.ndarray, moments_us: Sequence[int], margin_us: int = CHECKPOINT_US) -> np.ndarray:
    """Which times are further than the margin from every moment."""
    kept = np.ones(len(times_us), bool)
    for moment in moments_us:
        kept &= np.abs(times_us - moment) > margin_us
    return kept


def summary(latency_us: np.ndarray) -> dict[str, float]:
    """Percentiles in milliseconds of the ticks that were seen, and how many were and were not."""
    found = latency_us[latency_us >= 0]
    counts = {"ticks": len(latency_us), "unseen": len(latency_us) - len(found)}
    if not len(found):
        return counts
    values = np.percentile(found, list(PERCENTILES.values())) / 1000
    return counts | {name: round(float(value), 2) for name, value in zip(PERCENTILES, values, strict=True)}


def checkpoints_us(commits: Path, start_us: int, end_us: int) -> list[int]:
    """When a query committed its batches, from the times of the files in its checkpoint's folder `commits`."""
    files = [path for path in commits.glob("*") if path.name.isdigit()]
    times = sorted(path.stat().st_mtime_ns // 1000 for path in files)
    return [moment for moment in times if start_us - CHECKPOINT_US <= moment <= end_us + CHECKPOINT_US]
