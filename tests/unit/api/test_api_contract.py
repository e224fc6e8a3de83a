"""The published contract: what counts as taking something away, examples that fit, the file and the application."""

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from api import contract
from api.contract_diff import breaks
from api.examples import PROBLEM, example_of

Document = dict[str, Any]
Change = Callable[[Document], object]


def base() -> Document:
    """A contract with one of everything."""
    row = {
        "type": "object",
        "required": ["price", "kind"],
        "properties": {
            "price": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            "kind": {"type": "string", "enum": ["trade", "cancel"]},
            "count": {"type": "integer"},
            "inner": {"$ref": "#/components/schemas/Row"},
            "more": {"type": "object", "additionalProperties": {"type": "number"}},
        },
    }
    parameters = [
        {"in": "query", "name": "limit", "schema": {"type": "integer", "minimum": 1, "maximum": 100}},
        {"in": "query", "name": "order", "schema": {"type": "string", "enum": ["asc", "desc"]}},
        {"in": "query", "name": "at", "schema": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
        {"in": "path", "name": "symbol", "required": True, "schema": {"type": "string", "pattern": "^a$"}},
    ]
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}}
    got = {"content": {"application/json": {"schema": rows}, "text/csv": {"schema": {"type": "string"}}}}
    body = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "n": {"type": "number"}}}
    post = {
        "requestBody": {"required": False, "content": {"application/json": {"schema": body}}},
        "responses": {"202": {"content": {}}},
    }
    get = {"parameters": parameters, "responses": {"200": got, "404": {"content": {}}}}
    return {"paths": {"/a/{symbol}": {"get": get, "post": post}}, "components": {"schemas": {"Row": row}}}


def get(document: Document) -> Document:
    found: Document = document["paths"]["/a/{symbol}"]["get"]
    return found


def parameter(document: Document, name: str) -> Document:
    found: Document = next(each for each in get(document)["parameters"] if each["name"] == name)
    return found


def row(document: Document) -> Document:
    found: Document = document["components"]["schemas"]["Row"]
    return found


def body(document: Document) -> Document:
    content: Document = document["paths"]["/a/{symbol}"]["post"]["requestBody"]
    return content


def sent(document: Document) -> Document:
    found: Document = body(document)["content"]["application/json"]["schema"]
    return found


BREAKING: dict[str, Change] = {
    "the path is gone": lambda d: d["paths"].clear(),
    "the method is gone": lambda d: d["paths"]["/a/{symbol}"].pop("get"),
    "the status is gone": lambda d: get(d)["responses"].pop("404"),
    "text/csv is gone": lambda d: get(d)["responses"]["200"]["content"].pop("text/csv"),
    "query parameter order is gone": lambda d: get(d)["parameters"].pop(1),
    "query parameter limit became required": lambda d: parameter(d, "limit").update(required=True),
    "new query parameter x is required": lambda d: get(d)["parameters"].append(
        {"in": "query", "name": "x", "required": True, "schema": {}}
    ),
    "maximum is 50, was 100": lambda d: parameter(d, "limit")["schema"].update(maximum=50),
    "minimum is 2, was 1": lambda d: parameter(d, "limit")["schema"].update(minimum=2),
    "maxLength is 5, was open": lambda d: parameter(d, "symbol")["schema"].update(maxLength=5),
    "another pattern": lambda d: parameter(d, "symbol")["schema"].update(pattern="^b$"),
    "no longer integer": lambda d: parameter(d, "limit")["schema"].update(type="string"),
    "no longer null": lambda d: parameter(d, "at").update(schema={"type": "string"}),
    "query parameter order: value 'desc' is gone": lambda d: parameter(d, "order")["schema"].update(enum=["asc"]),
    "only some values are left": lambda d: parameter(d, "at")["schema"]["anyOf"][0].update(enum=["now"]),
    "[].count: the field is gone": lambda d: row(d)["properties"].pop("count"),
    "[].kind: value 'cancel' is gone": lambda d: row(d)["properties"]["kind"].update(enum=["trade"]),
    "[].kind: may be missing now": lambda d: row(d).update(required=["price"]),
    "[].price: no longer number": lambda d: row(d)["properties"]["price"]["anyOf"].pop(),
    "[].count: no longer integer": lambda d: row(d)["properties"]["count"].update(type="number"),
    "[].more.*: no longer number": lambda d: row(d)["properties"]["more"].update(
        additionalProperties={"type": "string"}
    ),
    "body became required": lambda d: body(d).update(required=True),
    "body.n: became required": lambda d: sent(d).update(required=["name", "n"]),
    "body.n: the field is gone": lambda d: sent(d)["properties"].pop("n"),
    "body.n: no longer number": lambda d: sent(d)["properties"]["n"].update(type="integer"),
}

