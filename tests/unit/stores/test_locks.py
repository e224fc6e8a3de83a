"""Advisory locks of PostgreSQL: their numbers are of one space for the whole database."""

import re
from itertools import chain

from local.jars import ROOT

_CODE = ("alerts", "api", "core", "jobs", "local", "metrics", "ml", "producers", "stores")
_NUMBER = re.compile(r"^_?(?:\w+_)?LOCK(?:_\w+)? = ([0-9_]+)", re.MULTILINE)
_TAKEN = re.compile(r"pg_(?:try_)?advisory_(?:xact_)?lock\(")


def test_no_two_advisory_locks_have_one_number() -> None:
    found: dict[int, list[str]] = {}
    for path in chain.from_iterable((ROOT / folder).rglob("*.py") for folder in _CODE):
        text = path.read_text()
        numbers = [int(number) for number in _NUMBER.findall(text)]
        assert numbers or not _TAKEN.search(text), f"{path}: an advisory lock whose number this test does not see"
        for number in numbers:
            found.setdefault(number, []).append(str(path.relative_to(ROOT)))
    assert len(found) > 5
    assert [paths for paths in found.values() if len(paths) > 1] == []
