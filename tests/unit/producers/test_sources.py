"""The registry of sources and their commands."""

import importlib
from pathlib import Path

import pytest

from producers import SOURCES


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_source_module_keeps_the_contract(name: str) -> None:
    module = importlib.import_module(SOURCES[name])
    assert module.HELP and f"python -m producers {name}" in module.EXAMPLES
    assert callable(module.add_arguments) and callable(module.run)


def test_every_module_with_a_command_is_registered() -> None:
    folder = Path(__file__).parents[3] / "producers"
    with_command = {
        f"producers.{path.stem}" for path in folder.glob("*.py") if "\ndef add_arguments(" in path.read_text()
    }
    assert with_command == set(SOURCES.values())