ADDING: dict[str, Change] = {
    "nothing": lambda d: d,
    "a path": lambda d: d["paths"].update({"/b": {"get": {"responses": {}}}}),
    "a method": lambda d: d["paths"]["/a/{symbol}"].update(put={"responses": {}}),
    "a parameter": lambda d: get(d)["parameters"].append({"in": "query", "name": "x", "schema": {"type": "string"}}),
    "a wider limit": lambda d: parameter(d, "limit")["schema"].update(minimum=0, maximum=1000),
    "no limit": lambda d: parameter(d, "limit")["schema"].pop("maximum"),
    "a number where an integer was asked for": lambda d: parameter(d, "limit")["schema"].update(type="number"),
    "an enum value": lambda d: parameter(d, "order")["schema"]["enum"].append("none"),
    "an optional parameter that was required": lambda d: parameter(d, "symbol").update(required=False),
    "a field": lambda d: row(d)["properties"].update(new={"type": "string"}),
    "a field that is always there": lambda d: row(d).update(required=["price", "kind", "count"]),
    "a value of an answer": lambda d: row(d)["properties"]["kind"]["enum"].append("correct"),
    "another status": lambda d: get(d)["responses"].update({"429": {"content": {}}}),
    "another content type": lambda d: get(d)["responses"]["200"]["content"].update({"x/y": {}}),
    "an optional field of a body": lambda d: sent(d)["properties"].update(m={"type": "string"}),
    "a name for the same schema": lambda d: (
        d["components"]["schemas"].update(Line=copy.deepcopy(row(d))),
        get(d)["responses"]["200"]["content"]["application/json"]["schema"].update(
            items={"$ref": "#/components/schemas/Line"}
        ),
    ),
}


def changed(change: Change) -> Document:
    document = base()
    change(document)
    return document


@pytest.mark.parametrize("said", BREAKING)
def test_breaks_names_what_is_taken_away(said: str) -> None:
    found = breaks(base(), changed(BREAKING[said]))
    assert found and all(said in line for line in found[:1]), found


@pytest.mark.parametrize("what", ADDING)
def test_breaks_lets_everything_be_added(what: str) -> None:
    assert breaks(base(), changed(ADDING[what])) == []


def test_diff_command_fails_with_a_line_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(base()))
    new.write_text(json.dumps(changed(BREAKING["the method is gone"])))
    assert contract.main(["diff", str(old), str(old)]) == 0
    assert contract.main(["diff", str(old), str(new)]) == 1
    assert "GET /a/{symbol}: the method is gone" in capsys.readouterr().err
    assert contract.main(["diff", str(old), str(tmp_path / "none.json")]) == 1
    assert "none.json cannot be read" in capsys.readouterr().err


def test_gate_outside_a_checkout_says_so_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contract, "ROOT", tmp_path)
    assert contract.main(["gate"]) == 0
    assert "not a git checkout" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_gate_compares_with_the_last_commit_and_rather_with_the_last_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    file = tmp_path / contract.PLACE
    file.parent.mkdir()
    monkeypatch.setattr(contract, "ROOT", tmp_path)
    monkeypatch.setattr(contract, "FILE", file)
    git("init")
    file.write_text(json.dumps(base()))
    assert contract.main(["gate"]) == 0 and "no earlier version" in capsys.readouterr().out
    git("add", ".")
    git("commit", "-m", "first")
    assert contract.main(["gate"]) == 0
    file.write_text(json.dumps(changed(BREAKING["the method is gone"])))
    assert contract.main(["gate"]) == 1 and "of HEAD" in capsys.readouterr().err
    git("tag", "v1")
    git("commit", "-am", "second")  # what was released still counts
    assert contract.main(["gate"]) == 1 and "of v1" in capsys.readouterr().err


@pytest.fixture(scope="module")
def published() -> Document:
    return contract.document()


def test_committed_contract_is_what_the_application_says(published: Document) -> None:
    assert contract.FILE.read_text() == contract.as_text(published), "run `python -m api openapi write`"


def test_contract_of_today_takes_nothing_away_from_itself(published: Document) -> None:
    assert breaks(published, published) == []


def test_every_answer_has_an_example_that_fits_its_schema(published: Document) -> None:
    for path, operations in published["paths"].items():
        for method, operation in operations.items():
            answers = {status: each for status, each in operation["responses"].items() if status.startswith("2")}
            assert answers, f"{method} {path} answers nothing"
            for status, answer in operation["responses"].items():
                for media_type, content in answer.get("content", {}).items():
                    if media_type.endswith("json"):
                        _check(published, content, f"{method} {path} {status}")
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    assert "example" in parameter, f"{method} {path}: {parameter['name']}"
            for content in operation.get("requestBody", {}).get("content", {}).values():
                _check(published, content, f"{method} {path} body")


def _check(published: Document, content: Document, where: str) -> None:
    assert content.get("example") is not None, f"{where}: no example"
    schema = {"components": published["components"], **content.get("schema", {})}
    validator = jsonschema_rs.Draft202012Validator(schema)
    problems = [error.message for error in validator.iter_errors(content["example"])]
    assert not problems, f"{where}: {problems[:3]}"


def test_example_of_prefers_the_name_where_its_type_fits() -> None:
    assert example_of({}, {"type": "object", "properties": {"bars": {"type": "integer"}}}) == {"bars": 60}
    assert example_of({}, {"type": "object", "properties": {"bars": {"type": "array", "items": {}}}}) == {
        "bars": [None]
    }
    assert example_of({}, {"enum": ["b", "a"]}) == "b"
    assert {"type", "title", "status", "detail", "instance"} == PROBLEM.keys()
