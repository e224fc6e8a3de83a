"""What a rule is: data, and one pure function over closed bars and the values of indicators after them.

A rule sees a bar and what indicators remember, so it cannot look ahead, and works on any number of bars at once. Its
value is compared with its threshold by a score: 0 at what is usual, 1 at the threshold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from core.anomalies.finding import SEVERITIES, Severity, rounded
from core.indicators.base import Array, Bars

Ints = NDArray[np.int64]
Measure = Callable[["Moment", "Limits"], Array]


@dataclass(frozen=True)
class Limits:
    """The thresholds of all rules, as the settings have them."""

    move_percent: float = 5.0
    volume_ratio: float = 3.0
    rsi_high: float = 70.0
    rsi_low: float = 30.0
    return_mad: float = 10.0
    return_ewma: float = 6.0
    return_percent: float = 0.5
    zscore: float = 4.5
    profile_ratio: float = 8.0
    silence_seconds: float = 300.0
    latency_ms: float = 100.0
    release: float = 0.9
    """The score below which a rule that fires is over."""
    warning: float = 1.5
    critical: float = 2.0
    """The scores from which a finding is worse than `info`."""

    @classmethod
    def of(cls, settings: object, prefix: str) -> "Limits":
        """From the fields of these names behind a prefix."""
        return cls(**{each.name: float(getattr(settings, prefix + each.name)) for each in fields(cls)})


@dataclass(frozen=True)
class Moment:
    """Closed bars of one interval, and what was known with each: arrays (bars,), NaN for what is not known."""

    bars: Bars
    values: Mapping[str, Array]
    """By column of the indicators: the values after that bar."""
    interval_us: int
    silent_s: Array
    """Seconds of the session without a trade up to the end of the bar; 0 with a trade."""
    latency_ms: Array
    """From the receipt of the bar's newest tick to Redis, while the bar was forming."""


@dataclass(frozen=True)
class Rule:
    """`measure` gives the value of each bar, NaN where there is nothing to judge: whatever was then goes on.

    `text` and `over` say in words what fires and that it is over; in braces: symbol, interval, close, value (with its
    sign taken off), limit, way (above or below, by the sign) and percent (the return of the bar).
    """

    name: str
    means: str
    measure: Measure
    limit: str
    """The field of `Limits` that is its threshold."""
    text: str
    over: str
    indicators: str = ""
    """The specs of what `measure` reads."""
    needs: str = "close"
    """The field without which a bar says nothing to this rule."""
    usual: float = 0.0
    """The value that is no surprise at all; a threshold below it fires below."""
    both: bool = False
    """Whether the value counts whatever its sign."""
    worst: Severity = "critical"
    """No finding is worse."""
    again: bool = True
    """Whether it is judged again where a bar was amended: not what depends on when data came, or on days of bars."""
    shortest_only: bool = False
    """Whether only the shortest interval is judged, since the others would say the same."""

    def threshold(self, limits: Limits) -> float:
        return float(getattr(limits, self.limit))

    def value(self, moment: Moment, limits: Limits) -> Array:
        """What `measure` gives, NaN for bars that lack what it needs: their indicators are those of the bar before."""
        return np.where(np.isfinite(getattr(moment.bars, self.needs)), self.measure(moment, limits), np.nan)

    def score(self, values: Array, limits: Limits) -> Array:
        """How far values are from the usual, in distances of the threshold from it."""
        distance = values - self.usual
        return np.asarray((np.abs(distance) if self.both else distance) / (self.threshold(limits) - self.usual))

    def at(self, score: float, limits: Limits) -> float:
        """The value that has a score."""
        return rounded(self.usual + score * (self.threshold(limits) - self.usual))

    def level(self, score: float, limits: Limits) -> int:
        """The place in SEVERITIES of a score of 1 or more."""
        reached = int(score >= limits.warning) + int(score >= limits.critical)
        return min(reached, SEVERITIES.index(self.worst))


def column(name: str) -> Measure:
    """The measure that is a column of an indicator, as it is."""
    return lambda moment, _: moment.values[name]
