"""The notebooks run from top to bottom without a word on stderr, and what is committed of them is what they say."""

import ast
import copy
import os
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from conf.settings import Settings
from core.clock import SystemClock
from jobs.history import load_history
from local.server import free_port
from notebooks import places, rest
from notebooks.execution import clean, execute, fingerprint, notebooks, plots, problems, texts, write
from notebooks.system import asking, us_equity_settings
from producers.reading import find_files
from tests.serving import serving

PLOTS = {"01_ticks_to_bars": 5, "02_indicators_and_warm_up": 5, "03_latency": 5, "04_research": 6, "05_predictor": 6}
FOLDER_BYTES = 2_000_000
BY_NAME = {path.stem: path for path in notebooks()}
needs_data = pytest.mark.skipif(places.data_folder() is None, reason="the recorded market data is not here")


def kept(name: str) -> NotebookNode:
    return nbformat.read(BY_NAME[name], as_version=4)


def code(book: NotebookNode) -> list[str]:
    return [cell["source"] for cell in book["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("name", BY_NAME)
def test_committed_outputs_are_whole_clean_and_of_this_code(name: str) -> None:
    book = kept(name)
    assert problems(book) == [] and plots(book) >= PLOTS.get(name, 1)
    assert set(book["metadata"]) == {"kernelspec", "language_info", "source_sha256"}
    assert all(not cell["metadata"] for cell in book["cells"])


def test_committed_notebooks_are_small() -> None:
    assert sum(path.stat().st_size for path in BY_NAME.values()) < FOLDER_BYTES


@pytest.mark.parametrize("name", BY_NAME)
def test_notebooks_define_nothing(name: str) -> None:
    defining = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for cell in code(kept(name)):
        assert not any(isinstance(node, defining) for node in ast.walk(ast.parse(cell))), cell


@needs_data
@pytest.mark.parametrize("name", ["01_ticks_to_bars", "02_indicators_and_warm_up", "03_latency"])
def test_notebook_says_again_what_is_committed(name: str) -> None:
    fresh = clean(execute(BY_NAME[name]))
    assert problems(fresh) == [] and plots(fresh) >= PLOTS[name]
    assert texts(fresh) == texts(kept(name)), f"run `python -m notebooks execute {name[:2]}`"


@needs_data
def test_predictor_finds_in_recorded_bars_what_is_committed() -> None:
    fresh = clean(execute(BY_NAME["05_predictor"]))
    assert problems(fresh) == [] and plots(fresh) >= PLOTS["05_predictor"]
    said = "\n".join(texts(fresh))  # not word by word: the last digits are the processor's
    assert "one mistake              return_1" in said
    assert "beats every baseline in direction only" in said and "beats every baseline, in return and direction" in said


def test_notebook_runs_where_nothing_is_recorded(tmp_path: Path) -> None:
    fresh = clean(execute(BY_NAME["01_ticks_to_bars"], {places.DATA: str(tmp_path)}))
    assert problems(fresh) == [] and plots(fresh) == PLOTS["01_ticks_to_bars"]
    assert any("no published bars here" in text for text in texts(fresh))


def test_research_without_a_system_says_how_to_start_one() -> None:
    with pytest.raises(CellExecutionError) as caught:
        execute(BY_NAME["04_research"], {places.API: f"http://127.0.0.1:{free_port()}"})
    assert caught.value.ename == "NotRunning" and "make up FEED=replay" in caught.value.evalue
    assert "File " not in caught.value.traceback, "a stack trace instead of one line"


@needs_data
@pytest.mark.spark
def test_research_on_a_recorded_day(spark, settings: Settings) -> None:
    settings = Settings.model_validate({**settings.model_dump(), **us_equity_settings()})
    folder = places.data_folder() / "us_equity_2013/ticks"
    files = find_files([folder / f"{symbol}_2013-10-07.parquet" for symbol in ("IBM", "AIG")])
    bars, amended = load_history(spark, settings, files, SystemClock())
    assert bars > 1000 and amended == 3, "IBM's closing auction amends a bar of each interval"
    with serving(settings) as client:
        assert_pages_and_moments(client)
        fresh = clean(execute(BY_NAME["04_research"], asking(settings, str(client.base_url))))
    assert problems(fresh) == [] and plots(fresh) >= PLOTS["04_research"]
    said = "\n".join(texts(fresh))
    assert "'only mine': 0, 'only theirs': 0" in said and "as of the first revision" in said
    (counts,) = (ast.literal_eval(text) for text in texts(fresh) if text.startswith("{'bars'"))
    assert counts["bars"] == counts["equal in all five"] > 800


def assert_pages_and_moments(client) -> None:
    """Pages hold every bar once, and what was known before an amendment is what the first revision said."""
    whole = rest.bars(client, "IBM", interval="1m")
    pages = list(rest.pages(client, "/api/v1/bars/IBM", interval="1m", start=0, limit=100))
    starts = [start for page in pages for start in page["start"].to_pylist()]
    assert len(pages) == -(-len(whole) // 100) and starts == whole["start"].tolist() and len(set(starts)) == len(whole)
    close = whole[whole["state"] == "amended"]
    told = rest.revisions_of(client, close)
    assert told["rev"].tolist() == [1, 2] and told["reason"].tolist() == [None, "late"]
    assert told["volume"].tolist() == [69098.0, 220763.0]
    then = rest.bars(client, "IBM", interval="1m", as_of=told["known_at"].iloc[0])
    assert then.set_index("start")["volume"][close["start"].iloc[0]] == 69098.0
    assert rest.revisions_of(client, close.iloc[:0]).empty


@pytest.fixture
def book() -> NotebookNode:
    return kept("03_latency")


def outputs(book: NotebookNode) -> list[NotebookNode]:
    return next(cell["outputs"] for cell in book["cells"] if cell.get("outputs"))


def test_problems_sees_what_is_wrong(book: NotebookNode) -> None:
    cases = {
        "raised": nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]),
        "stderr": nbformat.v4.new_output("stream", name="stderr", text="DeprecationWarning: old"),
        "machine": nbformat.v4.new_output("stream", name="stdout", text=f"read {Path.home()}/data/x.parquet"),
        "0x7f": nbformat.v4.new_output("execute_result", data={"text/plain": "<object at 0x7f2fc344ce40>"}),
    }
    for words, output in cases.items():
        wrong = copy.deepcopy(book)
        outputs(wrong).append(output)
        assert any(words in problem for problem in problems(wrong)), words
    unharmed = copy.deepcopy(book)
    outputs(unharmed).append(nbformat.v4.new_output("stream", name="stdout", text="GET /api/v1/bars, notebooks/, 1/2"))
    assert problems(unharmed) == []


def test_problems_sees_outputs_of_other_code(book: NotebookNode) -> None:
    changed, again, never = copy.deepcopy(book), copy.deepcopy(book), copy.deepcopy(book)
    next(cell for cell in changed["cells"] if cell["cell_type"] == "code")["source"] += "\n1 + 1"
    next(cell for cell in again["cells"] if cell["cell_type"] == "code")["execution_count"] = 9
    next(cell for cell in never["cells"] if cell["cell_type"] == "code")["execution_count"] = None
    for wrong in (changed, again, never):
        assert problems(wrong)
    assert fingerprint(changed) != fingerprint(book)


def test_write_leaves_nothing_of_the_machine_and_the_same_bytes_twice(book: NotebookNode, tmp_path: Path) -> None:
    dirty = copy.deepcopy(book)
    dirty["metadata"]["language_info"]["version"] = "3.11.7"
    dirty["cells"][0]["metadata"]["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    dirty["cells"][0]["id"] = os.urandom(4).hex()
    for number, each in enumerate((dirty, book)):
        write(each, tmp_path / f"{number}.ipynb")
    assert (tmp_path / "0.ipynb").read_bytes() == (tmp_path / "1.ipynb").read_bytes()
    assert "2026-01-01T00" not in (tmp_path / "0.ipynb").read_text()
