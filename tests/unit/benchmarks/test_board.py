"""The picture of a board: units as Grafana writes them, holes where nobody measured."""

import math

from benchmarks.board import STEP_SECONDS, _legend, _numbers, most, shown


def test_units_are_those_of_grafana() -> None:
    assert [shown(value, "s") for value in (0.0, 0.0042, 2.5, 300)] == ["0 s", "4.2 ms", "2.5 s", "300 s"]
    assert [shown(value, "bytes") for value in (0, 999, 1.5e9)] == ["0 B", "999 B", "1.5 GB"]
    assert (
        shown(2.5e5, "Bps") == "250 kB/s"
        and shown(12_000, "cps") == "12k/s"
        and shown(0.9995, "percentunit") == "99.95 %"
    )


def test_process_that_was_away_leaves_a_hole() -> None:
    at = [100.0, 100.0 + STEP_SECONDS, 100.0 + 9 * STEP_SECONDS]
    times, values = _numbers([(each, "1.5") for each in at])
    assert (
        len(times) == 4
        and times == sorted(times)
        and [math.isnan(value) for value in values] == [False, False, True, False]
    )
    assert most(("a", times, values)) == 1.5
    assert most(("a", *_numbers([(1.0, "NaN")]))) is None


def test_legend_takes_its_labels() -> None:
    assert _legend("{{stage}}: {{reason}}", {"stage": "archive", "reason": "price"}) == "archive: price"
