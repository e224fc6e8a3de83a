"""Progress of queries: every batch is counted once, also those that ended between two looks."""

from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from jobs.progress import Reports


class Query:
    """A streaming query as far as reports ask: it keeps its last reports, as Spark does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.isActive = True
        self.recentProgress: list[dict[str, Any]] = []

    @property
    def lastProgress(self) -> dict[str, Any] | None:
        return self.recentProgress[-1] if self.recentProgress else None

    def ends(self, batch: int, **more: Any) -> None:
        self.recentProgress.append(progress(batch, **more))


def progress(batch: int, *, rows: int = 10, late: int = 0, end: int = 100, latest: int = 100, watermark: str = "00",
             event: str = "30") -> dict[str, Any]:  # fmt: skip
    """A report as Spark writes it; seconds of 2024-03-04T14:30."""
    return {
        "batchId": batch,
        "timestamp": "2024-03-04T14:31:00.000Z",
        "numInputRows": rows,
        "durationMs": {"triggerExecution": 1500},
        "eventTime": {"watermark": f"2024-03-04T14:30:{watermark}.000Z", "max": f"2024-03-04T14:30:{event}.000Z"},
        "stateOperators": [
            {"numRowsTotal": 3, "memoryUsedBytes": 1000, "numRowsDroppedByWatermark": 9 * late},
            {"numRowsTotal": 4, "memoryUsedBytes": 2000, "numRowsDroppedByWatermark": late},
        ],
        "sources": [{"endOffset": f'{{"ticks": {{"0": {end}}}}}', "latestOffset": f'{{"ticks": {{"0": {latest}}}}}'}],
    }


def value(name: str, query: str, suffix: str = "") -> float:
    return REGISTRY.get_sample_value(f"tickstream_query_{name}{suffix}", {"query": query}) or 0.0


def test_batches_that_ended_between_two_looks_are_counted_and_their_late_ticks_logged() -> None:
    query, reports = Query("final"), Reports(10)
    before = {name: value(name, "final", "_total") for name in ("batches", "input_rows", "late_ticks")}
    reports.look([query])
    query.ends(7, rows=5)
    reports.look([query])
    for batch in (8, 9, 10):
        query.ends(batch, rows=20, late=2 if batch == 9 else 0)
    with capture_logs() as logs:
        reports.look([query])
        reports.look([query])
    grown = {name: value(name, "final", "_total") - number for name, number in before.items()}
    assert grown == {"batches": 4, "input_rows": 65, "late_ticks": 2}
    assert [(log["event"], log["batch"], log["ticks"]) for log in logs] == [("late ticks dropped", 9, 2)]


def test_gauges_are_of_the_part_that_is_furthest_behind() -> None:
    parts, reports = [Query("live-0"), Query("live-1")], Reports(12.5)
    parts[0].ends(1, end=90, latest=100, watermark="10", event="40")
    parts[1].ends(5, end=50, latest=100, watermark="05", event="20")
    reports.look(parts)
    assert value("lag_records", "live") == 60
    assert value("state_bytes", "live") == 6000
    assert value("event_timestamp_seconds", "live") - value("watermark_timestamp_seconds", "live") == 35
    assert value("up", "live") == 2
    assert REGISTRY.get_sample_value("tickstream_watermark_delay_seconds") == 12.5
    parts[1].isActive = False
    reports.look(parts)
    assert value("up", "live") == 1


@pytest.mark.parametrize("latest", ["null", "{}", '"not known"'])
def test_source_that_does_not_tell_its_end_leaves_the_lag_as_it_was(latest: str) -> None:
    query, reports = Query("lake"), Reports(10)
    query.ends(1, end=40, latest=100)
    reports.look([query])
    query.ends(2)
    query.recentProgress[-1]["sources"][0]["latestOffset"] = latest
    reports.look([query])
    assert value("lag_records", "lake") == (0 if latest == "{}" else 60)


def test_report_without_ticks_keeps_the_newest_event_time() -> None:
    query, reports = Query("archive"), Reports(10)
    query.ends(1, event="45")
    reports.look([query])
    before = value("event_timestamp_seconds", "archive")
    query.ends(2)
    query.recentProgress[-1]["eventTime"] = {}
    query.recentProgress[-1]["stateOperators"] = []
    reports.look([query])
    assert value("event_timestamp_seconds", "archive") == before > 0
