"""Ticks a second of a producer process: from a provider's socket frames, one trade or many in each, to the broker's
acknowledgement.

`plain` is the least that any producer does; the difference buys exact numbers, validation, the drop of repeats and the
detection of gaps.
"""

import argparse
import json
import time
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.frames import LAYOUTS
from benchmarks.load import read_ticks
from benchmarks.options import count, names_of
from benchmarks.processes import Meter, Program
from benchmarks.processes import python as start
from benchmarks.report import Result, say
from benchmarks.servers import Bench

HELP = "ticks a second from socket frames to the broker's acknowledgement"
EXAMPLES = """examples:
  python -m benchmarks feed --json feed.json
      400,000 trades of 20 symbols for each layout of frames
  python -m benchmarks feed --json quick.json --quick
      10,000 trades: shows that it works"""

MODES = ("stream", "plain")
WAIT_SECONDS = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks feed`."""
    parser.add_argument("--trades", type=count, metavar="N", help="how many (default: 400000)")
    parser.add_argument("--symbols", type=count, default=20, metavar="N", help="of how many symbols (default: 20)")
    parser.add_argument("--layouts", type=names_of(list(LAYOUTS)), default=list(LAYOUTS), metavar="L,…",
                        help=f"of {', '.join(LAYOUTS)} (default: all)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="10,000 trades")


def overrides(_: argparse.Namespace) -> dict[str, str]:
    """No option of this benchmark changes a setting."""
    return {}


def complete(options: argparse.Namespace) -> None:
    options.trades = options.trades or (10_000 if options.quick else 400_000)


def run(options: argparse.Namespace, bench: Bench) -> Result:
    """Each layout, as the producer takes it and as the plain baseline does; what arrived is counted in the topic."""
    result = Result(tables={"feed": [], "processes": []})
    for layout in options.layouts:
        rates = {mode: _measure(layout, mode, options, bench, result) for mode in MODES}
        ratio = rates["stream"] / rates["plain"]
        result.remarks.append(f"{layout}, {LAYOUTS[layout]} trades a frame: stream / plain {ratio:.2f}")
    return result


def _measure(layout: str, mode: str, options: argparse.Namespace, bench: Bench, result: Result) -> float:
    say(f"{layout}, {mode}: {options.trades:,} trades, {LAYOUTS[layout]} a frame")
    shape = (layout, str(options.trades), str(options.symbols))
    with bench.system() as settings:
        at: dict[str, Any] = {"settings": settings, "folder": settings.data_path}
        with start("frames", "benchmarks.frames", *shape, **at) as server:
            server.wait_for_line("port", 30)
            url = f"ws://127.0.0.1:{server.last_line().split()[1]}"
            client = start("producer", "benchmarks.feed_client", mode, layout, url, *shape[1:], **at)
            with client:
                meter = Meter(bench.sessions() | {"frames": server.session, "producer": client.session})
                _wait(client, meter)
                found = json.loads(client.last_line())
        held = len(read_ticks(settings, 0).offset) if mode == "stream" else options.trades
        if held != options.trades:
            result.wrong.append(f"{layout}: the topic holds {held:,} ticks")
        if found["gaps"]:
            result.wrong.append(f"{layout}: {found['gaps']} gaps in a stream without any")
    row = {"layout": layout, "trades_a_frame": LAYOUTS[layout], "mode": mode} | found
    result.tables["feed"].append(row)
    for name, used in meter.result().items():
        result.tables["processes"].append({"layout": layout, "mode": mode, "process": name} | used)
    say(f"{layout}, {mode}: {row['ticks_per_s']:,} ticks/s")
    return float(row["ticks_per_s"])


def _wait(client: Program, meter: Meter) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not client.ended:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"the producer did not end: {client.last_line()}")
        meter.sample()
        time.sleep(0.2)
    client.wait(1)
