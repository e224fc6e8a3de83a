"""Which print is the auction, and where it belongs."""

from datetime import UTC, datetime

import pytest

from core import rulesets
from core.auctions import AuctionSelector, Override
from core.intervals import MINUTE_US
from core.records import SEQ_LIMIT

US = rulesets.load("us-equity")
OPENING, CLOSING, CROSSING = 0x40, 0x80, 0x200000


def new_york(hour: int, minute: int, second: int = 0, day: int = 8) -> int:
    """A moment of October 2013, New York being 4 hours behind UTC."""
    return int(datetime(2013, 10, day, hour + 4, minute, second, tzinfo=UTC).timestamp()) * 1_000_000


OPEN_MARK, CLOSE_MARK = 0x200000000, 0x400000000


def test_select_first_opening_print_goes_first_in_its_minute() -> None:
    found = AuctionSelector(US).select("IBM", "N", OPENING, new_york(9, 30, 12) + 345, 77)
    assert found == Override(new_york(9, 30), 77 - (SEQ_LIMIT - 1), OPEN_MARK)
    assert -SEQ_LIMIT < found.seq < 0


def test_select_closing_print_reported_after_the_bell_goes_last_in_the_last_minute() -> None:
    found = AuctionSelector(US).select("SPY", "P", CLOSING, new_york(16, 4, 59), 5)
    assert found == Override(new_york(15, 59) + MINUTE_US - 1, 5, CLOSE_MARK)


@pytest.mark.parametrize(("day", "hour"), [(28, 15), (29, 12), (30, 15)])
def test_select_closing_print_of_a_shortened_day_goes_last_in_its_last_minute(day: int, hour: int) -> None:
    midnight = int(datetime(2013, 11, day, 5, tzinfo=UTC).timestamp()) * 1_000_000  # New York, in winter
    found = AuctionSelector(US).select("IBM", "N", CLOSING, midnight + ((hour + 1) * 60 + 7) * MINUTE_US, 5)
    assert found == Override(midnight + (hour + 1) * 60 * MINUTE_US - 1, 5, CLOSE_MARK)


def test_select_other_venue_is_no_auction() -> None:
    selector = AuctionSelector(US)
    assert selector.select("SPY", "N", CLOSING, new_york(16, 0), 1) is None
    assert selector.select("IBM", None, CLOSING, new_york(16, 0), 2) is None
    assert selector.select("IBM", "N", CLOSING, new_york(16, 0), 3) is not None


def test_select_crossing_session_is_no_auction_and_does_not_use_it_up() -> None:
    selector = AuctionSelector(US)
    assert selector.select("IBM", "N", CLOSING | CROSSING, new_york(16, 0), 1) is None
    assert selector.select("IBM", "N", CLOSING, new_york(16, 1), 2) is not None


def test_select_second_print_of_the_day_is_none_but_the_next_day_has_its_own() -> None:
    selector = AuctionSelector(US)
    assert selector.select("IBM", "N", OPENING, new_york(9, 30), 1) is not None
    assert selector.select("IBM", "N", OPENING, new_york(9, 30, 1), 2) is None
    assert selector.select("AIG", "N", OPENING, new_york(9, 30, 1), 3) is not None
    assert selector.select("IBM", "N", OPENING, new_york(9, 30, day=9), 4) is not None


def test_select_first_opening_print_outside_its_minute_leaves_the_day_without() -> None:
    selector = AuctionSelector(US)
    assert selector.select("IBM", "N", OPENING, new_york(9, 31), 1) is None
    assert selector.select("IBM", "N", OPENING, new_york(9, 30, 30), 2) is None


def test_is_candidate_only_prints_of_an_auction() -> None:
    selector = AuctionSelector(US)
    assert selector.is_candidate(OPENING) and selector.is_candidate(CLOSING | 1)
    assert not selector.is_candidate(0x1) and not selector.is_candidate(CROSSING)
    assert not AuctionSelector(rulesets.load("all")).is_candidate(OPENING)
