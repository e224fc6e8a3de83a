"""Bars by hand for the rules: closes and volumes minute by minute, judged at once or in any parts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from core.anomalies import Finding, Judge, Limits
from core.indicators import bars_of
from core.intervals import INTERVALS, MINUTE_US

BEGIN_US = 1_709_551_800_000_000  # 2024-03-04T11:30:00Z
LIMITS = Limits()


@dataclass(frozen=True)
class Series:
    """One symbol's bars; a minute that is None has no bar."""

    closes: Sequence[float | None]
    volumes: Sequence[float] = ()
    symbol: str = "AAA"
    begin_us: int = BEGIN_US
    latencies: Sequence[float] = field(default_factory=tuple)

    def rows(self) -> list[dict[str, Any]]:
        found = []
        for minute, close in enumerate(self.closes):
            if close is not None:
                volume = self.volumes[minute] if self.volumes else 100.0
                latency = self.latencies[minute] if self.latencies else np.nan
                start = self.begin_us + minute * MINUTE_US
                found.append({"symbol": self.symbol, "start": start, "close": close, "volume": volume, "ms": latency})
        return found

    def scaled(self, price: float, volume: float) -> "Series":
        closes = [None if close is None else close * price for close in self.closes]
        return replace(self, closes=closes, volumes=[each * volume for each in self.volumes])


def judge(interval: str = "1m", limits: Limits = LIMITS, **options: Any) -> Judge:
    return Judge(INTERVALS[interval], limits, **options)


def take(by: Judge, rows: Sequence[dict[str, Any]], rev: int = 1) -> list[Finding]:
    """Findings of rows, all at once."""
    close = np.array([row["close"] for row in rows], np.float64)
    volume = np.array([row["volume"] for row in rows], np.float64)
    start = np.array([row["start"] for row in rows], np.int64)
    bars = bars_of(close, close, close, close, volume, close * volume, start)
    told = np.array([row["ms"] for row in rows], np.float64)
    return by.take([row["symbol"] for row in rows], start, bars, [rev] * len(rows), told)


def found(series: Series, rule: str | None = None, **options: Any) -> list[Finding]:
    """The findings of a series in one go, of one rule or of all."""
    every = take(judge(**options), series.rows())
    return [each for each in every if rule in (None, each.rule)]


def minutes(findings: Sequence[Finding]) -> list[tuple[int, str, str]]:
    """Minute, state, severity."""
    return [((each.start - BEGIN_US) // MINUTE_US, each.state, each.severity) for each in findings]


def quiet(count: int, price: float = 100.0, seed: int = 1, sigma: float = 0.0005) -> list[float]:
    """A price that moves by about 0.05 % a minute."""
    moves = np.random.default_rng(seed).normal(0, sigma, count)
    return (price * np.exp(np.cumsum(moves))).tolist()
