"""The parts of the jobs that need no Spark."""

import pytest

from jobs.progress import late_ticks
from jobs.queries import names


def test_names_of_queries_are_taken_apart() -> None:
    assert names("live, final,") == ["live", "final"]
    for text in ("", ",", "live,finale"):
        with pytest.raises(ValueError, match="known: live, final, archive"):
            names(text)


def test_late_ticks_are_counted_where_each_is_seen_once() -> None:
    aggregate, deduplication = {"numRowsDroppedByWatermark": 6}, {"numRowsDroppedByWatermark": 2}
    assert late_ticks({"stateOperators": [aggregate, deduplication]}) == 2
    assert late_ticks({"stateOperators": []}) == late_ticks({}) == 0
