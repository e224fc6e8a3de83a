"""Verification without Spark: the reference, the orders of arrival, and that whatever is wrong is found."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from conf.settings import Settings
from core.bars import BAR_RULES, Rule, fold_bars
from core.canonical import bar_values
from core.corrections import corrected
from core.errors import InputError
from jobs.verify import main
from jobs.verifying.amending import disturbed
from jobs.verifying.comparing import difference, hash_of, with_indicators
from jobs.verifying.folding import fold
from jobs.verifying.mutants import MUTANTS, judge
from jobs.verifying.outcome import merged
from jobs.verifying.planning import Plan
from jobs.verifying.recording import Recording, recording_of, ticks_of, with_ids
from jobs.verifying.reference import reference_bars
from jobs.verifying.sample import OPEN_US, sample_day
from jobs.verifying.schedules import ENGINES, Schedule, arrange, schedules
from tests.oracles import oracle_bars

EQUITY = Settings(ruleset="us-equity", indicators="sma:3 ema:4 obv vwap")
PLAIN = EQUITY.model_copy(update={"ruleset": "all"})
LENGTHS = {"1m": 60_000_000, "5m": 300_000_000, "15m": 900_000_000}
DELIVERED = {"kafka_partition", "first_offset", "last_offset", "received_us"}


@pytest.fixture(scope="module")
def recording() -> Recording:
    return recording_of([sample_day(500)], EQUITY)


def expected(recording: Recording) -> Any:
    bars = reference_bars(recording.raw, recording.settings.ruleset, LENGTHS)
    return with_indicators(bars, recording.settings)


def defined(recording: Recording) -> Any:
    """The values of the bars that `core.bars` makes of a recording, by symbol, interval and start."""
    placed = [(tick, None, None) for tick in ticks_of(recording.ticks)]
    bars = map(msgspec.structs.asdict, fold_bars(placed, recording.settings.bar_intervals, recording.ruleset))
    return {(bar["symbol"], bar["interval"], bar["start"]): bar_values(bar) for bar in bars}


def test_the_reference_agrees_with_another_one() -> None:
    recording = recording_of([sample_day(400)], PLAIN)
    placed = [(tick, None, None) for tick in ticks_of(recording.ticks)]
    other = {
        key: {name: value for name, value in bar.items() if name not in DELIVERED}
        for key, bar in oracle_bars(placed).items()
    }
    found = reference_bars(recording.raw, "all", LENGTHS)
    assert {key: {k: v for k, v in bar.items() if k != "ruleset"} for key, bar in found.items()} == other


def test_the_reference_agrees_with_the_definition_under_every_condition() -> None:
    recording = recording_of([sample_day(3_000, seed=5)], EQUITY)
    found = reference_bars(recording.raw, "us-equity", LENGTHS)
    assert defined(recording) == {key: bar_values(bar) for key, bar in found.items()}
    auctions = [str(found[name, "1m", OPEN_US]["open"]) for name in ("IBM", "SPY")]
    assert auctions == ["171.25000000"] * 2


def test_the_reference_agrees_with_the_definition_on_a_shortened_day() -> None:
    frame = sample_day(1_000, seed=6)
    bell = pd.Timestamp("2013-07-03 13:00", tz="America/New_York")
    frame["event_time"] += bell - pd.Timestamp("2013-10-07 16:00", tz="America/New_York")
    recording = recording_of([frame], EQUITY)
    found = reference_bars(recording.raw, "us-equity", LENGTHS)
    assert defined(recording) == {key: bar_values(bar) for key, bar in found.items()}
    last = int(bell.timestamp()) * 1_000_000 - 60_000_000
    assert [str(found[name, "1m", last]["close"]) for name in ("IBM", "SPY")] == ["191.75000000"] * 2


@pytest.mark.parametrize("schedule", schedules(12, "python", 3) + schedules(20, "spark", 4), ids=lambda each: each.name)
def test_arrivals_are_the_ticks_within_the_watermark(schedule: Schedule, recording: Recording) -> None:
    if schedule.engine == "batch" and not schedule.partitions:
        return
    found = arrange(recording.ticks, schedule, recording.lateness_us)
    count = len(recording.ticks)
    assert set(found.row.tolist()) == set(range(count)) and len(found.row) == count + int(count * schedule.copies)
    assert set(found.partition.tolist()) <= set(range(schedule.partitions))
    assert (np.diff(found.batch) >= 0).all() and found.batch.max(initial=0) < found.batches
    event_us = recording.ticks["event_us"].to_numpy()[found.row]
    for number in range(schedule.partitions):
        own = event_us[found.partition == number]
        behind = np.maximum.accumulate(own) - own if len(own) else own
        assert schedule.order == "anyhow" or (behind < recording.lateness_us).all()
    if schedule.order in ("shuffled", "reversed"):
        assert (np.diff(event_us) < 0).any(), "nothing is out of order"


def test_every_engine_has_its_schedules_and_more_at_random() -> None:
    assert len({each.name for each in schedules(40, "both", 0)}) == 40
    assert schedules(30, "both", 1) == schedules(30, "both", 1) != schedules(30, "both", 2)
    for engine, wanted in ENGINES.items():
        found = schedules(20, engine, 0)
        assert {each.engine for each in found} == set(wanted) and all(each.told for each in found)
    with pytest.raises(InputError):
        schedules(0, "both", 0)


@pytest.mark.parametrize("schedule", [each for each in schedules(14, "python", 1)], ids=lambda each: each.name)
def test_folding_gives_the_reference(schedule: Schedule, recording: Recording) -> None:
    replayed = with_ids(recording) if schedule.amended else recording
    found = fold(replayed.whole(), schedule)
    assert found.problem(expected(replayed), schedule.amended) is None
    assert found.restarts == len(schedule.crashes) and bool(found.amended) == schedule.amended


def test_every_broken_rule_is_caught_and_the_sound_one_passes() -> None:
    verdicts = judge([sample_day(400)], EQUITY)
    assert (verdicts[0].name, verdicts[0].by) == ("nothing is wrong", None)
    assert [verdict.name for verdict in verdicts if verdict.by is None] == ["nothing is wrong"]
    assert len(verdicts) == len(MUTANTS) + 1 == len({verdict.name for verdict in verdicts})
    by = {verdict.name: verdict.by for verdict in verdicts}
    assert by["open and close by arrival"] == by["copies counted"] == "shuffled, repeated, crashing"
    assert by["late trades lost"] == "late, corrected, cancelled"
    assert expected(recording_of([sample_day(100)], EQUITY)), "all is sound again afterwards"
    assert BAR_RULES["open"] == Rule("first", "price", "open_close")


def test_the_first_difference_names_bar_field_and_values(recording: Recording) -> None:
    sound = expected(recording)
    key = ("IBM", "5m", OPEN_US)
    for field, value in (("volume", "1"), ("close", None), ("sma_3", 7.5)):
        wrong = {k: {**bar, "indicators": dict(bar["indicators"])} for k, bar in sound.items()}
        (wrong[key]["indicators"] if field == "sma_3" else wrong[key])[field] = value
        found = difference(sound, wrong)
        assert found is not None and (found.key, found.field, found.found) == (key, field, value)
        assert str(found).startswith(f"IBM 5m 2013-10-07T13:30:00Z {field}: expected ")
        assert hash_of(wrong) != hash_of(sound)
    less = {k: bar for k, bar in sound.items() if k != key}
    assert str(difference(sound, less)) == "IBM 5m 2013-10-07T13:30:00Z: missing"
    assert str(difference(less, sound)) == "IBM 5m 2013-10-07T13:30:00Z: should not be there"


def test_a_bar_that_is_written_twice_has_to_be_the_same(recording: Recording) -> None:
    sound = expected(recording)
    key = min(sound)
    assert merged([sound, {key: sound[key]}]) == (sound, None)
    bars, changed = merged([sound, {key: sound[key] | {"volume": "3"}}])
    assert changed is not None and (changed.key, changed.field) == (key, "volume") and bars[key]["volume"] == "3"
    torn = {name: value for name, value in sound[key].items() if name != "indicators"}
    assert merged([{key: torn}, {key: sound[key]}]) == ({key: sound[key]}, None)


def test_a_disturbed_session_is_the_clean_one_once_all_is_said(recording: Recording) -> None:
    named = with_ids(recording)
    changed = disturbed(named.ticks, 3)
    assert min(changed.counts.values()) > 0
    log = [*ticks_of(changed.timely), *ticks_of(changed.evening, changed.received_us)]
    left = [tick for tick, _, _ in corrected((tick, 0, n) for n, tick in enumerate(log))]
    clean = ticks_of(named.ticks)

    def told(ticks: Sequence[Any]) -> list[tuple[Any, ...]]:
        return sorted((t.trade_id, t.symbol, t.event_us, t.seq, t.price, t.size, t.conditions) for t in ticks)

    assert told(left) == told(clean) and told(ticks_of(changed.timely)) != told(clean)


@pytest.mark.parametrize("budget", [60, 150, 499, 10_000])
def test_parts_are_the_session_and_hold_whole_bars(recording: Recording, budget: int) -> None:
    parts = recording.parts(budget)
    rows = pd.concat([part.ticks for part in parts])
    assert len(rows) == len(recording.ticks) and not rows.index.duplicated().any()
    assert len(parts) == 1 if budget == 10_000 else len(parts) > 1
    plan = Plan(recording)
    bars = [key for part in parts for key in plan.expected(part)]
    assert sorted(bars) == sorted(plan.expected(recording.whole()))
    turns = [plan.part(Schedule("x", "fold"), budget).label for _ in range(len(parts) + 1)]
    assert turns == [part.label for part in (*parts, parts[0])]


def test_what_a_file_leaves_open_is_said() -> None:
    frame = sample_day(100)
    tied = recording_of([frame.assign(trade_id=[f"t{n}" for n in range(100)], seq=0)], PLAIN)
    assert tied.renumbered and "order open" in tied.remarks[0]
    assert tied.ticks.groupby("symbol")["seq"].nunique().sum() == 100
    copies = recording_of([pd.concat([frame, frame.iloc[:7]], ignore_index=True)], PLAIN)
    assert copies.remarks == ["7 rows repeat a trade: the first counts"] and not copies.renumbered
    bad = recording_of([frame.assign(price=frame["price"].where(frame.index != 5, -1.0))], PLAIN)
    assert bad.remarks == ["1 rows are no ticks and were left out, as by every query"]
    assert fold(bad.whole(), Schedule("x", "fold")).problem(expected(bad), False) is None


def test_an_empty_id_is_none() -> None:
    recording = recording_of([sample_day(100).assign(trade_id="")], PLAIN)
    assert not recording.remarks and len(recording.ticks) == 100
    assert fold(recording.whole(), Schedule("x", "fold")).problem(expected(recording), False) is None
    assert with_ids(recording).ticks["trade_id"].is_unique


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "day.parquet"
    sample_day(200).drop(columns="source").to_parquet(path)
    return path


def test_the_command_prints_one_hash(recorded: Path, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    said = []
    for arguments in (["--seed", "1"], ["--seed", "2", "--json", str(tmp_path / "found.json")]):
        assert main(["--data", str(recorded), "--engine", "python", "--schedules", "3", *arguments]) == 0
        said.append(capsys.readouterr().out.splitlines())
    assert said[0][-1] == said[1][-1] and said[0][-1].startswith("hash of all bars and indicators: ")
    assert "us-equity@2" in said[0][0] and "3 of 3 schedules (fold) equal the reference" in said[0][-2]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["equal"] and len(found["runs"]) == 3 and said[0][-1].endswith(found["hash"])
    assert found["runs"][0] | {"seconds": 0} == {
        "schedule": "plain fold", "engine": "fold", "what": "in order, 2 keyed partitions, 1 batches, one gulp",
        "seed": 2000, "symbols": ["IBM", "SPY"], "first": found["session"]["first"], "last": found["session"]["last"],
        "ticks": 200, "bars": found["runs"][0]["bars"], "restarts": 0, "amended": 0, "late": 0, "seconds": 0,
        "hash": found["hash"], "problem": None,
    }  # fmt: skip


def test_the_command_tells_the_first_difference(
    recorded: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BAR_RULES, "high", Rule("min", "price", "high_low"))
    assert main(["--data", str(recorded), "--engine", "python", "--schedules", "1"]) == 1
    out = capsys.readouterr().out
    assert "DIFFERS" in out and " high: expected " in out.splitlines()[-1] and "hash" not in out


def test_the_command_says_what_is_wrong_with_its_arguments(
    recorded: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    log = tmp_path / "log.parquet"
    sample_day(200).assign(identity="x").to_parquet(log)
    for arguments, words in (
        (["--data", str(log)], "is a tick log"),
        ([], "--data names the recorded ticks"),
        (["--data", str(tmp_path / "none")], "no such file"),
        (["--data", str(recorded), "--symbols", "NOPE"], "no ticks of these symbols"),
        (["--data", str(recorded), "--ruleset", "nope"], "unknown ruleset"),
        (["--data", str(recorded), "--calendar", "nope"], "unknown calendar"),
    ):
        assert main([*arguments, "--engine", "python"]) == 1
        assert words in capsys.readouterr().err


def test_python_alone_needs_no_spark() -> None:
    code = "import sys, jobs.verify; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
