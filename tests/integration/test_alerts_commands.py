"""`python -m alerts` on a real database and a real endpoint."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from alerts.__main__ import main
from core.intervals import MINUTE_US
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests import factories
from tests.receivers import Hook

RULE: dict[str, Any] = {"name": "high", "condition": {"kind": "price", "when": "above", "level": 100}}


@pytest.fixture(autouse=True)
def environment(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("POSTGRES_DSN", postgres_dsn)
    yield
    structlog.reset_defaults()  # a command says where logs go: here to what pytest closes


def test_rules_are_applied_by_name_listed_and_deleted(
    database: TimescaleStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"rules": [RULE, RULE | {"name": "off", "enabled": False}]}))
    assert main(["rules", "apply", str(file)]) == 0
    assert main(["rules", "apply", str(file)]) == 0
    assert capsys.readouterr().out.split("\n")[:4] == ["made high", "made off", "replaced high", "replaced off"]
    assert main(["rules", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:6].split() for line in lines] == [["high"], ["-", "off"]]
    assert main(["rules", "delete", "off"]) == 0 and main(["rules", "delete", "off"]) == 1


def test_rule_of_a_file_is_checked_on_the_stored_bars(
    database: TimescaleStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = dict.fromkeys(("open", "high", "low", "close"), Decimal(101))
    bars = [factories.bar(start=factories.MONDAY_US + place * MINUTE_US, **prices) for place in range(30)]
    database.write_bars(bars_table(bars))
    file = tmp_path / "rule.json"
    file.write_text(json.dumps(RULE))
    century = str(24 * 365 * 100)
    assert main(["check", str(file), "--hours", "1"]) == 0
    assert "0 bars of 0 symbols" in capsys.readouterr().out
    assert main(["check", str(file), "--hours", century]) == 0
    out = capsys.readouterr().out
    assert "30 bars of 1 symbols" in out and "began 1 times in 1 alerts; 3 messages (1 firing, 2 reminder)" in out
    assert main(["check", str(file), "--hours", century, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["crossings"] == 1


def test_target_is_tried(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with Hook() as hook:
        monkeypatch.setenv("TICKSTREAM_ALERT_TARGETS", f"desk[critical]={hook.url}")
        assert main(["test-target", "desk"]) == 0
        assert capsys.readouterr().out == "sent\n" and hook.messages[0]["title"] == "[info] tickstream: a test"


def test_database_that_is_away_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://me:hidden@127.0.0.1:1/x")
    assert main(["rules", "list"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("alerts: timescale:") and said.count("\n") == 1 and "hidden" not in said
