"""The registry of sources and their commands."""

import importlib
import subprocess
import sys
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


def test_a_command_loads_no_other() -> None:
    code = (
        "import sys\nfrom producers.__main__ import main\ntry: main(['parse', '--help'])\nfinally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {name for name in SOURCES.values() if name in loaded} == {"producers.parse"}
    assert "pandas" not in loaded
