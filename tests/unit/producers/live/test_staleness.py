"""When silence counts, on clocks that tests own."""

from datetime import UTC, datetime

import pytest
from exchange_calendars import exchange_calendar_xshg

from core.clock import ManualClock
from core.errors import InputError
from producers.live.staleness import Hours, Liveness


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        ("2024-03-04T14:29:59", None),  # New York opens at 14:30 UTC in winter
        ("2024-03-04T14:30:00", 0.0),
        ("2024-03-04T20:59:59", 23_399.0),
        ("2024-03-04T21:00:00", None),
        ("2024-03-03T16:00:00", None),  # a Sunday
        ("2024-07-04T16:00:00", None),  # a holiday
        ("2024-07-03T16:59:00", 12_540.0),  # closes at 13:00 local that day, 17:00 UTC
        ("2024-07-03T17:00:00", None),
        ("2024-12-31T16:00:00", 5_400.0),
        ("2025-01-02T14:30:00", 0.0),
    ],
)
def test_hours_of_an_exchange(at: str, seconds: float | None) -> None:
    assert Hours("XNYS").open_for(us(at)) == seconds


@pytest.mark.parametrize(
    ("calendar", "at", "seconds"),
    [
        ("XHKG", "2024-03-04T03:59:59", 8_999.0),  # since 09:30 in Hong Kong
        ("XHKG", "2024-03-04T04:00:00", None),  # lunch
        ("XHKG", "2024-03-04T04:59:59", None),
        ("XHKG", "2024-03-04T05:00:10", 10.0),
        ("XTKS", "2024-03-04T02:29:59", 8_999.0),
        ("XTKS", "2024-03-04T02:30:00", None),
        ("XTKS", "2024-03-04T03:30:00", 0.0),
        ("XTKS", "2024-03-04T06:00:00", None),
        ("24/5", "2024-03-08T23:59:59", 431_999.0),  # Friday night, since Monday: no hour between its days
        ("24/5", "2024-03-09T00:00:00", None),
    ],
)
def test_lunch_is_no_session_and_what_follows_starts_its_own(calendar: str, at: str, seconds: float | None) -> None:
    assert Hours(calendar).open_for(us(at)) == seconds


def test_of_several_markets_the_one_that_is_open_longest_counts() -> None:
    both = Hours("XNYS", "XLON")
    assert [both.open_for(us(f"2024-03-04T{at}")) for at in ("07:59:59", "08:00:30", "14:31:00", "17:00:00")] == [
        *(None, 30.0, 23_460.0, 9_000.0),
    ]
    assert both.open_for(us("2024-03-04T21:00:00")) is None
    assert Hours("XNYS", "24/7").open_for(us("2024-03-03T16:00:00")) == float("inf")


def test_day_that_a_calendar_does_not_know_counts_as_open(capsys: pytest.CaptureFixture[str]) -> None:
    """Its holidays end with a year; better connected in vain than silent unnoticed."""
    hours = Hours("XSHG")
    last_us = exchange_calendar_xshg.XSHGExchangeCalendar.bound_max().value // 1000
    assert hours.open_for(last_us + 4 * 3_600_000_000) is None, "its lunch is known to the last day"
    assert hours.open_for(last_us + 86_400_000_000) is not None
    assert "hours not known" in "".join(capsys.readouterr())


def test_around_the_clock_is_always_open_and_an_unknown_calendar_is_told() -> None:
    assert Hours().open_for(0) == float("inf")
    with pytest.raises(InputError, match="unknown calendar 'XNYC'"):
        Hours("XNYC")


class Bench:
    """A Liveness of 30 s and 300 s, and both its clocks."""

    def __init__(self, calendar: str = "24/7", at: str = "2024-03-04T16:00:00") -> None:
        self.clock = ManualClock(us(at))
        self.life = Liveness(Hours(calendar), self.clock, 30, 300, monotonic=lambda: self.clock.now_us() / 1e6)

    def after(self, seconds: float) -> str:
        self.clock.advance(int(seconds * 1_000_000))
        found = self.life.overdue()
        return found.text if found else ""


def test_no_frame_for_the_deadline_is_overdue_and_one_frame_starts_it_anew() -> None:
    bench = Bench()
    assert bench.after(29.9) == ""
    bench.life.frame()
    assert bench.after(29.9) == ""
    assert bench.after(0.1) == "no data for 30 s"
    bench.life.forgive()
    assert bench.after(29) == ""


def test_frames_without_trades_are_overdue_later() -> None:
    bench = Bench()
    for _ in range(14):
        bench.life.frame()
        assert bench.after(20) == ""
    bench.life.frame()
    assert bench.after(20) == "no trade of any symbol for 300 s"
    found = bench.life.overdue()
    assert found is not None and found.of_trades
    bench.life.trade()
    assert bench.after(0) == ""


def test_deadlines_start_with_the_session_and_end_with_it() -> None:
    bench = Bench("XNYS", "2024-03-04T10:00:00")
    assert bench.after(4 * 3600 + 29 * 60) == ""  # 14:29, silent since 10:00
    assert bench.after(60 + 29) == ""
    assert bench.after(1) == "no data for 30 s"
    bench = Bench("XNYS", "2024-03-04T20:59:45")
    assert bench.after(14) == "" and bench.after(3600) == ""


def test_checks_are_often_enough_for_the_shorter_deadline() -> None:
    clock = ManualClock()
    assert Liveness(Hours(), clock, 0.4, 300).next_check() == pytest.approx(0.1)
    assert Liveness(Hours(), clock, 30, 300).next_check() == 1.0
