"""Who may import whom: the table of the architecture page, held against every module's syntax tree."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {
    "core",
    "conf",
    "stores",
    "producers",
    "jobs",
    "api",
    "local",
    "benchmarks",
    "chaos",
    "deploy",
    "tests",
    "dashboard",
    "ml",
    "notebooks",
    "metrics",
    "alerts",
}
ANY = OURS

# Folder -> what of ours it may import besides itself.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "conf": {"core"},
    "metrics": {"core", "conf"},
    "stores": {"core", "conf", "metrics"},
    "producers": {"core", "stores", "conf", "metrics"},
    "alerts": {"core", "stores", "conf", "metrics"},
    "api": {"core", "stores", "conf", "metrics", "alerts"},
    "dashboard": {"core", "stores", "conf", "metrics"},
    "ml": {"core", "stores", "conf", "metrics"},
    "jobs": ANY - {"tests", "benchmarks", "chaos", "notebooks"},
    "local": ANY - {"jobs", "tests", "notebooks"},
    "benchmarks": ANY - {"notebooks"},
    "chaos": ANY - {"tests", "benchmarks", "notebooks"},
    "deploy": set(),
    "notebooks": ANY - {"tests"},
    "tests": ANY,
}
MAY_USE_SPARK = {"jobs", "tests", "benchmarks"}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(source: str, package: tuple[str, ...]) -> set[str]:
    """Top-level names that a module imports, wherever the statement stands; relative ones resolved."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(package[0] if node.level else (node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("folder", sorted(name for name in OURS if (ROOT / name).is_dir()))
def test_folder_imports_only_what_it_may(folder: str) -> None:
    for path in modules(folder):
        names = imported(path.read_text(), path.relative_to(ROOT).parts)
        forbidden = (names & OURS) - ALLOWED[folder] - {folder}
        assert not forbidden, f"{path.relative_to(ROOT)} may not import {', '.join(sorted(forbidden))}"
        if folder not in MAY_USE_SPARK:
            assert "pyspark" not in names, f"{path.relative_to(ROOT)}: only jobs/ imports pyspark"


def test_every_folder_of_python_is_in_the_table() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/**/*.py")}
    assert {name for name in folders if not name.startswith(".") and name != "data"} <= OURS


def test_imported_sees_every_way_to_import() -> None:
    source = "import a.b as c\nfrom d.e import f\ndef g():\n    import h\nfrom . import i\n"
    assert imported(source, ("core", "x.py")) == {"a", "d", "h", "core"}
