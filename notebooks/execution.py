"""Run notebooks and keep them clean: no machine's paths, no times of execution, outputs that belong to their cells."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parent
CELL_SECONDS = 300
FINGERPRINT = "source_sha256"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
_PATHS = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|var|opt|usr|private|mnt)/[^\s'\"<>,)]*")
_ADDRESSES = re.compile(r" at 0x[0-9a-f]{6,}")


def notebooks() -> list[Path]:
    """The notebooks of this folder, in order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


def execute(path: Path, environ: Mapping[str, str] | None = None) -> NotebookNode:
    """The notebook run from top to bottom in a kernel of its own, in its folder; the file stays as it is.

    Raises nbclient.exceptions.CellExecutionError where a cell fails. `environ` is added to the environment.
    """
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(
        book,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        config=Config({"KernelManager": {"transport_encryption": "required"}}),
        resources={"metadata": {"path": str(FOLDER)}},
    )
    client.execute(env={**os.environ, "PYTHONWARNINGS": "error::DeprecationWarning:__main__", **(environ or {})})
    return book


def clean(book: NotebookNode) -> NotebookNode:
    """The notebook as it is kept: metadata that say the same everywhere, and the fingerprint of its source."""
    kept = nbformat.from_dict(book)
    kept["metadata"] = {
        "kernelspec": dict(KERNEL),
        "language_info": {"name": "python"},
        FINGERPRINT: fingerprint(kept),
    }
    for cell in kept["cells"]:
        cell["metadata"] = {}
        for output in cell.get("outputs", ()):
            output.pop("metadata", None) if output["output_type"] == "stream" else output.update(metadata={})
    return kept


def write(book: NotebookNode, path: Path) -> None:
    """Write a cleaned notebook, cells numbered by their place so that a change of one shows as one."""
    kept = clean(book)
    for number, cell in enumerate(kept["cells"]):
        cell["id"] = f"cell-{number:02}"
    nbformat.validate(kept)
    nbformat.write(kept, path)


def fingerprint(book: NotebookNode) -> str:
    """What a notebook's code says: another one means that its outputs are of another notebook."""
    source = "\n\0".join(cell["source"] for cell in book["cells"] if cell["cell_type"] == "code")
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def problems(book: NotebookNode) -> list[str]:
    """What is wrong with an executed notebook as it is kept; empty is good."""
    return [*_staleness(book), *(f"cell {number}: {what}" for number, cell in _code(book) for what in _wrong(cell))]


def plots(book: NotebookNode) -> int:
    """How many pictures its outputs hold."""
    return sum("image/png" in output.get("data", {}) for _, cell in _code(book) for output in cell["outputs"])


def texts(book: NotebookNode) -> list[str]:
    """The text of all outputs, in order; pictures left out."""
    return [text for _, cell in _code(book) for output in cell["outputs"] for text in _texts(output)]


def _code(book: NotebookNode) -> list[tuple[int, NotebookNode]]:
    return [(n, cell) for n, cell in enumerate(book["cells"]) if cell["cell_type"] == "code" and cell["source"].strip()]


def _staleness(book: NotebookNode) -> Iterator[str]:
    counts = [cell["execution_count"] for _, cell in _code(book)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"the cells were not run once from top to bottom: {counts}"
    if book["metadata"].get(FINGERPRINT) != fingerprint(book):
        yield "the outputs are of other code than the cells hold"


def _wrong(cell: NotebookNode) -> Iterable[str]:
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            yield f"raised {output['ename']}: {output['evalue']}"
        elif output.get("name") == "stderr":
            yield f"wrote to stderr: {output['text'][:300]}"
        for text in _texts(output):
            found = _PATHS.search(text) or _ADDRESSES.search(text)
            if found:
                yield f"shows what only this machine has: {found[0]}"


def _texts(output: NotebookNode) -> list[str]:
    if output["output_type"] == "stream":
        return [output["text"]]
    return [text for kind, text in sorted(output.get("data", {}).items()) if kind.startswith("text/")]
