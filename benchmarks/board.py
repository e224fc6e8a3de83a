"""Draw a Grafana board as one picture: the queries of its file, asked of a running Prometheus, panel by panel.

make up                                                               # in another terminal
prometheus --config.file=deploy/prometheus-local.yml --web.listen-address=127.0.0.1:9090 \\
    --storage.tsdb.path=data/prometheus
.venv/bin/python -m benchmarks.board http://127.0.0.1:9090 --board pipeline --minutes 15 --png docs/images/board.png
"""

import argparse
import json
import math
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from PIL import Image

from benchmarks.errors import BenchmarkError
from core.errors import TickstreamError
from metrics.__main__ import FOLDER
from metrics.boards import COLUMNS, HEIGHT, WIDTH

STEP_SECONDS, RATE_INTERVAL = 5, "1m"
DAY_SECONDS = 86_400
COLOURS = 96
UNIT_INCHES = 0.345
"""Height of one unit of Grafana's grid."""
PALETTE = ("#1f6feb", "#d9730d", "#1a8f6b", "#7d4fc9", "#c93c37", "#8b949e", "#0b7285", "#b08800", "#bf3989", "#57606a",
           "#54aeff", "#fb8f44")  # fmt: skip
INK, LINE = "#24292f", "#d0d7de"
MOST_LINES = len(PALETTE)
Series = tuple[str, list[float], list[float]]
"""Legend, epoch seconds, values."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, or 1 with one line where nothing can be read."""
    options = _parser().parse_args(arguments)
    try:
        board = json.loads((FOLDER / f"{options.board}.json").read_text())
        empty = draw(board, options.url, options.minutes, options.png)
    except TickstreamError as error:
        sys.stderr.write(f"board: {error}\n")
        return 1
    sys.stdout.write(f"{options.png}; without data: {', '.join(empty) or 'no panel'}\n")
    return 0


def draw(board: dict[str, Any], url: str, minutes: float, target: Path) -> list[str]:
    """Write the picture; the titles of panels that have no data."""
    graphs = [panel for panel in board["panels"] if panel["type"] == "timeseries"]
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    inches = bottom * UNIT_INCHES + 1.6
    figure = plt.figure(figsize=(16, inches), dpi=80)
    figure.text(0.012, 1 - 0.22 / inches, board["title"], fontsize=15, weight="bold", color=INK, va="center")
    until = time.time()
    empty = []
    for panel in graphs:
        found = [line for target_ in panel["targets"] for line in ask(url, target_, until, minutes)]
        axes = figure.add_axes(_place(panel["gridPos"], inches))
        _graph(axes, panel, found, (until - minutes * 60, until))
        if all(most(line) is None for line in found):
            empty.append(panel["title"])
    for panel in board["panels"]:
        if panel["type"] == "row":
            y = 1 - (0.62 + panel["gridPos"]["y"] * UNIT_INCHES) / inches
            figure.text(0.012, y, panel["title"], fontsize=12, weight="bold", color="#57606a", va="center")
    figure.savefig(target, facecolor="white")
    plt.close(figure)
    with Image.open(target) as picture:
        picture.convert("RGB").quantize(COLOURS).save(target, optimize=True)
    return empty


def ask(url: str, target: dict[str, str], until: float, minutes: float) -> list[Series]:
    """The lines of one query over the last minutes. Raises BenchmarkError where Prometheus refuses or is not there."""
    query = {
        "query": target["expr"].replace("$__rate_interval", RATE_INTERVAL),
        "start": f"{until - minutes * 60:.3f}",
        "end": f"{until:.3f}",
        "step": str(STEP_SECONDS),
    }
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query_range?{urllib.parse.urlencode(query)}", timeout=20) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError as error:
        raise BenchmarkError(f"{url} does not answer {target['expr']}: {error}") from None
    return [(_legend(target["legendFormat"], each["metric"]), *_numbers(each["values"])) for each in found]


def _numbers(values: list[tuple[float, str]]) -> tuple[list[float], list[float]]:
    """Times and values, with a hole where a process was away for more than a step."""
    pairs: list[tuple[float, float]] = []
    for at, text in values:
        if pairs and at - pairs[-1][0] > 1.5 * STEP_SECONDS:
            pairs.append((at - STEP_SECONDS, math.nan))
        pairs.append((at, float(text)))
    return [at for at, _ in pairs], [value for _, value in pairs]


def _legend(form: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        form = form.replace("{{" + name + "}}", value)
    return form


def _place(grid: dict[str, int], inches: float) -> tuple[float, float, float, float]:
    """Left, bottom, width and height in the figure, room for title and legend left out."""
    column = grid["x"] // WIDTH
    width = 1 / COLUMNS
    top = 1 - (1.05 + (grid["y"] - 0.4) * UNIT_INCHES) / inches
    height = HEIGHT * UNIT_INCHES / inches
    return column * width + 0.045, top - height * 0.66, width - 0.06, height * 0.66


def _graph(axes: Axes, panel: dict[str, Any], found: list[Series], span: tuple[float, float]) -> None:
    drawn = sorted((each for each in found if most(each) is not None), key=lambda each: -most(each))[:MOST_LINES]
    for colour, (name, times, values) in zip(PALETTE, sorted(drawn), strict=False):
        axes.plot(np.array(times) / DAY_SECONDS, values, color=colour, linewidth=1.5, label=name)
    axes.set_title(panel["title"], loc="left", fontsize=10.5, weight="bold", color=INK)
    axes.set_xlim(span[0] / DAY_SECONDS, span[1] / DAY_SECONDS)
    axes.set_ylim(bottom=0)
    if drawn and max(map(most, drawn)) == 0:
        axes.set_ylim(0, 1)
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
    axes.xaxis.set_major_locator(mdates.AutoDateLocator(minticks=4, maxticks=8))
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
    axes.grid(color=LINE, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK, length=0)
    if drawn:
        axes.legend(fontsize=7.5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4,
                    handlelength=1.2, columnspacing=1.0)  # fmt: skip
    else:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="#8b949e")


def most(line: Series) -> Any:
    """The greatest value of a line; None where it has none."""
    return max((value for value in line[2] if not math.isnan(value)), default=None)


def shown(value: float, unit: str) -> str:
    """A number with its unit, as Grafana would.

    >>> shown(0.0042, "s"), shown(1.5e9, "bytes"), shown(200, "cps"), shown(0.999, "percentunit")
    ('4.2 ms', '1.5 GB', '200/s', '99.9 %')
    """
    if unit == "percentunit":
        return f"{100 * value:.4g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if 0 < abs(value) < 1 else f"{value:.4g} s"
    if unit in ("bytes", "Bps"):
        power = min(4, int(math.log10(value) // 3)) if value >= 1 else 0
        return f"{value / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}{'/s' if unit == 'Bps' else ''}"
    text = f"{value / 1000:.4g}k" if abs(value) >= 10_000 else f"{value:.4g}"
    return f"{text}/s" if unit in ("cps", "reqps") else text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.board", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="Prometheus, such as http://127.0.0.1:9090")
    parser.add_argument("--board", default="pipeline", help="a file of deploy/grafana (default: pipeline)")
    parser.add_argument("--minutes", type=float, default=15, help="how far back (default: 15)")
    parser.add_argument("--png", type=Path, default=Path("docs/images/board.png"), help="where to write it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
