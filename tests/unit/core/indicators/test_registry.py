"""A new indicator is one file, and nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.indicators import INDICATORS
from core.indicators.registry import discover

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "indicators.md").read_text()
SPAN = re.findall(r"```python\n(.*?)```", PAGE.partition("## A new indicator is one file")[2], re.DOTALL)[0]
USE = """
import numpy as np
from conf.settings import Settings
from core.indicators import INDICATORS, IndicatorSet, bars_of
import core
chosen = IndicatorSet(Settings(indicators="span:2 sma:2").indicators_of("1m"))
rows = [[1, 1], [4, 9], [1, 3], [2, 5], [1, 1], [2, 5]]
folded = chosen.fold(chosen.initial(1), np.array([0, 0]), np.array([1, 2]), bars_of(*rows, start=[1, 2]))
print(core.__path__[0], list(INDICATORS), chosen.columns, folded.values[1].tolist())
"""


def with_files(folder: Path, **files: str) -> "subprocess.CompletedProcess[str]":
    """What `USE` prints in a copy of the project in which these files lie beside the indicators."""
    for name in ("core", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in files.items():
        (folder / "core" / "indicators" / f"{name}.py").write_text(text)
    return subprocess.run([sys.executable, "-c", USE], cwd=folder, capture_output=True, text=True)


def test_file_of_the_page_is_a_new_indicator(tmp_path: Path) -> None:
    found = with_files(tmp_path, span=SPAN)
    before = list(INDICATORS).index("stoch") + 1  # the modules come in alphabetical order
    names = [*list(INDICATORS)[:before], "span", *list(INDICATORS)[before:]]
    assert found.stderr == ""
    assert found.stdout == f"{tmp_path}/core {names} ('span_2', 'sma_2') [8.0, 3.5]\n"


def test_two_indicators_of_one_name_are_an_error(tmp_path: Path) -> None:
    found = with_files(tmp_path, span=SPAN, width=SPAN.replace("class Span", "class Width"))
    message = "two indicators are named 'span': core.indicators.span.Span and core.indicators.width.Width"
    assert found.returncode == 1 and f"TypeError: {message}" in found.stderr


def test_class_without_a_name_and_class_from_elsewhere_are_none(tmp_path: Path) -> None:
    abstract = SPAN.replace('    name: ClassVar[str] = "span"\n', "").replace("class Span", "class Ranged")
    other = "from core.indicators.ranged import Ranged\nfrom core.indicators.averages import Sma\n"
    found = with_files(tmp_path, span=SPAN, ranged=abstract, other=other)
    assert found.stderr == "" and "[8.0, 3.5]" in found.stdout


def test_discover_gives_the_same_again() -> None:
    assert list(discover().items()) == list(INDICATORS.items())


def test_order_is_that_of_the_page() -> None:
    table = re.findall(r"^\| `([a-z]+)[`:]", PAGE.partition("## The list")[2].partition("\n## ")[0], re.MULTILINE)
    assert table == list(INDICATORS)


@pytest.mark.parametrize("name", INDICATORS)
def test_name_is_the_class_s_own(name: str) -> None:
    assert INDICATORS[name].name == name and "name" in vars(INDICATORS[name])
