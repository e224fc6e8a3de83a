"""Open hours, against the exchanges' own published ones."""

from datetime import UTC, datetime

import pytest

from conf.settings import Settings
from core.errors import InputError
from core.intervals import DAY_US, MINUTE_US
from producers.feeds.coinbase import Coinbase
from producers.history.sessions import calendar_of, sessions
from producers.symbols import SymbolMaster


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def shown(ranges: list[tuple[int, int]]) -> list[str]:
    return [
        "–".join(f"{datetime.fromtimestamp(us // 1_000_000, UTC):%d %H:%M}" for us in one) for one in ranges
    ]  # fmt: skip


def test_always_open_is_the_whole_range() -> None:
    assert sessions("24/7", 5, 9) == [(5, 9)]
    assert sessions("24/7", 9, 9) == []


def test_new_york_with_a_holiday_a_weekend_and_an_early_close() -> None:
    """Wednesday 3 July 2024 closed at 13:00, Thursday was a holiday; summer time, so 9:30 is 13:30 UTC."""
    found = sessions("XNYS", at("2024-07-02T15:00"), at("2024-07-08T14:00"))
    assert shown(found) == ["02 15:00–02 20:00", "03 13:30–03 17:00", "05 13:30–05 20:00", "08 13:30–08 14:00"]


def test_summer_time_moves_the_hours() -> None:
    assert shown(sessions("XNYS", at("2024-03-08T00:00"), at("2024-03-12T00:00"))) == [
        "08 14:30–08 21:00",
        "11 13:30–11 20:00",
    ]


def test_nothing_while_the_market_is_closed() -> None:
    assert sessions("XNYS", at("2024-07-06T00:00"), at("2024-07-08T00:00")) == []
    assert sessions("XNYS", at("2024-07-04T00:00"), at("2024-07-05T00:00")) == []


def test_lunch_is_left_out() -> None:
    assert shown(sessions("XHKG", at("2024-01-02T00:00"), at("2024-01-03T00:00"))) == [
        "02 01:30–02 04:00",
        "02 05:00–02 08:00",
    ]


def test_around_the_session_auctions_are_asked_for() -> None:
    found = sessions("XNYS", at("2024-07-05T00:00"), at("2024-07-06T00:00"), around_us=30 * MINUTE_US)
    assert shown(found) == ["05 13:00–05 20:30"]
    # A session before the range reaches into it by what is around it.
    found = sessions("XNYS", at("2024-07-02T20:10"), at("2024-07-02T23:00"), around_us=30 * MINUTE_US)
    assert shown(found) == ["02 20:10–02 20:30"]


@pytest.mark.parametrize(("calendar", "stamp"), [("XNYS", "2024-07-05T04:00"), ("XTKS", "2024-07-04T15:00")])
def test_days_hold_both_midnights(calendar: str, stamp: str) -> None:
    """A provider's daily bar starts at midnight UTC or at the market's own."""
    (found,) = sessions(calendar, at("2024-07-04T09:00") if calendar == "XTKS" else at("2024-07-04T00:00"),
                        at("2024-07-05T12:00"), whole_days=True)[-1:]  # fmt: skip
    assert found[0] <= at(stamp) < found[1] and found[0] <= at("2024-07-05T00:00") < found[1]


def test_weekend_has_no_daily_bars() -> None:
    found = sessions("XNYS", at("2024-07-06T04:00"), at("2024-07-08T00:00"), whole_days=True)
    assert found == []
    day = sessions("XNYS", at("2024-07-01"), at("2024-07-02"), whole_days=True)
    assert sum(end - start for start, end in day) == DAY_US


def test_unknown_calendar_and_times_out_of_reach_are_told() -> None:
    with pytest.raises(InputError, match="unknown calendar 'NOWHERE'"):
        sessions("NOWHERE", 0, 1)
    with pytest.raises(InputError, match="does not cover"):
        sessions("XHKG", at("1950-01-01"), at("1950-02-01"))


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [("BTC-USD", "24/7"), ("AAPL", "XNYS"), ("BRK-B", "XNYS"), ("EUR-USD", "24/5"), ("GC", "CMES"), ("^GDAXI", "XFRA")],
)
def test_symbols_have_their_own_calendar_and_unknown_ones_the_feeds(symbol: str, expected: str) -> None:
    class Frankfurt(Coinbase):
        calendar = "XFRA"

    assert calendar_of(Frankfurt, symbol, SymbolMaster(Settings())) == expected
    assert sessions(expected, at("2024-07-01"), at("2024-07-08"))
    assert calendar_of(Coinbase, symbol, SymbolMaster(Settings())) == "24/7", "a venue that never closes"
