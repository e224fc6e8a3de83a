"""Parts of the trading day, against local clock times written down by hand."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from core.hours import Part, spans, within
from core.intervals import DAY_US, MINUTE_US

NEW_YORK = ZoneInfo("America/New_York")


def us(text: str) -> int:
    """New York time as epoch microseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * 1_000_000


def local(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).astimezone(NEW_YORK).strftime("%m-%d %H:%M")


def written(part: Part, start: str, end: str) -> list[str]:
    return [f"{local(low)} {local(high)}" for low, high in spans("XNYS", part, us(start), us(end))]


def test_early_close_and_holiday_are_the_exchanges() -> None:
    week = ("2013-07-03", "2013-07-06")
    assert written("rth", *week) == ["07-03 09:30 07-03 13:00", "07-05 09:30 07-05 16:00"]
    assert written("pre", *week) == ["07-03 00:00 07-03 09:30", "07-05 00:00 07-05 09:30"]
    assert written("post", *week) == ["07-03 13:00 07-04 00:00", "07-05 16:00 07-06 00:00"]


@pytest.mark.parametrize("day", ["2013-03-08", "2013-03-11", "2013-11-01", "2013-11-04"])  # around both changes
def test_summer_time_moves_utc_and_not_the_local_clock(day: str) -> None:
    short = day[5:]
    assert written("rth", day, f"{day}T23:59") == [f"{short} 09:30 {short} 16:00"]
    assert written("pre", day, f"{day}T23:59") == [f"{short} 00:00 {short} 09:30"]


def test_edges_are_half_open_and_clipped_to_the_range() -> None:
    (span,) = spans("XNYS", "rth", us("2013-06-03T09:30"), us("2013-06-03T16:00"))
    assert span == (us("2013-06-03T09:30"), us("2013-06-03T16:00"))
    assert within(span[0], [span]) and not within(span[0] - 1, [span])
    assert within(span[1] - 1, [span]) and not within(span[1], [span])
    assert spans("XNYS", "rth", span[0] + 5, span[0] + 6) == [(span[0] + 5, span[0] + 6)]
    assert spans("XNYS", "rth", span[0], span[0]) == []


moments = st.integers(us("2012-12-20") // MINUTE_US, us("2014-01-10") // MINUTE_US).map(lambda n: n * MINUTE_US)


@settings(deadline=None)  # the first one loads the calendar
@given(moments, st.integers(1, 12).map(lambda days: days * DAY_US))
def test_parts_never_overlap_and_cover_a_session_day_whole(start: int, length: int) -> None:
    found = sorted(span for part in ("pre", "rth", "post") for span in spans("XNYS", part, start, start + length))
    assert all(low < high for low, high in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))
    for low, high in found:  # what is left out are whole local days
        assert low == start or local(low)[6:] == "00:00" or within(low - 1, found)
        assert high == start + length or local(high)[6:] == "00:00" or within(high, found)


def test_session_that_opens_the_evening_before_has_nothing_before_it() -> None:
    week = (us("2024-05-06T00:00"), us("2024-05-11T00:00"))
    assert all(low < high for part in ("pre", "rth", "post") for low, high in spans("CMES", part, *week))
    rth, pre = spans("CMES", "rth", *week), spans("CMES", "pre", *week)
    assert not any(within(low, rth) for low, _ in pre)


def test_always_open_is_all_regular() -> None:
    assert spans("24/7", "rth", 5, 9) == [(5, 9)]
    assert spans("24/7", "pre", 5, 9) == spans("24/7", "post", 5, 9) == []


def test_unknown_calendar_is_an_input_error() -> None:
    with pytest.raises(InputError, match="XNYS"):
        spans("NOWHERE", "rth", us("2013-06-03"), us("2013-06-04"))
