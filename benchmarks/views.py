"""What a browser is asked about the dashboard: how soon pages show, how they zoom, when frames are presented."""

import statistics
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.browser import Browser, Tab
from benchmarks.errors import BenchmarkError
from benchmarks.measure import MINUTE_US
from benchmarks.processes import Program
from benchmarks.report import say
from benchmarks.rest import walk
from conf.settings import Settings
from stores.schema import bars_table
from stores.timescale import make_timescale

WEEK = "WEEK"
WEEK_BARS = 7 * 1440  # no more than one chart loads at first
GRACE_US = 1_000_000
SAMPLED = "Boolean(window.tickstream?.samples?.().some((each) => each.channel === 'bars'))"
TRACE_SECONDS = 5.0
WHEEL_PIXELS = 40.0  # 4 % of what is visible
WHEEL_BURST = 4
HOUR_BARS = 60
ZOOM_ROUNDS = 2
ZOOM_SECONDS = 60.0
SHOWN_SECONDS = 60.0
SETTLE_SECONDS = 3.0  # the series are filled, and drawn, after the rows are there
# What a page is about, by its name: there is something to look at when the first of these is there.
CONTENT = {
    "chart": "#chart-frame:has(#chart-notice[hidden]) #chart canvas",
    "market": "#market-grid .ag-center-cols-container .ag-row",
    "pipeline": "#page .js-plotly-plot .main-svg",
    "quality": "#page .js-plotly-plot .main-svg",
    "alerts": "#alerts-cards .part-card",
}
_WATCH = """
(() => {
  const look = () => {
    if (document.querySelector(%r) !== null) { window.__shown = performance.now(); return; }
    requestAnimationFrame(look);
  };
  look();
})();
"""
_FIRST_VIEW = """
(() => {
  const paint = (name) => performance.getEntriesByName(name)[0]?.startTime ?? null;
  const [navigation] = performance.getEntriesByType("navigation");
  const files = performance.getEntriesByType("resource");
  return {first_contentful_paint: paint("first-contentful-paint"), content: window.__shown,
          bytes: files.reduce((sum, each) => sum + each.transferSize, navigation.transferSize), files: files.length};
})()
"""
_FRAMES = """
(() => {
  const frames = [], long = [];
  let last = performance.now();
  const next = () => {
    const now = performance.now();
    frames.push(now - last);
    last = now;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
  const note = (list) => long.push(...list.getEntries().map((each) => each.duration));
  new PerformanceObserver(note).observe({type: "longtask"});
  window.__frames = {frames, long};
})()
"""


_SHOWN_BARS = "(() => { const {from, to} = tickstreamChart.visible(); return to - from; })() "


def chart_url(url: str, symbol: str, shown: str = "1h") -> str:
    """The chart page of the 1-minute bars of a symbol."""
    return f"{url}/?{urllib.parse.urlencode({'symbol': symbol, 'interval': '1m', 'range': shown})}"


def pages(symbol: str) -> dict[str, str]:
    """The path of every page by its name."""
    return {
        "chart": chart_url("", symbol),
        "market": "/market",
        "pipeline": "/pipeline",
        "quality": f"/quality?{urllib.parse.urlencode({'symbol': symbol})}",
    }


def wait_for(url: str, program: Program, seconds: float) -> None:
    """Wait until the URL answers with 200. Raises BenchmarkError when the program ends, or it never does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        program.check()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise BenchmarkError(f"{program.name} did not answer within {seconds:.0f} s: {program.last_line()}")


def write_week(settings: Settings) -> None:
    """A week of 1-minute bars of the symbol WEEK up to now, in the database."""
    now_us = time.time_ns() // 1000
    first_us = now_us - now_us % MINUTE_US - WEEK_BARS * MINUTE_US
    store = make_timescale(settings)
    try:
        store.write_bars(bars_table(walk(WEEK, first_us, WEEK_BARS, seed=7)))
    finally:
        store.close()
    say(f"{WEEK_BARS:,} bars of {WEEK} are in the database")


def first_view(browser: Browser, url: str, page: str) -> dict[str, float]:
    """Milliseconds from the navigation to the first contentful paint and to the page's content; bytes and files."""
    selector = CONTENT[page]
    with browser.tab(url, _WATCH % selector) as tab:
        tab.until("window.__shown", f"{selector} on {page}", SHOWN_SECONDS)
        tab.until("performance.getEntriesByName('first-contentful-paint').length", f"a paint of {page}")
        found: dict[str, float] = tab.evaluate(_FIRST_VIEW)
        return found


