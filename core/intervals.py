"""Bar intervals: half-open `[start, end)` in UTC, aligned to the epoch.

Every exchange offset is a multiple of 15 minutes, so UTC buckets up to 15 minutes are also local buckets.
"""

from dataclasses import dataclass

from core.errors import ConfigError

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 24 * 60 * MINUTE_US
DAILY = "1d"
"""Bars of a day come from history: a trading day is the calendar's business, so it is no `Interval`."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A bar length, e.g. `Interval("5m", 300_000_000)`; `us` is its length in microseconds."""

    name: str
    us: int

    def start_of(self, event_us: int) -> int:
        """The left edge, in epoch microseconds, of the bar that `event_us` belongs to."""
        return event_us - event_us % self.us


INTERVALS: dict[str, Interval] = {
    name: Interval(name, minutes * MINUTE_US) for name, minutes in (("1m", 1), ("5m", 5), ("15m", 15))
}


def parse_intervals(text: str) -> tuple[Interval, ...]:
    """`"1m,5m"` as intervals, in the order given and without repeats.

    Raises ConfigError for an unknown name, listing the known ones.
    """
    names = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    unknown = [name for name in names if name not in INTERVALS]
    if unknown or not names:
        raise ConfigError(f"unknown interval {', '.join(unknown) or '(none given)'}; known: {', '.join(INTERVALS)}")
    return tuple(INTERVALS[name] for name in names)
