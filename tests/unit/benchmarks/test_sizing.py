"""The figures of docs/sizing.md, computed again from the committed results."""

import json
from typing import Any

import pytest

from local.jars import ROOT

TEXT = (ROOT / "docs" / "sizing.md").read_text()


def table(name: str, title: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())["tables"][title]
    return found


def one(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (found,) = [row for row in rows if wanted.items() <= row.items()]
    return found


def cores(name: str, process: str) -> float:
    return float(one(table(name, "processes"), process=process, mode="realtime")["cores"])


def cpu(name: str, run: str, *processes: str) -> float:
    rows = table(name, "processes")
    return sum(float(one(rows, run=run, process=process)["cpu_seconds"]) for process in processes)


def per_tick(process: str) -> float:
    """Microseconds of CPU a tick, by the slope between 1,000 and 10,000 ticks/s."""
    return (cores("latency-10000", process) - cores("latency", process)) / 9_000 * 1e6


def figures() -> dict[str, str]:
    feed = table("feed", "feed")
    live, broker = per_tick("live jvm"), per_tick("kafka")
    stores = cpu("throughput", "drain", "stream jvm", "stream python") / 2
    backfill = cpu("throughput-long", "backfill to Parquet", "backfill jvm", "backfill python") / 20
    relay, redis = ([cores(name, which) for name in ("latency", "latency-10000")] for which in ("relay", "redis"))
    soak = table("sockets-soak", "latency in ms")[0]["rows"] / 150
    api = one(table("sockets-soak", "processes"), process="api")["cores"]
    rest = {row["scenario"]: row["cores"] for row in table("rest", "processes") if row["process"] == "api"}
    closing = table("indicators", "closing, ms")[0]
    slow = one(table("latency-10000", "latency in ms"), path="kafka")
    quick = one(table("latency", "latency in ms"), path="kafka", span="whole")
    million = {"live": live, "broker": broker, "final": stores}
    assert closing["bars"] == 3000 and slow["rate"] == 10_000
    return {
        "feed": f"{one(feed, layout='coinbase', mode='stream')['cpu_us_per_tick']:.1f} µs |",
        "feed, many": f"{one(feed, layout='kraken', mode='stream')['cpu_us_per_tick']:.1f} µs |",
        "live": f"| {live:.0f} µs |",
        "live, base": f"| {cores('latency', 'live jvm') - live * 1e-3:.2f} core |",
        "broker": f"| {broker:.0f} µs |",
        "broker, base": f"| {cores('latency', 'kafka') - broker * 1e-3:.2f} core |",
        "stores": f"| {stores:.0f} µs |",
        "postgres": f"| {cpu('throughput', 'drain', 'postgres') / 2:.1f} µs |",
        "backfill": f"| {backfill:.1f} µs |",
        "relay": f"{relay[0]:.2f} core at 1,000 ticks/s, {relay[1]:.2f} at 10,000",
        "redis": f"{redis[0]:.2f} core at 1,000, {redis[1]:.2f} at 10,000",
        "latest": f"{rest['latest'] / 500 * 1000:.1f} ms of CPU",
        "day": f"| {rest['day'] / 500 * 1000:.1f} ms |",
        "message": f"| {api / soak * 1e6:.1f} µs |",
        "closing": f"{closing['in_every_store_p50'] / 1000:.2f} s until every store",
        "500 symbols": f"{one(table('latency-500', 'processes'), process='stream jvm')['cores']:.2f} with 500",
        "one task": f"{round(1e6 / round(live), -2):,.0f} ticks/s is its end",
        "p99 at 5,000 a partition": f"at p99 {slow['p99']:.0f} ms on",
        "p99 at 500": f"500 a partition at p99 {quick['p99']:.0f} ms",
        "a million": f"| {million['live']:.0f} |",
        "a million, stores": f"| {million['final']:.0f} |",
        "a million, broker": f"| {million['broker'] * 3:.0f} |",
    }


@pytest.mark.parametrize("name", figures())
def test_figure_follows_from_the_results(name: str) -> None:
    assert figures()[name] in TEXT
