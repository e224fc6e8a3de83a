"""Milliseconds from a tick's stamp to the painted frame of a browser, beside the whole stack."""

import argparse
import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import views
from benchmarks.browser import Browser, Tab
from benchmarks.live import Live, live_system, pause, wait_for_rows
from benchmarks.load import Load, read_ticks, rows_written, start_load, wait_until_quiet
from benchmarks.measure import MINUTE_US, Seen, TickLog, latencies_us, missing, summary
from benchmarks.options import count, counts, positive
from benchmarks.processes import Meter, python
from benchmarks.report import Result, say
from benchmarks.servers import Bench
from core.errors import InputError
from local.server import free_port
from producers.market import pick_symbols

HELP = "milliseconds from tick to painted frame, and how soon the dashboard's pages show"
EXAMPLES = """examples:
  python -m benchmarks pixels --json pixels.json
      200 ticks/s over 20 symbols, all queries, the stores, the API, the dashboard and Chromium on this machine; one
      open chart, then four of different symbols; the first view of each page; a week of bars under the mouse wheel,
      while ticks flow and after
  python -m benchmarks pixels --json quick.json --quick
      seconds instead of minutes: shows that it works; its numbers mean nothing (the JIT is cold)

Latency is the moment at which the browser's main thread had drawn the frame minus the tick's stamp, of the first bar
that includes the tick and all before it, as in `sockets`. Compositing and the next refresh of a screen come after it:
the table "after the paint" says how long, on a display that Chromium only imagines."""

