"""What it costs to be observed: the hooks of the hot paths, in nanoseconds and in share of a core. Needs no server.

.venv/bin/python -m benchmarks.observing
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from benchmarks.report import table
from conf.settings import Settings
from jobs.relay import Stamps, newest_rows
from metrics import stages
from metrics.latency import FOLD_AT, Latencies
from producers.publish import SHOW_SECONDS, Publisher

TICKS = 10_000
"""A second, for which shares are told."""
STEPS = 200  # of the relay: one each 5 ms
KEYS = 60  # bars that a step leaves: 20 symbols, 3 intervals
REPEATS = 7
ROW = {
    **dict.fromkeys(("open", "high", "low", "close", "vwap"), "61234.5"),
    **dict.fromkeys(("open_us", "close_us", "received_us"), 1_709_562_631_001_000),
    **{"symbol": "BTC-USD", "interval": "1m", "start": 1_709_562_600_000_000, "end": 1_709_562_660_000_000},
    **{"volume": "12.5034", "notional": "765680.5", "trade_count": 240, "first_trade_id": "1", "last_trade_id": "240"},
    **{"kafka_partition": 0, "first_offset": 1, "last_offset": 240, "rev": 0, "state": "forming", "reason": None},
    **{"ruleset": "all@1", "processed_us": None},
}


class _Message:
    """A Kafka message as far as the relay reads it."""

    def __init__(self, key: int) -> None:
        self._value = msgspec.json.encode(ROW | {"symbol": f"S{key}"})

    def value(self) -> bytes:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_709_562_631_004

    def error(self) -> None:
        return None


def nanoseconds(call: Callable[[], object], times: int, each: int = 1) -> float:
    """The best of some rounds, for one of the `each` things that a call does."""
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter_ns()
        for _ in range(times):
            call()
        best = min(best, (time.perf_counter_ns() - began) / times)
    return best / each


def rows() -> list[dict[str, Any]]:
    """Each hook: what it costs once, how often it runs at TICKS a second, and its share of a core."""
    series = Latencies("bench_seconds", "Time", "of", ("a",), registry=CollectorRegistry()).of("a")
    publisher = Publisher(Settings())
    messages: list[Any] = [_Message(key) for key in range(KEYS)]
    stamps: Stamps = []
    plain = nanoseconds(lambda: newest_rows(messages), 300)
    stamped = nanoseconds(lambda: (newest_rows(messages, stamps), stamps.clear()), 300)
    newest_rows(messages, pairs := [])
    shown = nanoseconds(lambda: stages.to_redis(pairs, 1_709_562_631_005_000), 2_000)
    waits = [4000] * KEYS
    found = [
        ("latency of one message (feed)", nanoseconds(lambda: series.record(0.004), 3 * FOLD_AT), TICKS),
        ("latency of one tick (tick relay)", nanoseconds(lambda: series.record_us(waits), 3_000, KEYS), TICKS),
        ("what was sent (producer, each 100 ms)", nanoseconds(publisher._show, 10_000), 1 / SHOW_SECONDS),
        ("stamps of a step's rows (relay)", max(0.0, stamped - plain), STEPS),
        ("latencies of a step's rows (relay)", shown, STEPS),
        ("one reading of all metrics, every 5 s", nanoseconds(generate_latest, 20), 0.2),
    ]
    return [
        {"hook": name, "ns": round(cost), "a second": often, "% of a core": round(cost * often / 1e7, 3)}
        for name, cost, often in found
    ]


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m benchmarks.observing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    sys.stdout.write(table(rows()) + "\n")
