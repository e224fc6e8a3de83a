"""Progress lines, tables, and the JSON file of a result."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import InputError

Rows = Sequence[dict[str, Any]]
_STARTED = time.monotonic()


@dataclass
class Result:
    """What a benchmark found: named tables of rows, and remarks in words."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The tables as text, then the remarks, then what was wrong."""
        parts = [f"{name}\n{table(rows)}" for name, rows in self.tables.items() if rows]
        return "\n\n".join([*parts, *self.remarks, *(f"WRONG: {line}" for line in self.wrong)])


def say(text: str) -> None:
    """A line of progress."""
    print(f"[{time.monotonic() - _STARTED:6.0f} s] {text}", file=sys.stderr, flush=True)


def table(rows: Rows) -> str:
    """Rows under their columns, numbers to the right.

    >>> print(table([{"path": "kafka", "p50": 2.5}, {"path": "redis", "p50": 10.25}]))
      path    p50
      kafka   2.5
      redis  10.25
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    numeric = {name: all(isinstance(row.get(name, 0), int | float) for row in rows) for name in columns}
    cells = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    lines = []
    for line in cells:
        aligned = (
            text.rjust(width) if numeric[name] else text.ljust(width)
            for name, text, width in zip(columns, line, widths, strict=True)
        )
        lines.append("  " + "  ".join(aligned).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def check_path(path: Path) -> None:
    """Raises InputError when the result could not be written there: better now than after an hour."""
    if path.is_dir():
        raise InputError(f"--json {path}: a folder, not a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
    except OSError as error:
        raise InputError(f"--json {path}: {error.strerror}") from None


def write(path: Path, what: str, machine: dict[str, Any], options: dict[str, Any], result: Result) -> None:
    """The result as JSON: `benchmark`, `machine`, `options`, `tables`, `remarks`, `wrong`."""
    document = {
        "benchmark": what,
        "machine": machine,
        # The places of files say nothing to a reader elsewhere.
        "options": {name: value.name if isinstance(value, Path) else value for name, value in options.items()},
        "tables": result.tables,
        "remarks": result.remarks,
        "wrong": result.wrong,
    }
    path.write_text(json.dumps(document, indent=2, default=str) + "\n")