LIMITS_MS = {1: 60.0, 4: 120.0}
"""p95 of up to so many open dashboards."""
FIRST_VIEW_MS = 2000.0
FRAME_MS = 33.4
"""p95 of frames while zooming: two refreshes of a screen."""
SETTLE_SECONDS = 15.0
DRAIN_SECONDS = 60.0
START_SECONDS = 120.0
ASK_SECONDS = 10.0  # the page remembers its samples for a minute
STAGES = ("event", "received", "processed", "relayed", "sent", "browser", "painted")
Sample = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks pixels`."""
    parser.add_argument("--rate", type=count, default=200, metavar="N", help="ticks/s (default: 200)")
    parser.add_argument("--symbols", type=count, default=20, metavar="N", help="in all (default: 20)")
    parser.add_argument("--dashboards", type=counts, default=[1, 4], metavar="N,N", help="open charts (default: 1,4)")
    parser.add_argument("--warmup", type=positive, metavar="S", help="seconds before measuring (default: 75)")
    parser.add_argument("--seconds", type=positive, metavar="S", help="seconds of measuring each (default: 60)")
    parser.add_argument("--loads", type=count, metavar="N", help="how often each page is opened (default: 5)")
    parser.add_argument("--quick", action="store_true", help="15 s of warm-up, 10 s of measuring, two loads")


def overrides(_options: argparse.Namespace) -> dict[str, str]:
    """The settings that the options change."""
    return {"api_auth": "off"}


def complete(options: argparse.Namespace) -> None:
    """Fill in the defaults that depend on other options. Raises InputError for more dashboards than symbols."""
    if max(options.dashboards) > options.symbols:
        raise InputError("--dashboards: each shows a symbol of its own, so there cannot be more than --symbols")
    options.warmup = options.warmup or (15.0 if options.quick else 75.0)
    options.seconds = options.seconds or (10.0 if options.quick else 60.0)
    options.loads = options.loads or (2 if options.quick else 5)


def run(options: argparse.Namespace, bench: Bench) -> Result:
    """All of it on one system, the load running all the time."""
    names = ("tick to pixels, ms", "stages, ms", "after the paint, ms", "first view, ms", "zoom of a week", "processes")
    result = Result(tables={name: [] for name in names})
    load = Load(options.rate, options.symbols)
    with live_system(bench, "realtime", whole=True) as live, contextlib.ExitStack() as running:
        views.write_week(live.settings)
        url = running.enter_context(_dashboard(live))
        before = rows_written(live.settings)
        generator = running.enter_context(start_load(load, live.settings, live.settings.data_path))
        live.programs["load"] = generator
        wait_for_rows(live, before)
        browser = running.enter_context(Browser(live.settings, live.settings.data_path))
        live.programs["chromium"] = browser.program
        windows = _windows(result, live, browser, url, options)
        first = _first_views(result, browser, url, options)
        _zoom(result, browser, url, "busy")
        generator.stop()
        del live.programs["load"]
        wait_until_quiet(live.settings, DRAIN_SECONDS)
        _zoom(result, browser, url, "idle")
        _latencies(result, live, windows, options)
    _judge(result, first)
    return result


@contextlib.contextmanager
def _dashboard(live: Live) -> Iterator[str]:
    """The URL of a dashboard of this system."""
    port = free_port()
    known = {"dashboard_port": port, "dashboard_api_url": f"http://127.0.0.1:{live.settings.api_port}"}
    settings, folder = live.settings.model_copy(update=known), live.settings.data_path
    with python("dashboard", "dashboard", settings=settings, folder=folder) as program:
        live.programs["dashboard"] = program
        views.wait_for(f"http://127.0.0.1:{port}/health/live", program, START_SECONDS)
        yield f"http://127.0.0.1:{port}"


@dataclass(frozen=True)
class Window:
    """One measurement: from when to when, and what the dashboard of each symbol painted in it."""

    start_us: int
    end_us: int
    samples: dict[str, list[Sample]]


def _windows(result: Result, live: Live, browser: Browser, url: str, options: argparse.Namespace) -> list[Window]:
    """Measure with each number of open dashboards."""
    windows, warmup = [], options.warmup
    for number in options.dashboards:
        with contextlib.ExitStack() as running:
            symbols = pick_symbols(str(options.symbols))[:number]
            say(f"{number} dashboards: {', '.join(symbols)}")
            tabs = [running.enter_context(browser.tab(views.chart_url(url, symbol))) for symbol in symbols]
            for tab in tabs:
                tab.until(views.SAMPLED, "the first painted tick")
            pause(live, warmup, "warm-up")
            start_us, meter = time.time_ns() // 1000, Meter(live.sessions())
            samples = _collect(live, tabs, options.seconds, meter)
            windows.append(Window(start_us, time.time_ns() // 1000, dict(zip(symbols, samples, strict=True))))
            used = meter.result()
            result.tables["after the paint, ms"] += views.presented(browser, number)
        scenario = {"dashboards": number}
        result.tables["processes"] += [scenario | {"process": name} | values for name, values in used.items()]
        warmup = min(SETTLE_SECONDS, options.warmup)
    return windows


def _collect(live: Live, tabs: list[Tab], seconds: float, meter: Meter) -> list[list[Sample]]:
    """What each page painted in so many seconds from now."""
    found: list[list[Sample]] = [[] for _ in tabs]
    since_us, left = [time.time_ns() // 1000] * len(tabs), seconds
    while left > 0:
        pause(live, min(ASK_SECONDS, left), "measuring", meter)
        left -= ASK_SECONDS
        for place, tab in enumerate(tabs):
            new = tab.evaluate(f"tickstream.samples().filter((each) => each.painted > {since_us[place]})")
            found[place] += new
            since_us[place] = max([since_us[place], *(sample["painted"] for sample in new)])
    return found


def _latencies(result: Result, live: Live, windows: list[Window], options: argparse.Namespace) -> None:
    first_us = min(window.start_us for window in windows)
    log = read_ticks(live.settings, first_us - first_us % MINUTE_US)
    for window in windows:
        _ticks(result, log, window, options)
        _stages(result, window)


def _ticks(result: Result, log: TickLog, window: Window, options: argparse.Namespace) -> None:
    """Percentiles over all ticks of all dashboards of a window."""
    number = len(window.samples)
    ticks = log.between(window.start_us, window.end_us - views.GRACE_US)  # the last ones are painted after it
    found = [painted_us(log, ticks, symbol, samples) for symbol, samples in window.samples.items()]
    row = summary(np.concatenate(found))
    frames = sum(len({sample["painted"] for sample in samples}) for samples in window.samples.values())
    scenario = {"dashboards": number, "rate": options.rate}
    result.tables["tick to pixels, ms"].append(scenario | row | {"frames": frames})
    if row["unseen"]:
        result.wrong.append(f"{number} dashboards: {row['unseen']:,} ticks never came to the screen")
    limit = next((LIMITS_MS[most] for most in sorted(LIMITS_MS) if number <= most), None)
    if limit is not None:
        word = "within" if row.get("p95", np.inf) <= limit else "over"
        what = f"{number} dashboards: tick to pixels p95 {row.get('p95')} ms"
        result.remarks.append(f"{what}, {word} {limit:g} ms")


def painted_us(log: TickLog, ticks: TickLog, symbol: str, samples: Sequence[Sample]) -> np.ndarray:
    """Microseconds from the stamp of each of the ticks of a symbol to the frame that shows it, -1 where none does.

    `log` holds the ticks from the beginning of the first minute of `ticks` on.
    """
    bars = [each for each in samples if (each["channel"], each["interval"], each["symbol"]) == ("bars", "1m", symbol)]
    columns = [np.array([each[name] for each in bars], np.int64) for name in ("painted", "start", "offset", "trades")]
    seen = Seen([symbol], np.zeros(len(bars), np.int64), *columns)
    mine = np.array(ticks.names)[ticks.symbol] == symbol
    own = TickLog(ticks.names, ticks.symbol[mine], ticks.offset[mine], ticks.event_us[mine])
    return latencies_us(own, seen, missing(log, seen) == 0)


def _stages(result: Result, window: Window) -> None:
    """From stamp to stamp of each painted update."""
    number = len(window.samples)
    bars = [each for samples in window.samples.values() for each in samples if each["channel"] == "bars"]
    for first, second in [*itertools.pairwise(STAGES), ("received", "painted"), ("event", "painted")]:
        took = [max(0, each[second] - each[first]) for each in bars if each.get(first) and each.get(second)]
        stage = {"dashboards": number, "stage": f"{first} to {second}"}
        row = summary(np.array(took, np.int64))
        row["updates"] = row.pop("ticks") - row.pop("unseen")
        result.tables["stages, ms"].append(stage | row)


def _first_views(result: Result, browser: Browser, url: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every page with an empty cache, the load running."""
    rows = []
    for name, path in views.pages(pick_symbols(str(options.symbols))[0]).items():
        say(f"first view of {name}")
        loads = [views.first_view(browser, url + path, name) for _ in range(options.loads)]
        rows.append({"page": name, "loads": len(loads)} | views.medians(loads))
    result.tables["first view, ms"] += rows
    return rows


def _zoom(result: Result, browser: Browser, url: str, pipeline: str) -> None:
    say(f"zooming a week, the pipeline {pipeline}")
    with browser.tab(views.chart_url(url, views.WEEK, "1w")) as tab:
        row = views.zoom(tab)
    result.tables["zoom of a week"].append({"pipeline": pipeline} | row)
    word = "within" if row["p95_ms"] <= FRAME_MS else "over"
    result.remarks.append(f"zoom of a week, pipeline {pipeline}: frames p95 {row['p95_ms']} ms, {word} {FRAME_MS:g} ms")


def _judge(result: Result, first: list[dict[str, Any]]) -> None:
    slow = [row["page"] for row in first if row["first_contentful_paint"] > FIRST_VIEW_MS]
    word = f"over {FIRST_VIEW_MS:g} ms: {', '.join(slow)}" if slow else f"of every page within {FIRST_VIEW_MS:g} ms"
    result.remarks.append(f"first contentful paint {word}")
