"""Boards, rules and the runbook name what there is: no metric that nobody exports, no alert without an entry."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.jars import ROOT
from metrics.__main__ import FOLDER
from metrics.boards import BOARDS, board_json
from metrics.catalog import declared
from metrics.serve import OFFSETS

RULES = ROOT / "deploy" / "rules" / "tickstream.yml"
CASES = ROOT / "deploy" / "rules" / "tests" / "tickstream.yml"
LIBRARY = {"process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}
JVM = {f"tickstream_jvm_{name}" for name in LIBRARY}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool on PATH (Debian: apt-get install prometheus)"
)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def named(query: str) -> set[str]:
    """The metrics of a query, histograms without their suffix; recorded ones have colons and are left out."""
    names = set(re.findall(r"(?<![\w:])((?:tickstream|process)_\w+)(?![\w:])", query))
    kinds = {name: kind for name, (kind, _) in declared().items()}
    bare = {re.sub(r"_(bucket|sum|count)$", "", name): name for name in names}
    return {name if kinds.get(name) == "histogram" else full for name, full in bare.items()}


def test_boards_are_as_the_table_makes_them() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == BOARDS.keys()
    for name in BOARDS:
        assert (FOLDER / f"{name}.json").read_text() == board_json(name), "python -m metrics boards"


@pytest.mark.parametrize("name", BOARDS)
def test_panels_do_not_overlap_and_have_numbers_and_queries_of_their_own(name: str) -> None:
    panels = json.loads(board_json(name))["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert len(letters) == len(set(letters)) and (letters or panel["type"] == "row")


def test_every_metric_of_boards_and_rules_is_exported() -> None:
    queries = [target["expr"] for name in BOARDS for panel in json.loads(board_json(name))["panels"]
               for target in panel.get("targets", [])]  # fmt: skip
    asked = {metric for query in [*queries, *(rule["expr"] for rule in rules())] for metric in named(query)}
    assert len(asked) > 30
    assert asked <= declared().keys() | LIBRARY | JVM


def test_names_follow_the_rules_of_the_field() -> None:
    for name, (kind, text) in declared().items():
        assert re.fullmatch(r"tickstream_[a-z0-9_]+", name) and text, name
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|us|millis|kb|mb|percent)(_|$)", name), name
        if kind == "histogram":
            assert name.endswith("_seconds"), name


def test_every_alert_has_an_entry_in_the_runbook_and_a_case_that_fires() -> None:
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    entries = re.findall(r"^### (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sorted(alerts) == sorted(entries)
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test.get("alert_rule_test", [])]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts


def test_alerts_say_how_grave_they_are_and_what_is_wrong() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"]["summary"]


@pytest.mark.parametrize("path", ["prometheus.yml", "prometheus-local.yml"])
def test_prometheus_reads_every_program_on_its_port(path: str) -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    names = {program: {"ticks": "tick-relay"}.get(program, program) for program in OFFSETS}
    jobs = yaml.safe_load((ROOT / "deploy" / path).read_text())["scrape_configs"]
    (ours,) = (job for job in jobs if job["job_name"] == "tickstream")
    found = {each["labels"]["program"]: each["targets"] for each in ours["static_configs"]}
    here = path != "prometheus.yml"
    assert found == {
        program: [f"{'127.0.0.1' if here else name}:{9100 + OFFSETS[program]}"]
        for program, name in names.items()
        if here or name in services
    }


@needs_promtool
def test_rules_hold_what_they_promise(tmp_path: Path) -> None:
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(CASES)],
                    ["check", "config", str(ROOT / "deploy" / "prometheus-local.yml")]):  # fmt: skip
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_cases_fail_for_a_rule_that_is_turned_round(tmp_path: Path) -> None:
    text = RULES.read_text()
    assert text.count("match_ratio < 0.999") == 1
    (tmp_path / "tests").mkdir()
    (tmp_path / "tickstream.yml").write_text(text.replace("match_ratio < 0.999", "match_ratio > 0.999"))
    (tmp_path / "tests" / "cases.yml").write_text(CASES.read_text())
    done = subprocess.run(["promtool", "test", "rules", "cases.yml"], capture_output=True, cwd=tmp_path / "tests")
    assert done.returncode != 0
