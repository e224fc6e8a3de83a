"""Ids, conditions and daily bars of the US consolidated tape."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.rulesets import parse_mask
from producers.feeds.tape import bar_start, conditions, daily_id, is_pair


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("stamp", "date"),
    [
        ("2022-01-04T00:59:59.999999Z", "20220103"),  # the end of the evening session, in winter
        ("2022-07-05T03:59:59Z", "20220704"),  # the last second of a summer day
        ("2022-07-05T04:00:00Z", "20220705"),
        ("2022-03-13T04:30:00Z", "20220312"),  # the night the clocks go forward: -5 before it,
        ("2022-03-14T04:30:00Z", "20220314"),  # -4 after it
        ("2022-11-06T04:30:00Z", "20221106"),  # and back
        ("2022-11-07T04:30:00Z", "20221106"),
    ],
)
def test_day_of_an_id_is_that_of_new_york(stamp: str, date: str) -> None:
    assert daily_id("00123", us(stamp)) == f"{date}-00123"


def test_longest_tape_id_still_fits_a_bar() -> None:
    assert len(daily_id(79372444317008, us("2021-12-01T19:42:46Z"))) == 23


@pytest.mark.parametrize("event_us", [-(10**30), 10**30])
def test_impossible_time_is_left_to_validation(event_us: int) -> None:
    assert daily_id(1, event_us) == "undated-1"


@given(st.lists(st.one_of(st.integers(0, 300), st.sampled_from(["@", " ", "F", "4", "A", "0x1", "1_0"])), min_size=1))
def test_conditions_are_never_a_mask(codes: list[int | str]) -> None:
    text = conditions(codes)
    assert text is not None and parse_mask(text) == 0


def test_conditions_keep_order_and_spaces() -> None:
    assert conditions([" ", "7", "Z"]) == "c: ,7,Z"
    assert conditions([0]) == "c:0"


def test_only_a_known_currency_makes_a_pair() -> None:
    assert [symbol for symbol in ("ETH-BTC", "BRK-B", "-USD", "USD", "BTC-USD-X") if is_pair(symbol)] == ["ETH-BTC"]


@pytest.mark.parametrize("midnight", ["2022-02-01T05:00:00Z", "2022-07-01T04:00:00Z", "2022-07-01T00:00:00Z"])
def test_daily_bar_starts_at_midnight_utc_of_its_date(midnight: str) -> None:
    assert bar_start(us(midnight), "1d") == us(midnight[:10] + "T00:00:00Z")
    assert bar_start(us(midnight), "1h") == us(midnight)
