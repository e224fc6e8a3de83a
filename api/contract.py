"""The published contract: `docs/openapi.json` is what the application says of itself, and it only ever grows.

python -m api openapi write            write it
python -m api openapi check            is the file what the application says?
python -m api openapi diff OLD NEW     what does NEW take away from those who use OLD?
python -m api openapi gate             the same, of the last release (else the last commit) and this file
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from api.contract_diff import breaks
from api.examples import add_examples
from core.errors import InputError

ROOT = Path(__file__).parents[1]
PLACE = "docs/openapi.json"
FILE = ROOT / PLACE


PROBLEM_JSON = "application/problem+json"
# What the layers around every handler may answer; a handler's own wording of a status stays.
AROUND = {
    "400": "The path or the query cannot be read, or holds a key",
    "401": "A key is needed, or this one is not valid",
    "403": "The key lacks the scope that this asks for",
    "408": "The request came too slowly",
    "413": "The body is too large",
    "414": "The URL is too long",
    "429": "Too many requests; try again after `Retry-After` seconds",
    "503": "A store does not answer; try again after `Retry-After` seconds",
}


def add_common(document: dict[str, Any]) -> None:
    """Give every operation of an OpenAPI document the answers of the layers around it, in place."""
    schema = {"$ref": "#/components/schemas/Problem"}
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, text in AROUND.items():
                answer = operation["responses"].setdefault(status, {"description": text})
                answer.setdefault("content", {}).setdefault(PROBLEM_JSON, {"schema": schema})


def install(app: FastAPI) -> None:
    """Publish common answers and examples with the application's OpenAPI."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            add_common(document)
            add_examples(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def document() -> dict[str, Any]:
    """The contract of the application as its default settings build it. Opens no connection."""
    from api.app import create_app
    from conf.settings import Settings

    return create_app(Settings.model_validate({})).openapi()


def as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 1 with a line for each thing that is wrong."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _write(_: argparse.Namespace) -> int:
    FILE.write_text(as_text(document()))
    sys.stdout.write(f"{PLACE} written\n")
    return 0


def _check(_: argparse.Namespace) -> int:
    if FILE.exists() and FILE.read_text() == as_text(document()):
        return 0
    sys.stderr.write(f"{PLACE} is not what the application says: run `python -m api openapi write` and look at it\n")
    return 1


def _diff(options: argparse.Namespace) -> int:
    return _report(breaks(_read(options.old), _read(options.new)), str(options.old))


def _gate(_: argparse.Namespace) -> int:
    if not (ROOT / ".git").exists():
        sys.stdout.write(f"{PLACE}: not a git checkout, so there is no earlier contract to compare with\n")
        return 0
    for version in (_git("describe", "--tags", "--abbrev=0"), "HEAD"):
        held = version and _git("show", f"{version}:{PLACE}")
        if held:
            return _report(breaks(json.loads(held), _read(FILE)), f"{PLACE} of {version}")
    sys.stdout.write(f"{PLACE}: no earlier version is committed, so there is nothing to compare with\n")
    return 0


def _report(found: Sequence[str], what: str) -> int:
    for line in found:
        sys.stderr.write(f"{line}\n")
    if found:
        sys.stderr.write(f"{len(found)} ways to break clients of {what}\n")
    return 1 if found else 0


def _read(path: Path) -> dict[str, Any]:
    try:
        read: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from None
    return read


def _git(*arguments: str) -> str:
    """What git says; nothing when it cannot."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api openapi", description="The published contract of the API.")
    commands = parser.add_subparsers(required=True, metavar="write|check|diff|gate")
    commands.add_parser("write", help=f"write {PLACE}").set_defaults(run=_write)
    commands.add_parser("check", help="fail when the file is not what the application says").set_defaults(run=_check)
    gate = commands.add_parser("gate", help="fail when it takes something away from the last version")
    gate.set_defaults(run=_gate)
    diff = commands.add_parser("diff", help="fail when NEW takes something away from OLD")
    diff.add_argument("old", type=Path, metavar="OLD")
    diff.add_argument("new", type=Path, metavar="NEW")
    diff.set_defaults(run=_diff)
    return parser


if __name__ == "__main__":
    sys.exit(main())
