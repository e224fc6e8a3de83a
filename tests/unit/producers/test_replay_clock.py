"""Shifted clocks, pacing and options of a replay."""

import argparse
import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.pace import MAX_SLICE, Pace
from producers.replay import SHIFT_STEP_US, clock_shift_us, parse_speed

NOW_US = 1_790_000_000_000_000


@given(st.integers(0, 10**15), st.integers(0, 10**12), st.sampled_from([0.5, 1.0, 3.0, 60.0, None]), st.floats(0, 1))
def test_clock_shift_never_gets_ahead_of_the_wall_clock(
    first_us: int, length_us: int, speed: float | None, part: float
) -> None:
    shift_us = clock_shift_us(first_us, first_us + length_us, NOW_US, speed)
    assert shift_us % SHIFT_STEP_US == 0
    event_us = first_us + int(length_us * part)
    wall_us = NOW_US + (0 if speed is None else int((event_us - first_us) / speed))
    assert event_us + shift_us <= wall_us + 2


def test_clock_shift_at_real_speed_makes_the_first_tick_now() -> None:
    shift_us = clock_shift_us(1_000, 10**10, NOW_US, 1.0)
    assert 0 <= NOW_US - (1_000 + shift_us) < SHIFT_STEP_US


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf", ""])
def test_parse_speed_nonsense_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="neither a positive number nor max"):
        parse_speed(text)


def test_parse_speed_number_or_max() -> None:
    assert (parse_speed("60"), parse_speed("max")) == (60.0, None)


def test_slices_at_full_speed_cover_every_row_once() -> None:
    rows = 3 * MAX_SLICE + 7
    taken = list(Pace(None).slices(np.arange(rows) * 10**9))
    assert [end - start for start, end in taken] == [MAX_SLICE] * 3 + [7]
    assert taken[0][0] == 0 and all(a[1] == b[0] for a, b in itertools.pairwise(taken))


def test_slices_wait_for_the_due_time_and_never_run_ahead() -> None:
    due_us = np.array([0, 20_000, 20_000, 300_000])
    pace, begun = Pace(2.0), time.monotonic()
    seen = []
    for start, end in pace.slices(due_us):
        assert all(due_us[start:end] <= pace.elapsed_us())
        seen += range(start, end)
    assert seen == [0, 1, 2, 3]
    assert time.monotonic() - begun >= 0.15
