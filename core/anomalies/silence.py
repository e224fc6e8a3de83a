"""How long a symbol has been silent: by event time, and within sessions only."""

from collections.abc import Iterator

from core.anomalies.base import Limits, Rule
from core.hours import spans
from core.intervals import SECOND_US, Interval

Slot = tuple[int, int, float]
"""Start and end of the bar that is missing, epoch microseconds, and the seconds of silence up to its end."""


def slots(
    rule: Rule, limits: Limits, interval: Interval, since_us: int, until_us: int, calendar: str
) -> Iterator[Slot]:
    """The missing bars with which a silence from one moment to another reaches each severity, in order of time.

    They depend on nothing but when the silence began, so that whoever looks, and however often, finds the same.
    """
    least_us = int(limits.silence_seconds * SECOND_US)
    if until_us - since_us < least_us:
        return
    for low, high in spans(calendar, "rth", since_us, until_us):
        seen: set[int] = set()
        for score in _scores(rule, limits):
            end = -(-int(low + least_us * score) // interval.us) * interval.us
            if end <= high and end not in seen:
                seen.add(end)
                yield end - interval.us, end, (end - low) / SECOND_US
        if seen:
            return


def _scores(rule: Rule, limits: Limits) -> list[float]:
    """The score from which each severity is reached, without those that are none worse."""
    wanted = sorted({1.0, limits.warning, limits.critical})
    return [score for place, score in enumerate(wanted) if not place or rule.level(score, limits) > 0]
