"""Latencies, checkpoints and rightness from arrays that a reader can check by hand."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measure import (
    CHECKPOINT_US,
    MINUTE_US,
    Seen,
    TickLog,
    checkpoints_us,
    latencies_us,
    outside,
    right_rows,
    summary,
)

T = 1_700_000_040 * 1_000_000  # a whole minute


def tick_log(*rows: tuple[str, int, int]) -> TickLog:
    """Ticks of (symbol, offset, microseconds after T)."""
    names = sorted({row[0] for row in rows})
    columns = zip(*((names.index(symbol), offset, T + us) for symbol, offset, us in rows), strict=True)
    return TickLog(names, *(np.array(column, np.int64) for column in columns))


def seen_rows(*rows: tuple[str, int, int, int]) -> Seen:
    """Rows of (symbol, arrival after T, last offset, trade count) of the minute at T."""
    names = sorted({row[0] for row in rows}, reverse=True)  # other codes than the log's
    columns = zip(*((names.index(s), T + us, T, offset, n) for s, us, offset, n in rows), strict=True)
    return Seen(names, *(np.array(column, np.int64) for column in columns))


def test_latency_tick_of_its_own_row_is_arrival_minus_stamp() -> None:
    ticks = tick_log(("A", 0, 100), ("B", 1, 200), ("A", 2, 300))
    seen = seen_rows(("A", 150, 0, 1), ("B", 290, 1, 1), ("A", 310, 2, 2))
    assert latencies_us(ticks, seen).tolist() == [50, 90, 10]


def test_latency_conflated_tick_waits_for_the_row_that_includes_it() -> None:
    ticks = tick_log(("A", 0, 100), ("A", 1, 200), ("A", 2, 300))
    assert latencies_us(ticks, seen_rows(("A", 1000, 2, 3))).tolist() == [900, 800, 700]


def test_latency_tick_without_a_row_is_minus_one() -> None:
    ticks = tick_log(("A", 0, 100), ("A", 1, 200), ("C", 2, 300))
    assert latencies_us(ticks, seen_rows(("A", 150, 0, 1), ("B", 400, 9, 1))).tolist() == [50, -1, -1]


def test_latency_rows_repeated_after_a_restart_change_nothing() -> None:
    ticks = tick_log(("A", 0, 100), ("A", 5, 200), ("A", 6, 5000))
    seen = seen_rows(("A", 150, 0, 1), ("A", 250, 5, 2), ("A", 4000, 0, 1), ("A", 4001, 5, 2), ("A", 6000, 6, 3))
    assert latencies_us(ticks, seen).tolist() == [50, 50, 1000]


def test_summary_unseen_ticks_are_counted_and_not_averaged() -> None:
    found = summary(np.array([*range(1000, 101_000, 1000), -1], np.int64))
    assert (found["ticks"], found["unseen"]) == (101, 1)
    assert (found["p50"], found["p99"], found["max"]) == (50.5, 99.01, 100.0)


def test_summary_nothing_seen_has_no_percentiles() -> None:
    assert summary(np.full(3, -1)) == {"ticks": 3, "unseen": 3}


def test_outside_excludes_the_margin_on_both_sides() -> None:
    times = np.array([0, CHECKPOINT_US, 2 * CHECKPOINT_US + 1, 9 * CHECKPOINT_US])
    assert outside(times, [CHECKPOINT_US, 9 * CHECKPOINT_US]).tolist() == [False, False, True, False]


def test_right_rows_count_decides() -> None:
    ticks = tick_log(("A", 0, 1), ("B", 1, 2), ("A", 2, 3), ("A", 3, MINUTE_US + 1))
    seen = seen_rows(("A", 10, 0, 1), ("A", 11, 2, 2), ("A", 12, 2, 3), ("B", 13, 1, 1), ("B", 14, 1, 0))
    assert right_rows(ticks, seen).tolist() == [True, True, False, True, False]


def test_right_rows_symbol_that_was_never_sent_is_wrong() -> None:
    assert right_rows(tick_log(("A", 0, 1)), seen_rows(("Z", 10, 0, 1))).tolist() == [False]


def test_checkpoints_come_from_the_commit_files_near_the_window(tmp_path: Path) -> None:
    for name, us in (("0", 1_000_000), ("1", 100_000_000), ("2", 200_000_000), (".2.crc", 100_000_001)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(us * 1000, us * 1000))
    assert checkpoints_us(tmp_path, 101_000_000, 150_000_000) == [100_000_000]
    assert checkpoints_us(tmp_path / "absent", 0, 10**9) == []


def test_between_is_half_open() -> None:
    assert tick_log(("A", 0, 0), ("A", 1, 5), ("A", 2, 9)).between(T, T + 9).offset.tolist() == [0, 1]


@pytest.mark.parametrize("arrivals", [[3, 2, 1], [1, 2, 3]])
def test_saved_notes_come_back_as_they_were(tmp_path: Path, arrivals: list[int]) -> None:
    from benchmarks.watch import Notes

    notes = Notes()
    for number, arrival in enumerate(arrivals):
        notes.note(b"S%d" % number, arrival, 60, number, 7)
    notes.save(tmp_path / "notes.npz")
    seen = Seen.load(tmp_path / "notes.npz")
    assert seen.names == ["S0", "S1", "S2"]
    assert seen.arrival_us.tolist() == arrivals
    assert seen.last_offset.tolist() == [0, 1, 2]
    assert set(seen.trade_count.tolist()) == {7}
