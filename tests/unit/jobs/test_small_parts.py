"""The parts of the jobs that need no Spark."""

import pytest

from jobs.archive import DeadLetter, dead_record
from jobs.backups.places import unfinished
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


def test_refused_record_is_passed_on_as_it_is() -> None:
    key, value, headers = dead_record(DeadLetter(None, b"x" * 900_000, "malformed", 3, 17), "ticks")
    assert (key, value) == (None, b"x" * 900_000)
    told = {"reason": b"malformed", "topic": b"ticks", "partition": b"3", "offset": b"17", "stage": b"archive"}
    assert {name: text for name, text in headers if name != "detail"} == told and dict(headers)["detail"]


@pytest.mark.parametrize(
    ("key", "value", "size"),
    [
        (b"k", b"v" * 1_000_100, b"1000100"),
        (b"k" * 1_000_000, b"v", b"1"),
        (b"k" * 1_000_000, None, b"0"),
        (b"k" * 900_000, b"v" * 900_000, b"900000"),
    ],
    ids=["value", "key", "key alone", "both"],
)
def test_refused_record_that_is_too_long_is_cut_and_says_so(key: bytes, value: bytes | None, size: bytes) -> None:
    cut_key, cut_value, headers = dead_record(DeadLetter(key, value, "malformed", 0, 1), "ticks")
    told = dict(headers)
    assert (told["truncated"], told["size"]) == (b"true", size)
    assert key.startswith(cut_key or b"-") and (value or b"").startswith(cut_value or b"")
    assert len(cut_key or b"") + len(cut_value or b"") < 960_000


def test_backup_takes_what_the_log_lacks_and_all_where_that_is_not_known() -> None:
    bounds = {0: (10, 50), 1: (10, 50), 2: (10, 50), 3: (10, 50), 4: (0, 0)}
    known = {0: 30, 1: 5, 2: 50, 3: 900}  # 3: as the ticks of a broker that is gone say
    assert unfinished(known, bounds) == {0: 30, 1: 10, 2: 50, 3: 10, 4: 0}