def medians(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each number over several rows."""
    return {name: round(statistics.median(row[name] for row in rows)) for name in rows[0]}


def zoom(tab: Tab) -> dict[str, Any]:
    """Frame times, in milliseconds, while the wheel zooms from a week of 1-minute bars to an hour and back.

    The next turn of the wheel is made when the page has taken the one before. Raises BenchmarkError where that takes
    longer than ZOOM_SECONDS a round.
    """
    tab.until(f"window.tickstreamChart?.shown?.()?.model.rows.length >= {WEEK_BARS}", "a week of bars", SHOWN_SECONDS)
    time.sleep(SETTLE_SECONDS)
    box = tab.evaluate("(() => { const b = document.querySelector('#chart').getBoundingClientRect(); "
                       "return {x: b.x + b.width * 0.5, y: b.y + b.height * 0.3}; })()")  # fmt: skip
    tab.evaluate(_FRAMES)
    began, turns = time.monotonic(), 0
    for wanted in (f"<= {HOUR_BARS}", f">= {WEEK_BARS}") * ZOOM_ROUNDS:
        while not tab.evaluate(_SHOWN_BARS + wanted):
            for _ in range(WHEEL_BURST):
                tab.wheel(box["x"], box["y"], -WHEEL_PIXELS if wanted.startswith("<") else WHEEL_PIXELS)
            turns += WHEEL_BURST
            if time.monotonic() - began > ZOOM_SECONDS * ZOOM_ROUNDS:
                raise BenchmarkError(f"{turns} turns of the wheel, and still not {wanted} bars are shown")
    found = tab.evaluate("window.__frames")
    summary = {"bars": f"{WEEK_BARS}-{HOUR_BARS}", "rounds": ZOOM_ROUNDS, "wheel_events": turns}
    return summary | frame_summary(found["frames"][1:], found["long"])


def frame_summary(frames: Sequence[float], long_tasks: Sequence[float]) -> dict[str, Any]:
    """Percentiles of frame times in milliseconds, and how many took longer than two and than six refreshes of 60 Hz."""
    times = np.array(frames or [0.0])
    p50, p95, p99 = (round(float(value), 1) for value in np.percentile(times, (50, 95, 99)))
    return {
        "frames": len(frames),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "max_ms": round(float(times.max()), 1),
        "over_33_ms": int((times > 33.4).sum()),
        "over_100_ms": int((times > 100).sum()),
        "long_tasks": len(long_tasks),
        "longest_task_ms": round(max(long_tasks, default=0.0), 1),
    }


def presented(browser: Browser, dashboards: int) -> list[dict[str, Any]]:
    """How long frames took from the end of the main thread's part to their presentation, over some seconds."""
    with browser.tracing("disabled-by-default-devtools.timeline.frame") as events:
        time.sleep(TRACE_SECONDS)
    took = np.array(commit_to_presentation_us(events) or [0]) / 1000
    p50, p95, p99 = (round(float(value), 2) for value in np.percentile(took, (50, 95, 99)))
    return [{"dashboards": dashboards, "frames": len(took), "p50": p50, "p95": p95, "p99": p99}]


def commit_to_presentation_us(events: Sequence[dict[str, Any]]) -> list[int]:
    """Microseconds from commit to presentation of each frame that had both, from trace events.

    >>> commit_to_presentation_us([
    ...     {"name": "PipelineReporter", "ph": "b", "pid": 1, "id2": {"local": "0x1"}, "ts": 5},
    ...     {"name": "SendBeginMainFrameToCommit", "ph": "e", "pid": 1, "id2": {"local": "0x1"}, "ts": 10},
    ...     {"name": "SubmitCompositorFrameToPresentationCompositorFrame", "ph": "e", "pid": 1,
    ...      "id2": {"local": "0x1"}, "ts": 14},
    ... ])
    [4]
    """
    committed: dict[tuple[int, str], int] = {}
    took = []
    for event in sorted(events, key=lambda each: each.get("ts", 0)):
        key = (event["pid"], str(event.get("id2", {}).get("local")))
        match event["name"], event["ph"]:
            case "PipelineReporter", "b":  # numbers come again
                committed.pop(key, None)
            case "SendBeginMainFrameToCommit", "e":
                committed[key] = event["ts"]
            case "SubmitCompositorFrameToPresentationCompositorFrame", "e" if key in committed:
                took.append(event["ts"] - committed.pop(key))
    return took
