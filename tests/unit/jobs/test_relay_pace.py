"""When the relay rests between two batches."""

from itertools import pairwise

import pytest

from jobs.relay_pace import STEP_SECONDS, Pace


def rests(rows_per_second: float, write_seconds: float, until: float, stall: tuple[float, float] = (9, 9)) -> list:
    """(time, rest) of each batch of a steady feed, from which nothing comes between the two times of the stall."""
    pace, now, taken, found = Pace(0.0), 0.001, 0, []
    while now < until:
        came = int(rows_per_second * now)
        if stall[0] <= now < stall[1]:
            now = stall[1]
            continue
        began, rows, taken = now, came - taken, came
        now += write_seconds
        rest = pace.rest(rows, began, now) if rows else 0.001
        found.append((began, rest))
        now += rest
    return found


def test_busy_feed_is_taken_in_steps() -> None:
    found = rests(30_000, 0.001, until=1)
    assert all(rest == pytest.approx(STEP_SECONDS - 0.001) for began, rest in found if began > 0.1)


def test_write_longer_than_a_step_is_followed_at_once() -> None:
    assert all(rest == 0 for _, rest in rests(30_000, 0.006, until=1))


def test_quiet_feed_is_never_held_up() -> None:
    assert all(rest <= 0.001 for _, rest in rests(3_000, 0.0005, until=1))


def test_what_a_stall_piles_up_is_not_held_up_further() -> None:
    found = rests(3_000, 0.0005, until=1, stall=(0.5, 0.55))
    assert all(rest <= 0.001 for _, rest in found)
    assert max(later[0] - sooner[0] for sooner, later in pairwise(found)) >= 0.05


def test_after_the_rush_nothing_rests() -> None:
    pace = Pace(0.0)
    assert pace.rest(1_000, 0.05, 0.051) > 0
    assert pace.rest(3, 0.11, 0.111) == 0
