"""What is missing: against sets of single moments, which no clever code can get wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.intervals import DAY_US, MINUTE_US
from producers.history.plan import SETTLED_US, TICKS, Done, Gap, Item, aligned, items, missing, unfilled
from producers.history.ranges import Ranges, both, cut, length, union, without

HOUR_US = 60 * MINUTE_US
LAST = 60

one_range = st.tuples(st.integers(0, LAST), st.integers(0, LAST))
some_ranges = st.lists(one_range, max_size=8)
ordered = st.tuples(st.integers(0, LAST - 1), st.integers(1, LAST)).map(lambda one: (one[0], max(one[0] + 1, one[1])))
dones = st.lists(st.builds(lambda one, at: Done(*one, 1, at), ordered, st.integers(0, 9)), max_size=6)
gaps = st.lists(st.builds(lambda one, at: Gap(1, *one, at), ordered, st.integers(0, 9)), max_size=3)


def moments(ranges: Any) -> set[int]:
    return {moment for start, end in ranges for moment in range(start, end)}


def spans(many: Any) -> Ranges:
    return [(one.start_us, one.end_us) for one in many]


def is_tidy(ranges: Ranges) -> bool:
    edges = [edge for one in ranges for edge in one]
    return edges == sorted(set(edges))


@given(some_ranges, some_ranges)
def test_ranges_are_sets_of_moments(left: Ranges, right: Ranges) -> None:
    for found, expected in (
        (union(left, right), moments(left) | moments(right)),
        (both(left, right), moments(left) & moments(right)),
        (without(left, right), moments(left) - moments(right)),
    ):
        assert moments(found) == expected
        assert is_tidy(found)
    assert length(union(left)) == len(moments(left))


@given(some_ranges, st.integers(1, 20))
def test_cut_keeps_every_moment_and_crosses_no_edge(ranges: Ranges, step: int) -> None:
    pieces = cut(union(ranges), step)
    assert moments(pieces) == moments(ranges)
    assert sum(end - start for start, end in pieces) == len(moments(ranges))
    assert all(start // step == (end - 1) // step for start, end in pieces)


@given(some_ranges, dones, gaps)
def test_missing_and_done_make_the_wanted_sessions(wanted: Ranges, done: list[Done], lost: list[Gap]) -> None:
    asked = missing(wanted, done, lost)
    assert is_tidy(asked)
    assert moments(asked) <= moments(wanted)
    assert moments(asked) | moments(spans(done)) >= moments(wanted)
    never = moments(wanted) - moments(spans(done))
    again = {
        moment
        for gap in lost
        for moment in range(gap.start_us, gap.end_us)
        if not any(one.start_us <= moment < one.end_us and one.at_us >= gap.at_us for one in done)
    }
    assert moments(asked) == never | (again & moments(wanted))


@given(some_ranges, dones)
def test_without_gaps_nothing_done_is_asked_for_again(wanted: Ranges, done: list[Done]) -> None:
    assert not moments(missing(wanted, done)) & moments(spans(done))


@given(some_ranges, dones, gaps, st.integers(0, 40))
def test_a_plan_that_was_done_leaves_nothing(wanted: Ranges, done: list[Done], lost: list[Gap], stopped: int) -> None:
    """Whole or in part: what a killed run had marked is not asked for again, and the rest is."""
    plan = items("X", TICKS, missing(wanted, done, lost), wanted, done)
    marked = [Done(item.start_us, item.end_us, 0, 10) for item in plan[:stopped]]
    left = missing(wanted, done + marked, lost)
    assert moments(left) == moments(missing(wanted, done, lost)) - moments(spans(marked))
    if stopped >= len(plan):
        assert left == []
        assert all(not moments(unfilled(gap, done + marked)) & moments(wanted) for gap in lost)


@given(some_ranges, dones, st.integers(1, 3))
def test_pieces_ask_for_the_missing_once_and_for_closed_hours_only_between(
    wanted: Ranges, done: list[Done], scale: int
) -> None:
    unit = scale * 20 * MINUTE_US
    opened = [(start * unit, end * unit) for start, end in union(wanted)]
    finished = [Done(one.start_us * unit, one.end_us * unit, 1, 0) for one in done]
    asked = missing(opened, finished)
    plan = items("X", TICKS, asked, opened, finished)
    assert both(spans(plan), opened) == asked
    assert length(spans(plan)) == length(union(spans(plan))), "two pieces overlap"
    assert all(item.start_us // HOUR_US == (item.end_us - 1) // HOUR_US for item in plan)
    starts, ends = {start for start, _ in asked}, {end for _, end in asked}
    assert all(item.start_us % HOUR_US == 0 or item.start_us in starts for item in plan)
    assert all(item.end_us % HOUR_US == 0 or item.end_us in ends for item in plan)


def test_both_directions_and_inner_holes() -> None:
    done = [Done(10, 20, 0, 0), Done(30, 40, 0, 0), Done(20, 22, 0, 0)]
    assert missing([(0, 50)], done) == [(0, 10), (22, 30), (40, 50)]


def test_gap_inside_what_was_done_is_asked_for_until_it_is_filled_after_it_was_noticed() -> None:
    gap = Gap(7, 100, 120, at_us=1000)
    before, after = Done(0, 500, 9, at_us=999), Done(100, 110, 1, at_us=1001)
    assert missing([(0, 500)], [before], [gap]) == [(100, 120)]
    assert missing([(0, 500)], [before, after], [gap]) == [(110, 120)]


def test_bars_of_nights_apart_are_one_request_and_holes_are_not_asked_over() -> None:
    days = [(day * DAY_US + 14 * HOUR_US, day * DAY_US + 21 * HOUR_US) for day in range(5)]
    plan = items("X", "bars:5m", days, days, [])
    assert spans(plan) == [(days[0][0], days[-1][1])]
    held = [Done(*days[2], 84, 0)]
    assert spans(items("X", "bars:5m", missing(days, held), days, held)) == [
        (days[0][0], days[1][1]),
        (days[3][0], days[4][1]),
    ]


def test_hours_of_ticks_and_days_of_bars() -> None:
    day = [(0, DAY_US)]
    assert len(items("X", TICKS, day, day, [])) == 24
    assert len(items("X", "bars:1m", day, day, [])) == 1
    assert items("X", "bars:1m", day, day, [])[0].requests == 5  # 1440 bars, 300 a page


def test_requests_of_ticks_follow_what_earlier_hours_held() -> None:
    hours = [(HOUR_US, 2 * HOUR_US)]
    assert items("X", TICKS, hours, hours, []) == [Item("X", TICKS, HOUR_US, 2 * HOUR_US, 1)]
    assert items("X", TICKS, hours, hours, [Done(0, HOUR_US, 5_500, 0)])[0].requests == 6


@pytest.mark.parametrize("what", [TICKS, "bars:1m", "bars:5m", "bars:15m", "bars:1h", "bars:1d"])
def test_nothing_that_may_still_change_is_asked_for(what: str) -> None:
    now = 100 * DAY_US + 7 * HOUR_US + 41 * MINUTE_US + 17
    lengths = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "1d": 1440}
    own = 1 if what == TICKS else lengths[what[5:]] * MINUTE_US
    start, end = aligned(what, 99 * DAY_US + 1, now + DAY_US, now)
    grid = min(own, 15 * MINUTE_US)
    newest = end - grid  # the last moment at which something that is asked for may start
    assert newest + own <= now - SETTLED_US < newest + own + grid
    assert start == (99 * DAY_US + 1 if what == TICKS else 99 * DAY_US)


def test_bar_that_starts_before_the_end_is_asked_for() -> None:
    assert aligned("bars:5m", 0, 11 * MINUTE_US, DAY_US) == (0, 15 * MINUTE_US)
    assert aligned("bars:5m", 0, 10 * MINUTE_US, DAY_US) == (0, 10 * MINUTE_US)
