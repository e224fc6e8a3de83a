"""How queries fare, from what they leave behind: every state has its evidence, and none is made up."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.kafka import Standing
from api.query_states import Seen, allowance, states_json, watermark_allowance
from api.readers import Offsets, Reader, checkpoints
from conf.settings import Settings

NOW = 1_795_279_600_000_000
SECOND = 1_000_000
SETTINGS = Settings(final_trigger_ms=500, archive_trigger_ms=2000, lake_trigger_seconds=60, lateness_seconds=10)


def reader(name: str = "final", age: float = 1.0, **changes: Any) -> Reader:
    """A reader that has read all but ten records of the two partitions of `ticks`."""
    fields: dict[str, Any] = {"topic": "ticks", "places": {0: 95, 1: 95}, "source": "checkpoint"}
    if name == "final":
        fields["watermark_us"] = NOW - 11 * SECOND
    return Reader(**({"name": name, "as_of_us": NOW - int(age * SECOND)} | fields | changes))


def standing(*readers: Reader, row_age: float = 0.1, tick_age: float = 0.1, **overdue: int) -> Standing:
    ends = {("ticks", 0): 100, ("ticks", 1): 100, ("bars.live", 0): 300}
    newest = {"ticks": NOW - int(tick_age * SECOND), "bars.live": NOW - int(row_age * SECOND)}
    offsets = Offsets(dict.fromkeys(ends, 0), ends, newest)
    late = {each.name: 0 for each in readers} | {name.replace("_", "-"): count for name, count in overdue.items()}
    return Standing(offsets, list(readers), late)


def states(standing: Standing | None, **seen: Any) -> dict[str, dict[str, Any]]:
    rows = states_json(Seen(NOW, standing, **seen), SETTINGS)
    assert [row["query"] for row in rows] == ["live", "relay", "final", "archive", "lake", "reconcile"]
    return {row["query"]: row for row in rows}


def test_final_runs_with_its_lag_watermark_and_age() -> None:
    final = states(standing(reader(batch=7)))["final"]
    assert (final["state"], final["lag"], final["overdue"], final["batch"]) == ("running", 10, 0, 7)
    assert final["watermark_lag_seconds"] == 11.0 and final["as_of"] == "2026-11-21T16:46:39.000000Z"
    assert final["watermark_allowed_seconds"] == watermark_allowance(SETTINGS) == 20.0


@pytest.mark.parametrize(("age", "state"), [(1.0, "behind"), (59.0, "behind"), (61.0, "stalled")])
def test_reader_with_old_records_is_behind_and_stalled_once_nothing_moves(age: float, state: str) -> None:
    final = states(standing(reader(age=age), final=1200))["final"]
    assert final["state"] == state and final["because"].startswith("1,200 records are waiting for more than 10 s")


def test_a_lag_alone_is_not_behind() -> None:
    far = reader("lake", age=100.0, places={0: 0, 1: 0})
    assert states(standing(far))["lake"]["state"] == "running" and allowance(SETTINGS, "lake") == 180


def test_reader_at_the_end_is_idle() -> None:
    assert states(standing(reader("archive", age=900, places={0: 100, 1: 100})))["archive"]["state"] == "idle"


@pytest.mark.parametrize(("tick_age", "state"), [(0.1, "behind"), (3600.0, "running")])
def test_watermark_that_stands_is_behind_only_while_ticks_come(tick_age: float, state: str) -> None:
    old = reader(watermark_us=NOW - 3600 * SECOND)
    assert states(standing(old, tick_age=tick_age, row_age=tick_age))["final"]["state"] == state


def test_without_checkpoint_or_kafka_nothing_is_claimed() -> None:
    found = states(standing())
    assert {found[name]["state"] for name in ("relay", "final", "archive", "lake", "reconcile")} == {"unknown"}
    down = states(None, kafka_error="kafka: no answer", checked_us=NOW - SECOND)
    assert down["live"]["because"] == "kafka: no answer" and down["reconcile"]["state"] == "running"
    assert {row["state"] for name, row in down.items() if name != "reconcile"} == {"unknown"}


@pytest.mark.parametrize(
    ("row_age", "tick_age", "trade_age", "state"),
    [
        (0.1, 0.1, 2.0, "running"),
        (40.0, 0.1, 2.0, "stalled"),  # trades came after its newest row
        (40.0, 0.1, 41.0, "unknown"),  # only records that may be heartbeats
        (40.0, 39.0, 41.0, "idle"),  # nothing came
        (40.0, 0.1, None, "unknown"),  # the archive cannot say
    ],
)
def test_live_is_judged_by_its_rows(row_age: float, tick_age: float, trade_age: float | None, state: str) -> None:
    trade_us = None if trade_age is None else NOW - int(trade_age * SECOND)
    live = states(standing(row_age=row_age, tick_age=tick_age), last_trade_us=trade_us)["live"]
    assert live["state"] == state and live["lag"] is None


def test_live_whose_checkpoints_stop_is_behind_although_rows_come() -> None:
    live = states(standing(reader("live-1"), live_1=5))["live"]
    assert live["state"] == "behind" and "live-1" in live["because"]


def test_reconcile_is_not_called_dead_for_silence() -> None:
    found = states(standing(), checked_us=NOW - 4000 * SECOND)["reconcile"]
    assert found["state"] == "unknown" and "1 h 6 min" in found["because"]


def test_live_query_of_one_partition_has_no_lag_in_the_other() -> None:
    offsets = standing().offsets
    one = replace(reader("live-1", places={1: 90}), only=frozenset({1}))
    assert offsets.lag(one) == {1: 10}
    assert offsets.lag(replace(one, only=None)) == {0: 100, 1: 10}  # a partition that it has still to begin
    assert offsets.overdue(one, {("ticks", 0): 100, ("ticks", 1): 95}) == 5


def test_offset_beyond_the_end_or_before_the_first_record_is_no_lag_of_its_own() -> None:
    offsets = replace(standing().offsets, first={("ticks", 0): 60, ("ticks", 1): 0})
    assert offsets.lag(reader(places={0: 10, 1: 130})) == {0: 40, 1: 0}


def test_checkpoint_gives_batch_watermark_and_the_partition_of_a_live_query(tmp_path: Path) -> None:
    for name, places in (("final", {"0": 7, "1": 9}), ("live-1", {"1": 4}), ("archive", {"0": 1})):
        for batch in (3, 4):  # the fourth is planned, not finished
            log = tmp_path / name / "offsets" / str(batch)
            log.parent.mkdir(parents=True, exist_ok=True)
            parts = [{number: offset + batch - 3} for number, offset in places.items()]  # a line for each source
            log.write_text("\n".join(["v1", "{}", *(json.dumps({"ticks": part}) for part in parts)]))
        (tmp_path / name / "commits").mkdir()
        ms = 0 if name == "archive" else 1_795_279_589_000
        (tmp_path / name / "commits" / "3").write_text(f'v1\n{{"nextBatchWatermarkMs":{ms}}}')
    found = {each.name: each for each in checkpoints(tmp_path, "ticks")}
    assert found["final"].places == {0: 7, 1: 9} and found["final"].batch == 3 and found["final"].only is None
    assert found["final"].watermark_us == NOW - 11 * SECOND and found["archive"].watermark_us is None
    assert found["live-1"].only == {1}
