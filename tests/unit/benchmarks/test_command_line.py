"""Bad input ends in one line and a non-zero exit, before anything is started."""

import json
from pathlib import Path

import pytest

from benchmarks import BENCHMARKS
from benchmarks.__main__ import main
from benchmarks.bars import compare
from benchmarks.latency import highest
from benchmarks.load import Backlog
from benchmarks.processes import environment
from benchmarks.report import Result, table, write
from benchmarks.servers import make_settings
from conf.settings import Settings, load_settings
from producers.reading import find_files


@pytest.mark.parametrize("command", BENCHMARKS)
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"python -m benchmarks {command} --json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["latency"], "--json"),
        (["latency", "--json", "r.json", "--rates", "fast"], "'fast' is not a list of whole numbers"),
        (["latency", "--json", "r.json", "--rates", "0"], "at least 1"),
        (["latency", "--json", "r.json", "--modes", "turbo"], "unknown turbo"),
        (["latency", "--json", "r.json", "--seconds", "-1"], "not a number above 0"),
        (["throughput", "--json", "r.json", "--ticks", "1,2"], "not one number"),
        (["recovery", "--json", "r.json", "--set", "linger"], "is not NAME=VALUE"),
        (["turnover", "--json", "r.json"], "invalid choice"),
    ],
)
def test_wrong_usage_exits_two_and_names_it(arguments: list[str], told: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--whole-stack", "--modes", "plain"], "--whole-stack"),
        (["--search"], "--search"),
        (["--set", "no_such_setting=1"], "no_such_setting"),
        (["--linger", "-3"], "live_linger_ms"),
    ],
)
def test_contradiction_exits_one_with_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["latency", "--json", str(tmp_path / "r.json"), *arguments]) == 1
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_result_that_cannot_be_written_is_said_first(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["throughput", "--json", str(tmp_path)]) == 1
    assert "a folder, not a file" in capsys.readouterr().err


@pytest.mark.parametrize("limit", [999, 1000, 1900, 5500, 7999])
def test_highest_is_within_an_eighth_below_the_limit(limit: int) -> None:
    found = highest(1000, lambda rate: rate <= limit)
    assert found <= limit
    assert (found == 0) == (limit < 1000)
    assert found == 0 or limit - found <= found / 8 + 1


def test_highest_stops_at_the_ceiling() -> None:
    assert highest(1000, lambda _: True, ceiling=4000) == 4000


def test_environment_gives_exactly_these_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKSTREAM_INTERVALS", "15m")
    monkeypatch.setenv("INFLUX_URL", "http://elsewhere")
    wanted = make_settings({"topic_prefix": "b1.", "live_linger_ms": "7", "redis_url": "redis://127.0.0.1:1/3"})
    got = load_settings(environment(wanted), env_file=None)
    assert got == Settings(**wanted.model_dump())
    assert (got.influx_url, got.intervals, got.live_linger_ms) == (None, "1m,5m,15m", 7)


def test_compare_names_each_kind_of_difference() -> None:
    one, two, three = ("A", "1m", 0), ("A", "1m", 1), ("A", "1m", 2)
    assert compare({one: {"volume": 1}}, {one: {"volume": 1}}) == ""
    told = compare({one: {"volume": 1}, two: {"volume": 2}}, {two: {"volume": 3}, three: {"volume": 4}})
    assert told == ("1 bars missing, such as A 1m 0; 1 bars too many, such as A 1m 2; 1 bars different, such as A 1m 1")


def test_backlog_as_parquet_is_a_recorded_file(tmp_path: Path) -> None:
    Backlog(ticks=2_500, symbols=3, rate=1_000, start_us=1_709_551_800_000_000).write_parquet(tmp_path / "t.parquet")
    (file,) = find_files([tmp_path])
    assert file.rows == 2_500
    assert 1_709_551_800_000_000 <= file.first_us < file.last_us < 1_709_551_802_500_000


def test_table_aligns_numbers_right_and_text_left() -> None:
    rows = [{"path": "kafka", "p50": 2.5}, {"path": "redis", "p50": 1234.25, "held": True}]
    assert table(rows).splitlines() == [
        "  path        p50  held",
        "  kafka      2.50",
        "  redis  1,234.25   yes",
    ]


def test_result_names_files_and_no_folders(tmp_path: Path) -> None:
    path = tmp_path / "soak.json"
    write(path, "soak", {}, {"json": path, "plot": tmp_path / "soak.png", "rate": 5, "set": []}, Result())
    assert json.loads(path.read_text())["options"] == {"json": "soak.json", "plot": "soak.png", "rate": 5, "set": []}
