"""Times at the edge: RFC 3339 or epoch milliseconds in, RFC 3339 UTC with microseconds out.

Inside, a time is integer microseconds since the epoch, UTC.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from core.intervals import DAY_US, MINUTE_US, SECOND_US
from core.records import MIN_EVENT_US

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_TIME_US = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z, the last a four-digit year can write
EXAMPLE = "2024-05-01T13:30:00Z"

# A blank before the offset is a `+` that a client forgot to write as %2B.
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?(?:([Zz])|([+\- ])(\d\d):(\d\d))", re.ASCII
)
_DIGITS = re.compile(r"\d{1,18}", re.ASCII)


def parse_time(text: str) -> int:
    """RFC 3339 or epoch milliseconds as epoch microseconds; ValueError says what is wrong with it.

    Digits beyond the microsecond round up, which keeps a half-open range exact: no event lies between.

    >>> parse_time("1970-01-02T01:00:00+01:00") == parse_time("86400000") == 86_400_000_000
    True
    """
    if _DIGITS.fullmatch(text):
        return _from_millis(int(text))
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not RFC 3339 with a time zone ({EXAMPLE}) nor epoch milliseconds")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    try:
        whole = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"no such time: {error}") from None
    seconds = (whole - EPOCH) // timedelta(seconds=1)
    return _checked(seconds * SECOND_US + _fraction_us(match[7]) - _offset_us(*match.groups()[7:]))


def format_time(us: int) -> str:
    """Epoch microseconds as RFC 3339, UTC, always with six decimals.

    >>> format_time(1)
    '1970-01-01T00:00:00.000001Z'
    """
    days, rest = divmod(us, DAY_US)
    minutes, rest = divmod(rest, MINUTE_US)
    seconds, rest = divmod(rest, SECOND_US)
    return f"{_day_text(days)}T{_CLOCK[minutes]}:{seconds:02d}.{rest:06d}Z"


_CLOCK = tuple(f"{hour:02d}:{minute:02d}" for hour in range(24) for minute in range(60))


@lru_cache(maxsize=4096)
def _day_text(days: int) -> str:
    return (EPOCH + timedelta(days=days)).strftime("%Y-%m-%d")


def _from_millis(millis: int) -> int:
    if 0 < millis * 1000 < MIN_EVENT_US:
        raise ValueError("a number is epoch milliseconds, and this one is before 1980: seconds, perhaps?")
    if millis * 1000 > MAX_TIME_US:
        raise ValueError("a number is epoch milliseconds, and this one is after 9999: microseconds, perhaps?")
    return millis * 1000


def _fraction_us(digits: str | None) -> int:
    digits = digits or ""
    return int(digits[:6].ljust(6, "0")) + (1 if digits[6:].strip("0") else 0)


def _offset_us(zulu: str | None, sign: str | None, hours: str, minutes: str) -> int:
    if zulu:
        return 0
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError(f"no such time-zone offset: {sign}{hours}:{minutes}")
    offset = (int(hours) * 60 + int(minutes)) * MINUTE_US
    return -offset if sign == "-" else offset


def _checked(us: int) -> int:
    if not 0 <= us <= MAX_TIME_US:
        raise ValueError("outside the years 1970 to 9999")
    return us
