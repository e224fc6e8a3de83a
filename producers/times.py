"""Times as people write and read them on the command line."""

import argparse
from datetime import UTC, datetime, timedelta

from core.intervals import SECOND_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> int:
    """RFC 3339, or a date, as epoch microseconds; without an offset it is UTC. Raises argparse.ArgumentTypeError.

    >>> parse_time("1970-01-01T01:00:00.5+01:00"), parse_time("1970-01-02")
    (500000, 86400000000)
    """
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2024-03-01T14:30:00Z") from None
    aware = time_ if time_.tzinfo else time_.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def iso(us: int) -> str:
    """Epoch microseconds as RFC 3339 in UTC, to the second.

    >>> iso(1_500_000)
    '1970-01-01T00:00:01Z'
    """
    return f"{datetime.fromtimestamp(us // SECOND_US, UTC):%Y-%m-%dT%H:%M:%SZ}"
