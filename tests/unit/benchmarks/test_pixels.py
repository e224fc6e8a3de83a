"""From what browsers painted to latencies, frame times and presentations, on rows that a reader can check by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.measure import TickLog
from benchmarks.pixels import painted_us
from benchmarks.views import chart_url, commit_to_presentation_us, frame_summary, medians

T = 1_700_000_040 * 1_000_000  # a whole minute


def log_of(*ticks: tuple[str, int, int]) -> TickLog:
    """Ticks of (symbol, offset, microseconds after T)."""
    names = ["B", "A"]
    columns = zip(*((names.index(symbol), offset, T + us) for symbol, offset, us in ticks), strict=True)
    return TickLog(names, *(np.array(column, np.int64) for column in columns))


def sample(painted: int, offset: int, trades: int, **changes: Any) -> dict[str, Any]:
    bar = {"channel": "bars", "interval": "1m", "symbol": "A", "start": T, "offset": offset, "trades": trades}
    return bar | {"painted": T + painted} | changes


def test_tick_waits_for_the_first_frame_that_shows_it_and_all_before() -> None:
    log = log_of(("A", 3, 100), ("B", 4, 150), ("A", 5, 200), ("A", 9, 300))
    samples = [sample(1000, 3, 1), sample(2000, 9, 2), sample(3000, 9, 3)]  # the second one overtook
    assert painted_us(log, log, "A", samples).tolist() == [900, 2800, 2700]


def test_tick_that_no_frame_showed_is_unseen_even_when_nothing_was_painted() -> None:
    log = log_of(("A", 3, 100), ("A", 5, 200))
    assert painted_us(log, log, "A", [sample(1000, 3, 1)]).tolist() == [900, -1]
    assert painted_us(log, log, "A", []).tolist() == [-1, -1]


@pytest.mark.parametrize("other", [{"symbol": "B"}, {"interval": "5m"}, {"channel": "indicators"}])
def test_other_streams_show_no_tick(other: dict[str, Any]) -> None:
    log = log_of(("A", 3, 100))
    assert painted_us(log, log, "A", [sample(1000, 3, 1, **other)]).tolist() == [-1]


def event(name: str, phase: str, at: int, number: str = "0x1", process: int = 1) -> dict[str, Any]:
    return {"name": name, "ph": phase, "pid": process, "id2": {"local": number}, "ts": at}


COMMIT, PRESENTED = "SendBeginMainFrameToCommit", "SubmitCompositorFrameToPresentationCompositorFrame"


def test_frames_of_one_number_and_of_two_processes_are_told_apart() -> None:
    events = [
        event("PipelineReporter", "b", 1),
        event(COMMIT, "e", 10),
        event(COMMIT, "e", 11, process=2),
        event(PRESENTED, "e", 15, process=2),
        event("PipelineReporter", "b", 20),  # the first frame was dropped
        event(PRESENTED, "e", 25),
        event("PipelineReporter", "b", 30),
        event(PRESENTED, "e", 48),
        event(COMMIT, "e", 40),
    ]
    assert commit_to_presentation_us(events) == [4, 8]


def test_frame_times_count_what_a_person_sees() -> None:
    found = frame_summary([16.7] * 98 + [40.0, 120.0], [55.0])
    assert (found["frames"], found["p50_ms"], found["max_ms"]) == (100, 16.7, 120.0)
    assert (found["over_33_ms"], found["over_100_ms"], found["longest_task_ms"]) == (2, 1, 55.0)
    assert frame_summary([], [])["longest_task_ms"] == 0.0


def test_medians_are_by_column() -> None:
    assert medians([{"a": 1, "b": 9}, {"a": 5, "b": 8}, {"a": 3, "b": 1}]) == {"a": 3, "b": 8}


def test_chart_url_quotes_a_pair() -> None:
    assert chart_url("http://h", "BTC/USD", "1w") == "http://h/?symbol=BTC%2FUSD&interval=1m&range=1w"


def test_more_dashboards_than_symbols_are_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["pixels", "--json", str(tmp_path / "r.json"), "--symbols", "2", "--dashboards", "1,4"]
    assert main(arguments) == 1
    assert "--dashboards" in capsys.readouterr().err
