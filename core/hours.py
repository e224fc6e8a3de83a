"""Trading hours: which stretches of time are before, within and after the session of a day.

`rth` are the hours of the exchange's session, early closes included; `pre` is what comes before the open on the same
local day, `post` what comes after the close. A day without a session has none of them. Under "24/7" all is `rth`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from core.intervals import DAY_US, SECOND_US
from core.sessions import ALWAYS_OPEN, session_hours

Part = Literal["pre", "rth", "post"]
Spans = Sequence[tuple[int, int]]
"""Half-open, ascending, apart from each other; epoch microseconds, UTC."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def spans(calendar: str, part: Part, start_us: int, end_us: int) -> Spans:
    """The stretches of `[start_us, end_us)` that belong to a part of the day.

    Loads the calendar of the years asked for, which takes a tenth of a second the first time. Raises InputError for
    an unknown calendar and for years that it does not cover.
    """
    if start_us >= end_us:
        return []
    if calendar == ALWAYS_OPEN:
        return [(start_us, end_us)] if part == "rth" else []
    clipped = ((max(low, start_us), min(high, end_us)) for low, high in _parts(calendar, part, start_us, end_us))
    return [(low, high) for low, high in clipped if low < high]


def within(moment_us: int, allowed: Spans) -> bool:
    """Whether a moment lies in one of the stretches."""
    place = bisect_right(allowed, moment_us, key=lambda span: span[0])
    return place > 0 and moment_us < allowed[place - 1][1]


def _parts(calendar: str, part: Part, start_us: int, end_us: int) -> list[tuple[int, int]]:
    days, closes, opens, name = session_hours(calendar, _year(start_us), _year(end_us - 1))
    around = slice(max(0, int(closes.searchsorted(start_us)) - 2), int(opens.searchsorted(end_us)) + 2)
    hours = list(zip(days[around].tolist(), opens[around].tolist(), closes[around].tolist(), strict=True))
    if part == "rth":
        return [(opened, closed) for _, opened, closed in hours]
    zone = ZoneInfo(name)
    if part == "pre":  # a session may open on the evening before its day: then there is nothing before it
        first = [(_midnight(hours[0][0], zone), hours[0][1])] if hours else []
        return first + [
            (max(closed, _midnight(day, zone)), opened) for (_, _, closed), (day, opened, _) in pairwise(hours)
        ]
    last = [(hours[-1][2], _midnight(hours[-1][0] + 1, zone))] if hours else []
    return [
        (closed, min(opened, _midnight(day + 1, zone))) for (day, _, closed), (_, opened, _) in pairwise(hours)
    ] + last


def _midnight(day: int, zone: ZoneInfo) -> int:
    """The first moment of a local day, given as days since 1970-01-01."""
    local = datetime.combine((_EPOCH + timedelta(days=day)).date(), time(), zone)
    return int(local.timestamp()) * SECOND_US


def _year(us: int) -> int:
    return (_EPOCH + timedelta(days=us // DAY_US)).year
