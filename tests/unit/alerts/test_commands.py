"""`python -m alerts`: help that teaches, files that are read, mistakes in one line."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from alerts.__main__ import _EXAMPLES, _rules, main
from alerts.rules import parse_rule
from core.errors import InputError

RULE = {"name": "high", "condition": {"kind": "price", "when": "above", "level": 100}}


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """A command says where logs go: here to what pytest closes at the end of a test."""
    yield
    structlog.reset_defaults()


def test_files_hold_one_rule_or_several_as_json_or_yaml(tmp_path: Path) -> None:
    texts = {
        "one.json": json.dumps(RULE),
        "list.json": json.dumps([RULE]),
        "rules.yaml": "rules:\n- name: high\n  condition: {kind: price, when: above, level: 100}\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        assert _rules(tmp_path / name) == [parse_rule(RULE)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "neither YAML nor JSON"),
        ("[1]", "rule 1:"),
        (json.dumps([RULE, RULE | {"name": "b", "severity": "loud"}]), "rule b: severity"),
        ("!!python/object/apply:os.system ['false']", "neither YAML nor JSON"),
    ],
)
def test_file_that_is_wrong_says_where(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "rules"
    file.write_text(text)
    with pytest.raises(InputError) as error:
        _rules(file)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert main(["check", str(file)]) == 1


def test_help_shows_a_rule_that_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "test-target" in capsys.readouterr().out
    text = _EXAMPLES.partition("a rule:\n")[2].partition("\n\n")[0]
    assert parse_rule(json.loads(text)).name == "BTC overbought"


def test_unknown_target_names_those_there_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKSTREAM_ALERT_TARGETS", "desk=json://127.0.0.1:1/SECRET")
    assert main(["test-target", "dsek"]) == 1
    said = capsys.readouterr().err
    assert "known: desk" in said and "SECRET" not in said
    assert main(["test-target", "desk"]) == 1
    assert "not sent: A Connection error" in (out := capsys.readouterr().out) and "SECRET" not in out
