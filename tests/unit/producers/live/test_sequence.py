"""Repeats and holes, against a plain set of everything that ever came."""

from hypothesis import given
from hypothesis import strategies as st

from producers.live import sequence
from producers.live.sequence import Ids, Recent
from tests.factories import tick


@given(st.lists(st.integers(1, 40), min_size=1, max_size=80))
def test_ids_know_exactly_what_came_and_what_did_not(numbers: list[int]) -> None:
    ids, came = Ids(), set[int]()
    for number in numbers:
        if came and number > max(came) + 1:
            assert ids.jump(number) == (max(came) + 1, number - 1)
        else:
            assert ids.jump(number) is None
        assert ids.take(number) == (number not in came)
        came.add(number)
        holes = {one for low, high in ids.holes for one in range(low, high + 1)}
        assert holes == set(range(min(came), max(came) + 1)) - came
        assert all(low <= high for low, high in ids.holes) and ids.holes == sorted(ids.holes)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40), st.integers(1, 40), st.integers(0, 20))
def test_lacking_is_the_holes_cut_to_the_range(numbers: list[int], first: int, width: int) -> None:
    ids = Ids()
    for number in numbers:
        ids.take(number)
    every = {one for low, high in ids.holes for one in range(low, high + 1)}
    found = ids.lacking(first, first + width)
    assert {one for low, high in found for one in range(low, high + 1)} == every & set(range(first, first + width + 1))


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), max_size=4), st.lists(st.integers(1, 60)))
def test_expected_ids_are_new_when_they_come(expected: list[tuple[int, int]], numbers: list[int]) -> None:
    ids, came = Ids(), set[int]()
    for first, width in expected:
        ids.expect(first, first + width)
    for number in numbers:
        assert ids.take(number) == (number not in came)
        came.add(number)


def test_holes_are_bounded() -> None:
    ids = Ids()
    for number in range(0, 4 * sequence.MOST_HOLES, 2):
        ids.take(number)
    assert len(ids.holes) == sequence.MOST_HOLES
    assert ids.holes[-1] == (4 * sequence.MOST_HOLES - 3, 4 * sequence.MOST_HOLES - 3)
    assert not ids.take(1) and ids.take(4 * sequence.MOST_HOLES - 3)


def test_recent_forgets_the_oldest_alone() -> None:
    recent = Recent(3)
    assert [recent.take(tick(seq=seq)) for seq in (1, 2, 3, 1, 4, 2, 3, 4, 1)] == [
        *(True, True, True, False, True, False, False, False, True)
    ]


def test_recent_tells_a_correction_from_its_trade_and_from_another_correction() -> None:
    recent = Recent()
    ticks = [tick(trade_id="7"), tick(trade_id="7", kind="correct"), tick(trade_id="7", kind="correct", price="191")]
    assert [recent.take(one) for one in (*ticks, *ticks)] == [True] * 3 + [False] * 3
    assert recent.take(tick(trade_id="7", venue="X")), "ids are a venue's own"
