"""Trading days as stretches of time: the same sessions as bars count to, without holes."""

from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.trading_days import TradingDay, day_of_date, trading_day, trading_days
from core.errors import InputError
from core.intervals import DAY_US, MINUTE_US
from core.sessions import session_ids

CALENDARS = ("24/7", "XNYS", "XLON", "CMES", "XTKS")
FIRST, LAST = 1_293_840_000_000_000, 1_735_603_200_000_000  # 2011 to the end of 2024


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize("calendar", CALENDARS)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(start=st.integers(FIRST, LAST), minutes=st.integers(1, 12 * 24 * 60))
def test_days_are_the_sessions_of_the_bars_in_them(calendar: str, start: int, minutes: int) -> None:
    start -= start % MINUTE_US
    end = start + minutes * MINUTE_US
    days = trading_days(start, end, calendar)
    assert days[0].start <= start and days[-1].end >= end
    assert all(day.end == following.start for day, following in pairwise(days))
    moments = np.arange(start, end, 13 * MINUTE_US)
    edges = np.array([moment for day in days for moment in (day.start, day.end - MINUTE_US)])
    for probes in (moments, edges):
        found = [next(day.day for day in days if day.start <= at < day.end) for at in probes.tolist()]
        assert found == session_ids(probes, calendar).tolist()


def test_days_of_new_york_begin_at_local_midnight_and_span_weekends() -> None:
    days = trading_days(us("2013-06-28 12:00"), us("2013-07-05 12:00"), "XNYS")
    assert [str(day.date) for day in days] == [f"2013-{day}" for day in ("06-28", "07-01", "07-02", "07-03", "07-05")]
    assert (days[1].start, days[1].end) == (us("2013-06-29 04:00"), us("2013-07-02 04:00"))
    assert days[-1].start == us("2013-07-04 04:00")  # the holiday counts to the session after it
    winter = trading_day(us("2013-01-15 15:00"), "XNYS")
    assert (winter.start, winter.end) == (us("2013-01-15 05:00"), us("2013-01-16 05:00"))


def test_days_of_utc_are_days_and_an_empty_range_has_none() -> None:
    assert trading_days(5, DAY_US + 1, "24/7") == [TradingDay(0, 0, DAY_US), TradingDay(1, DAY_US, 2 * DAY_US)]
    assert trading_days(0, DAY_US, "24/7") == [TradingDay(0, 0, DAY_US)]
    assert trading_days(7, 7, "XNYS") == []


def test_day_of_date_is_none_on_a_holiday() -> None:
    assert day_of_date(date(2013, 7, 4), "XNYS") is None and day_of_date(date(2013, 7, 6), "XNYS") is None
    found = day_of_date(date(2013, 7, 5), "XNYS")
    assert found is not None and found.date == date(2013, 7, 5)
    assert day_of_date(date(9999, 12, 30), "24/7") is not None
    with pytest.raises(InputError, match="no sessions"):
        day_of_date(date(9999, 12, 30), "XNYS")
