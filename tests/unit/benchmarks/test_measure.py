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
    last_rows,
    latencies_us,
    missing,
    outside,
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


def latencies(ticks: TickLog, seen: Seen) -> list[int]:
    return latencies_us(ticks, seen, missing(ticks, seen) == 0).tolist()


def test_latency_tick_of_its_own_row_is_arrival_minus_stamp() -> None:
    ticks = tick_log(("A", 0, 100), ("B", 1, 200), ("A", 2, 300))
    seen = seen_rows(("A", 150, 0, 1), ("B", 290, 1, 1), ("A", 310, 2, 2))
    assert latencies(ticks, seen) == [50, 90, 10]


def test_latency_conflated_tick_waits_for_the_row_that_includes_it() -> None:
    ticks = tick_log(("A", 0, 100), ("A", 1, 200), ("A", 2, 300))
    assert latencies(ticks, seen_rows(("A", 1000, 2, 3))) == [900, 800, 700]


def test_latency_tick_without_a_row_is_minus_one() -> None:
    ticks = tick_log(("A", 0, 100), ("A", 1, 200), ("C", 2, 300))
    assert latencies(ticks, seen_rows(("A", 150, 0, 1), ("B", 400, 9, 1))) == [50, -1, -1]


def test_latency_rows_repeated_after_a_restart_change_nothing() -> None:
    ticks = tick_log(("A", 0, 100), ("A", 5, 200), ("A", 6, 5000))
    seen = seen_rows(("A", 150, 0, 1), ("A", 250, 5, 2), ("A", 4000, 0, 1), ("A", 4001, 5, 2), ("A", 6000, 6, 3))
    assert latencies(ticks, seen) == [50, 50, 1000]


def test_summary_unseen_ticks_are_counted_and_not_averaged() -> None:
    found = summary(np.array([*range(1000, 101_000, 1000), -1], np.int64))
    assert (found["ticks"], found["unseen"]) == (101, 1)
    assert (found["p50"], found["p99"], found["max"]) == (50.5, 99.01, 100.0)


def test_summary_nothing_seen_has_no_percentiles() -> None:
    assert summary(np.full(3, -1)) == {"ticks": 3, "unseen": 3}


def test_outside_excludes_the_margin_on_both_sides() -> None:
    times = np.array([0, CHECKPOINT_US, 2 * CHECKPOINT_US + 1, 9 * CHECKPOINT_US])
    assert outside(times, [CHECKPOINT_US, 9 * CHECKPOINT_US]).tolist() == [False, False, True, False]


def test_latency_overtaken_tick_waits_for_the_row_that_counts_it() -> None:
    ticks = tick_log(("A", 0, 100), ("A", 1, 200), ("A", 2, 300))
    seen = seen_rows(("A", 150, 0, 1), ("A", 320, 2, 2), ("A", 400, 2, 3))
    assert latencies(ticks, seen) == [50, 200, 100]


def test_latency_row_of_the_next_minute_does_not_include_the_last_tick_of_this_one() -> None:
    ticks = tick_log(("A", 0, MINUTE_US - 5), ("A", 1, MINUTE_US + 5))
    rows = seen_rows(("A", MINUTE_US + 10, 1, 1), ("A", MINUTE_US + 20, 0, 1))
    rows.start[0] += MINUTE_US
    assert latencies(ticks, rows) == [25, 5]


def test_missing_counts_what_a_row_leaves_out_and_what_it_counts_twice() -> None:
    ticks = tick_log(("A", 0, 1), ("B", 1, 2), ("A", 2, 3), ("A", 3, MINUTE_US + 1))
    seen = seen_rows(("A", 10, 0, 1), ("A", 11, 2, 2), ("A", 12, 2, 3), ("B", 13, 1, 1), ("B", 14, 1, 0))
    assert missing(ticks, seen).tolist() == [0, 0, -1, 0, 1]


def test_missing_symbol_that_was_never_sent_is_counted_too_often() -> None:
    assert missing(tick_log(("A", 0, 1)), seen_rows(("Z", 10, 0, 1))).tolist() == [-1]


def test_last_rows_is_one_for_each_bar() -> None:
    seen = seen_rows(("A", 10, 0, 1), ("B", 11, 1, 1), ("A", 12, 2, 2))
    assert sorted(last_rows(seen).tolist()) == [1, 2]


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
