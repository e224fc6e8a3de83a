"""Measurements of `python -m benchmarks`, as frames: those that are committed, or one made now."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from notebooks.places import ROOT

FOLDER = ROOT / "benchmarks" / "results"
MODES = "latency-modes.json"
"""Real-time mode, micro-batch and the plain process, one after the other in one run: the only fair comparison."""
COMPARE = (
    "python -m benchmarks latency --rates 1000 --symbols 20 --modes realtime,microbatch,plain"
    f" --json benchmarks/results/{MODES}"
)
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
MINUTES = 15


def read(name: str) -> dict[str, Any]:
    """A committed result: `benchmark`, `machine`, `options`, `tables`, `remarks`, `wrong`."""
    return json.loads((FOLDER / name).read_text())


def there(name: str) -> bool:
    """Whether a result of that name is committed."""
    return (FOLDER / name).exists()


def latency_files() -> list[str]:
    """The committed results that tell of latency."""
    return [path.name for path in sorted(FOLDER.glob("latency*.json"))] + ["sockets.json"]


def table(result: dict[str, Any], name: str) -> pd.DataFrame:
    """One table of a result, a row per measurement."""
    return pd.DataFrame(result["tables"][name])


def runs(names: list[str]) -> pd.DataFrame:
    """What has to be known of runs before their numbers are held against each other, one row per file."""
    rows = []
    for name in names:
        result = read(name)
        machine, options = result["machine"], result["options"]
        rows.append(
            {
                "file": name,
                "date (UTC)": machine["date"][:16].replace("T", " "),
                "commit": machine["commit"],
                "modes": ", ".join(options.get("modes", ["whole stack"])),
                "ticks/s": ", ".join(map(str, _listed(options.get("rates", options.get("rate"))))),
                "symbols": ", ".join(map(str, _listed(options["symbols"]))),
                "whole stack": bool(options.get("whole_stack", "clients" in options)),
                "load before": machine["load_average_at_start"],
                "warm-up, s": options["warmup"],
                "wrong": len(result["wrong"]),
            }
        )
    return pd.DataFrame(rows).set_index("file")


def percentiles(rows: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Latency in ms by share of ticks (0.5, 0.95, …), a column per row of a latency table, named by `names`."""
    return pd.DataFrame({names[key]: row for key, row in rows[list(SHARES)].iterrows()}).rename(index=SHARES)


def measure(modes: str = "realtime,microbatch,plain", warmup: int = 30, seconds: int = 20) -> dict[str, Any]:
    """Run the latency benchmark here and now: some two minutes a mode, on servers of its own.

    Raises RuntimeError with its last line where it fails. A warm-up below 75 s measures the JIT compiler too.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "latency.json"
        options = ["--rates", "1000", "--symbols", "20", "--modes", modes]
        times = ["--warmup", str(warmup), "--seconds", str(seconds), "--json", str(out)]
        command = [sys.executable, "-m", "benchmarks", "latency", *options, *times]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 * MINUTES, check=False)
        if not out.exists():
            raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])
        return json.loads(out.read_text())


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
