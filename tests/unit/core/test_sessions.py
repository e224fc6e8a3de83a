from datetime import UTC, date, datetime

import exchange_calendars
import numpy as np
import pandas
import pytest

from core.errors import InputError
from core.indicators import bars_of
from core.sessions import session_ids, session_places

HOUR = pandas.Timedelta(hours=1)


def micros(*texts: str) -> np.ndarray:
    return np.array([int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000 for text in texts])


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def test_always_open_is_the_utc_day() -> None:
    found = session_ids(micros("2024-07-05T00:00", "2024-07-05T23:59:59", "2024-07-06T00:00", "1969-12-31T23:00"))
    assert found.tolist() == [day("2024-07-05"), day("2024-07-05"), day("2024-07-06"), -1]


@pytest.mark.parametrize(
    ("time", "session"),
    [
        ("2024-07-05T13:30", "2024-07-05"),  # the open
        ("2024-07-05T19:59", "2024-07-05"),
        ("2024-07-05T08:00", "2024-07-05"),  # before the market, 04:00 in New York
        ("2024-07-05T04:00", "2024-07-05"),  # midnight in New York
        ("2024-07-05T20:00", "2024-07-05"),  # the close, and what follows it that day
        ("2024-07-05T23:59", "2024-07-05"),
        ("2024-07-06T03:59", "2024-07-05"),  # still Friday in New York
        ("2024-07-06T04:00", "2024-07-08"),  # Saturday
        ("2024-07-07T15:00", "2024-07-08"),
        ("2024-07-03T17:30", "2024-07-03"),  # after an early close
        ("2024-07-04T15:00", "2024-07-05"),  # a holiday
        ("2024-01-02T14:30", "2024-01-02"),  # winter time
        ("1998-01-02T14:30", "1998-01-02"),
        ("2024-12-31T22:00", "2024-12-31"),
        ("2024-01-01T12:00", "2024-01-02"),
    ],
)
def test_new_york_bar_belongs_to_its_trading_day(time: str, session: str) -> None:
    assert session_ids(micros(time), "XNYS").tolist() == [day(session)]


def test_session_that_opens_the_evening_before_takes_the_evening() -> None:
    found = session_ids(micros("2024-07-07T22:30", "2024-07-08T15:00", "2024-07-08T23:30"), "CMES")
    assert found.tolist() == [day("2024-07-08"), day("2024-07-08"), day("2024-07-09")]


def test_minutes_are_counted_from_the_open_of_the_session_in_summer_and_winter() -> None:
    times = ("2024-07-05T13:30", "2024-07-05T08:00", "2024-07-05T20:00", "2024-07-06T15:00", "2024-01-02T14:45")
    ids, since_open_us = session_places(micros(*times), "XNYS")
    assert (since_open_us // 60_000_000).tolist() == [0, -330, 390, -(46 * 60 + 30), 15]
    assert ids.tolist() == session_ids(micros(*times), "XNYS").tolist()
    assert session_places(micros("2024-07-05T08:05"))[1].tolist() == [(8 * 60 + 5) * 60_000_000]
    assert bars_of(*[[1.0]] * 6, start=micros(times[-1]), calendar="XNYS").minute.tolist() == [15.0]


def test_lunch_belongs_to_the_session() -> None:
    assert session_ids(micros("2024-07-08T03:00"), "XTKS").tolist() == [day("2024-07-08")]


def test_order_of_bars_does_not_matter() -> None:
    times = micros("2024-07-08T15:00", "2023-07-05T15:00", "2024-07-05T15:00")
    assert session_ids(times, "XNYS").tolist() == [day("2024-07-08"), day("2023-07-05"), day("2024-07-05")]


def test_no_bars_no_sessions() -> None:
    assert session_ids(np.zeros(0, np.int64), "XNYS").tolist() == []


@pytest.mark.parametrize("times", [(), ("2024-07-08T15:00",)])
def test_unknown_calendar_raises(times: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="unknown calendar 'NYSE-ish'; take 24/7, or one of"):
        session_ids(np.asarray(micros(*times), np.int64), "NYSE-ish")


def test_time_outside_the_calendar_raises() -> None:
    with pytest.raises(InputError, match="calendar XKRX has no sessions for 1901 to 1901"):
        session_ids(micros("1901-01-05T00:00"), "XKRX")
    with pytest.raises(InputError, match="calendar XNYS has no sessions"):
        session_ids(np.array([1_720_000_000_000_000_000]), "XNYS")


@pytest.mark.parametrize("calendar", ["XSHG", "XSES"])
def test_last_year_that_a_calendar_knows_is_covered_to_its_end(calendar: str) -> None:
    known = exchange_calendars.get_calendar(calendar)
    year_end, close, last = type(known).bound_max(), known.closes.iloc[-1], known.sessions[-1]
    assert last.year == year_end.year
    times = micros(*(str(at.tz_localize(None)) for at in (close - HOUR, close, close + HOUR)))
    assert session_ids(times, calendar).tolist() == [day(str(last.date()))] * 3
    assert session_ids(micros(f"{last.year}-06-03T04:00"), calendar).tolist() == [day(f"{last.year}-06-03")]
    midnight = (last + pandas.Timedelta(days=1)).tz_localize(known.tz).tz_convert(None)
    with pytest.raises(InputError, match=f"calendar {calendar} ends on {last.date()}, and bars start after that"):
        session_ids(micros(str(close.tz_localize(None)), str(midnight)), calendar)
    with pytest.raises(InputError, match=f"has no sessions for {last.year + 1}"):
        session_ids(micros(f"{last.year + 1}-06-03T04:00"), calendar)


def test_first_year_that_a_calendar_knows_is_covered_from_its_beginning() -> None:
    assert session_ids(micros("2017-01-01T00:00", "2017-06-05T06:00"), "AIXK").tolist() == [
        day("2017-01-04"),
        day("2017-06-05"),
    ]
