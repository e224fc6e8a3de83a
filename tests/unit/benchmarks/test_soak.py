"""What a soak says of its samples: flat or not, how fast disks fill, and a process that ends on the way."""

import argparse
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.report import Result
from benchmarks.soak import Course, Measured, _plot, _tell, complete, on_disk
from benchmarks.tenths import by_hour, changed, memory_rows

MB = 1_000_000
HOUR = range(0, 3601, 10)


def memory(**of: Any) -> list[tuple[float, dict[str, int]]]:
    """A sample each ten seconds of an hour; a function of the seconds for each process."""
    return [(float(at), {name: int(size(at)) for name, size in of.items()}) for at in HOUR]


def test_heap_that_grows_and_stays_is_flat_and_a_leak_is_not() -> None:
    found = memory_rows(
        memory(
            heap=lambda at: min(400, 100 + at / 3) * MB,
            leak=lambda at: (200 + at / 30) * MB,
            saw=lambda at: (300 + (at % 300) / 10) * MB,
            little=lambda at: (20 + at / 1500) * MB,
        )
    )
    assert {row["process"]: row["flat"] for row in found} == {"heap": True, "leak": False, "little": True, "saw": True}
    leak = next(row for row in found if row["process"] == "leak")
    assert (leak["10 %"], leak["100 %"], leak["mb_per_hour"]) == (206, 314, 120.0)


def test_process_that_was_there_for_a_part_of_the_time_has_a_row_all_the_same() -> None:
    samples = [(float(at), {"late": 5 * MB} if at > 3000 else {"all": MB}) for at in HOUR]
    assert {row["process"] for row in memory_rows(samples)} == {"all", "late"}
    assert memory_rows([]) == [] and by_hour([]) == []


def test_disk_growth_is_by_the_hour() -> None:
    (row,) = by_hour([(float(at), {"kafka": (50 + at // 2) * MB}) for at in range(0, 601, 60)])
    assert row == {"store": "kafka", "first": 50.0, "last": 350.0, "mb_per_hour": 1800.0}


def test_change_of_p99_is_relative_and_of_nothing_is_unknown() -> None:
    assert changed(8.0, 8.8) == pytest.approx(0.1) and changed(8.0, 4.0) == -0.5 and math.isnan(changed(0.0, 1.0))


def options(tmp_path: Path, **more: Any) -> argparse.Namespace:
    given = {"minutes": None, "rate": None, "warmup": None, "plot": None, "quick": False, "whole_stack": True}
    made = argparse.Namespace(**given | {"json": tmp_path / "soak.json"} | more)
    complete(made)
    return made


def test_defaults_are_an_hour_at_ten_thousand_a_second(tmp_path: Path) -> None:
    made = options(tmp_path)
    assert (made.minutes, made.rate, made.plot) == (60.0, 10_000, tmp_path / "soak.png")
    assert options(tmp_path, quick=True).minutes < 1


class Window:
    """A window of the load with these p99, and as many ticks as it should have."""

    def __init__(self, p99: float, unseen: int = 0, ticks: int = 600) -> None:
        self._row = {"path": "kafka", "span": "whole", "p99": p99, "unseen": unseen, "double": 0}
        self.ticks = SimpleNamespace(offset=range(ticks))

    def rows(self) -> list[dict[str, Any]]:
        return [self._row, self._row | {"span": "between_checkpoints", "p99": 1.0}]


def told(tmp_path: Path, first: Window, last: Window | None, ended: str = "") -> Result:
    course: Any = SimpleNamespace(
        memory=memory(live=lambda _: MB), disk=[(0.0, {"kafka": MB}), (60.0, {"kafka": 2 * MB})], ended=ended
    )
    result = Result(tables={"memory in MB": [], "latency in ms": [], "disk in MB": [], "course": []})
    windows: Any = {"first": Measured(first, 6.0), "last": None if last is None else Measured(last, 6.0)}  # type: ignore[arg-type]
    _tell(result, course, windows, options(tmp_path, minutes=1.0, rate=100), drained=True)
    return result


def test_p99_that_stays_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    good, bad = told(tmp_path, Window(10.0), Window(11.0)), told(tmp_path, Window(10.0), Window(11.2))
    assert "+10.0%: within 10 %" in good.remarks[0] and "+12.0%: NOT within 10 %" in bad.remarks[0]
    assert good.wrong == [] and good.remarks[1] == "memory is flat in every process"
    assert good.remarks[2].startswith(
        "| 1 min, 100 ticks/s, whole stack | kafka 10.0 → 11.0 | flat in 1 of 1 | 0 ended |"
    )
    assert "kafka 60" in good.remarks[2]


def test_lost_ticks_a_slow_generator_and_an_ended_process_are_wrong(tmp_path: Path) -> None:
    lost = told(tmp_path, Window(10.0), Window(10.0, unseen=3))
    assert lost.wrong == ["last tenth, kafka: 3 ticks unseen, 0 counted twice"]
    slow = told(tmp_path, Window(10.0, ticks=500), Window(10.0))
    assert slow.wrong == ["first tenth: the generator reached only 83 ticks/s"]
    ended = told(tmp_path, Window(10.0), None, "relay ended (1): out of memory")
    assert ended.wrong == ["after 3600 s: relay ended (1): out of memory"] and "1 ended" in ended.remarks[-1]


def test_course_ends_with_the_first_process_that_ends() -> None:
    def check() -> None:
        raise BenchmarkError("live ended (137): killed")

    course = Course(SimpleNamespace(check=check), 1, 1)  # type: ignore[arg-type]
    course.run_for(60, "soaking")
    assert course.ended == "live ended (137): killed" and course.memory == []


def test_size_on_disk_counts_blocks_of_all_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 10_000)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(50_000_000)
    assert 10_000 <= on_disk(tmp_path) < 1_000_000 and on_disk(tmp_path / "none") == 0


def test_picture_is_drawn(tmp_path: Path) -> None:
    _plot(memory(live=lambda at: at * 1000, relay=lambda _: MB), tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes()[:4] == b"\x89PNG"
