"""Verification over Spark: the final query and the backfill give the reference, and a broken rule shows in both."""

from pathlib import Path
from typing import Any

import pytest

from conf.settings import Settings
from core.bars import BAR_RULES, Rule
from jobs.verifying import batching, streaming
from jobs.verifying.planning import Plan
from jobs.verifying.reconciled import reconciled_day
from jobs.verifying.recording import load, recording_of
from jobs.verifying.sample import sample_day
from jobs.verifying.schedules import Schedule
from producers.reading import TickFile, find_files

pytestmark = pytest.mark.spark

SETTINGS = Settings(ruleset="us-equity", indicators="sma:3 ema:4 obv vwap")
CRASHING = Schedule("crashing", "stream", partitions=2, keyed=False, copies=0.1, batches=2, crashes=((1, "after"),))
ANYHOW = Schedule("any order", "batch", "anyhow", partitions=4, keyed=False, copies=0.2, shuffles=3)
WHOLE = Schedule("whole files", "batch", "in order", partitions=0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[TickFile]:
    """A session of two files, as recorded."""
    folder, day = tmp_path_factory.mktemp("recorded"), sample_day(600)
    for name, own in day.groupby("symbol"):
        own.drop(columns="source").to_parquet(folder / f"{name}.parquet")
    return find_files([folder])


@pytest.fixture(scope="module")
def plan(files: list[TickFile]) -> Plan:
    return Plan(load(files, SETTINGS))


def test_the_final_query_crashes_and_gives_the_reference(spark: Any, plan: Plan, tmp_path: Path) -> None:
    part = plan.recording.whole()
    found = streaming.stream(spark, part, CRASHING, tmp_path)
    assert found.problem(plan.expected(part), False) is None and found.restarts == 1 and found.late == 0
    assert len(list((tmp_path / "out").glob("*.bars"))) > 3, "a batch was written twice"


def test_the_backfill_gives_the_reference(spark: Any, plan: Plan, files: list[TickFile], tmp_path: Path) -> None:
    part = plan.recording.whole()
    found = batching.batch(spark, part, ANYHOW, files, tmp_path)
    assert found.problem(plan.expected(part), False) is None


def test_a_broken_rule_shows_on_spark_too(
    spark: Any, plan: Plan, files: list[TickFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = plan.recording.whole()
    expected = plan.expected(part)
    monkeypatch.setitem(BAR_RULES, "volume", Rule("sum", "size", "high_low"))
    problem = batching.batch(spark, part, WHOLE, files, tmp_path).problem(expected, False)
    assert problem is not None and " volume: expected " in problem


@pytest.mark.alone
def test_a_killed_process_goes_on_from_its_checkpoint(plan: Plan, tmp_path: Path) -> None:
    part = plan.recording.whole()
    killed = Schedule("killed", "killed", copies=0.1, kills=1, batches=6)
    found = streaming.killed(part, killed, tmp_path, 4)
    assert found.problem(plan.expected(part), False) is None and found.restarts == 1


@pytest.mark.alone
def test_a_day_of_amendments_ends_like_the_clean_one(spark: Any, tmp_path: Path) -> None:
    recording = recording_of([sample_day(1_200)], SETTINGS)
    said: list[str] = []
    found = reconciled_day(spark, recording, 1, tmp_path / "amended", said.append)
    assert found["problem"] is None, found
    assert set(found["amendments"]) == {"late", "correction", "cancel"} and found["revisions"] > 20
    assert said[0].endswith("equals the clean day")
