"""`python -m notebooks execute|check`: run the notebooks and keep their outputs, or look whether these are in order."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError

from core.errors import InputError, TickstreamError
from notebooks.execution import execute, notebooks, plots, problems, write
from notebooks.places import API

_EXAMPLES = """examples:
  python -m notebooks execute              all of them; 04 on servers of its own with three recorded days, some minutes
  python -m notebooks execute 01 03        these two
  NOTEBOOK_API=http://127.0.0.1:8000 python -m notebooks execute 04      on a running system, its lake in data/
  python -m notebooks check                are the kept outputs of the code that is there, and clean?"""
NEEDS_SYSTEM = "04"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when all ran and are clean, 1 with one line on what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        found = _chosen(options.names)
        return _execute(found) if options.command == "execute" else _check(found)
    except TickstreamError as error:
        sys.stderr.write(f"notebooks: {error}\n")
        return 1


def _execute(paths: Sequence[Path]) -> int:
    wrong = 0
    for path in paths:
        started = time.monotonic()
        with _system(path) as environ:
            try:
                book = execute(path, environ)
            except (CellExecutionError, CellTimeoutError) as error:
                sys.stderr.write(f"{path.name}: {error}\n")
                return 1
        write(book, path)
        wrong += _tell(path, f"{time.monotonic() - started:.0f} s")
    return 1 if wrong else 0


def _check(paths: Sequence[Path]) -> int:
    return 1 if sum(_tell(path, "as kept") for path in paths) else 0


def _tell(path: Path, how: str) -> int:
    """One line on a notebook as it is kept, and one per problem; the number of these."""
    book = nbformat.read(path, as_version=4)
    found = problems(book)
    sys.stdout.write(f"{path.name}: {how}, {plots(book)} plots, {path.stat().st_size / 1024:,.0f} KiB\n")
    for problem in found:
        sys.stderr.write(f"{path.name}: {problem}\n")
    return len(found)


def _system(path: Path) -> contextlib.AbstractContextManager[Mapping[str, str]]:
    if not path.name.startswith(NEEDS_SYSTEM) or os.environ.get(API):
        return contextlib.nullcontext({})
    from notebooks.system import recorded_system  # servers and Spark, which the others do without

    return recorded_system()


def _chosen(names: Sequence[str]) -> list[Path]:
    found = notebooks()
    unknown = [name for name in names if not any(path.name.startswith(name) for path in found)]
    if unknown:
        raise InputError(f"no notebook {unknown[0]}; there are {', '.join(path.stem for path in found)}")
    return [path for path in found if not names or any(path.name.startswith(name) for name in names)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m notebooks",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("execute", "check"))
    parser.add_argument("names", nargs="*", metavar="01", help="the beginning of a notebook's name (default: all)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
