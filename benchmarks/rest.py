"""Latencies of the REST API at a fixed rate of requests, with the pipeline idle or under load.

`latest` is one symbol's newest price; `day` a whole day of 1-minute bars; `revalidated` the same day by a client that
has it (If-None-Match); `mixed` eighteen of latest for one of day and one of indicators. Requests come at their
rate whether the server keeps up or not, and a latency counts from when a request was due.
"""

import argparse
import http.client
import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from benchmarks.errors import BenchmarkError
from benchmarks.live import Live, live_system, pause, wait_for_rows
from benchmarks.load import Load, rows_written, start_load
from benchmarks.options import count, names_of, positive
from benchmarks.processes import Meter
from benchmarks.processes import python as start
from benchmarks.report import Result, say
from benchmarks.servers import Bench
from conf.settings import Settings
from core.intervals import DAY_US, MINUTE_US
from core.records import Bar
from producers.market import pick_symbols
from stores.redis import make_redis
from stores.schema import bars_table
from stores.timescale import make_timescale

HELP = "latencies of the REST API at a fixed rate of requests"
EXAMPLES = """examples:
  python -m benchmarks rest --json rest.json
      every scenario at 500 requests/s, the pipeline up and idle: about three minutes
  python -m benchmarks rest --json rest-loaded.json --ticks 1000
      the same while 1,000 ticks/s go through the pipeline
  python -m benchmarks rest --json quick.json --quick
      shows that it works"""

SCENARIOS = ("latest", "day", "revalidated", "mixed")
LIMITS = {"latest": 5.0, "day": 30.0, "revalidated": 30.0}
READY_SECONDS = 60.0
SYMBOLS = 20
CONNECTIONS = 32
_HOST = "127.0.0.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks rest`."""
    parser.add_argument("--rate", type=count, default=500, metavar="N", help="requests a second (default: 500)")
    parser.add_argument("--seconds", type=positive, metavar="S", help="seconds of measuring (default: 20)")
    parser.add_argument("--warmup", type=positive, metavar="S", help="seconds before measuring (default: 10)")
    parser.add_argument("--scenarios", type=names_of(SCENARIOS), default=list(SCENARIOS), metavar="S,…",
                        help=f"of {', '.join(SCENARIOS)} (default: all)")  # fmt: skip
    parser.add_argument("--bars", type=count, default=1440, metavar="N",
                        help="1-minute bars of a day: 1440, or 390 for a stock exchange (default: 1440)")  # fmt: skip
    parser.add_argument("--ticks", type=int, default=0, metavar="N", help="ticks a second meanwhile (default: 0)")
    parser.add_argument("--encoding", default="gzip", metavar="E", help="Accept-Encoding of the client (default: gzip)")
    parser.add_argument("--quick", action="store_true", help="a few seconds of each")


def overrides(_: argparse.Namespace) -> dict[str, str]:
    """No option of this benchmark changes a setting."""
    return {}


def complete(options: argparse.Namespace) -> None:
    options.seconds = options.seconds or (3.0 if options.quick else 20.0)
    options.warmup = options.warmup or (2.0 if options.quick else 10.0)


def run(options: argparse.Namespace, bench: Bench) -> Result:
    """Every scenario in turn, on one system."""
    result = Result(tables={"rest, ms": [], "processes": []})
    with live_system(bench, whole=True) as live:
        day_us = _fill(live.settings, options.bars)
        _wait_until_ready(live.settings)
        if not options.ticks:
            return _measure_all(live, day_us, options, result)
        load = Load(options.ticks, SYMBOLS)
        with start_load(load, live.settings, live.settings.data_path):
            wait_for_rows(live, rows_written(live.settings))
            pause(live, 10.0 if options.quick else 75.0, "warm-up")
            return _measure_all(live, day_us, options, result)


def _measure_all(live: Live, day_us: int, options: argparse.Namespace, result: Result) -> Result:
    for scenario in options.scenarios:
        _newest(live.settings)  # Redis keeps its keys for minutes only
        say(f"{scenario}: {options.rate} requests/s for {options.seconds:g} s")
        found, used = _measure(live, _requests(scenario, live.settings, day_us, options), options)
        shown = {"scenario": scenario, "rate": options.rate, "ticks_per_s": options.ticks}
        result.tables["rest, ms"].append(shown | found | {"statuses": json.dumps(found["statuses"])})
        result.tables["processes"] += [shown | {"process": name} | each for name, each in used.items()]
        result.wrong += [f"{scenario}: {problem}" for problem in _problems(scenario, found, options)]
        if scenario in LIMITS:
            word = "within" if found["p99"] <= LIMITS[scenario] else "over"
            result.remarks.append(f"{scenario}: p99 {found['p99']} ms, {word} {LIMITS[scenario]:g} ms")
    return result


def _problems(scenario: str, found: dict[str, Any], options: argparse.Namespace) -> list[str]:
    expected = 304 if scenario == "revalidated" else 200
    problems = [f"{number} answers {status}" for status, number in found["statuses"].items() if int(status) != expected]
    if found["unanswered"]:
        problems.append(f"{found['unanswered']} requests without an answer")
    if found["per_s"] < 0.98 * options.rate:
        problems.append(f"the client sent only {found['per_s']} requests/s")
    return problems


def _measure(
    live: Live, requests: list[tuple[str, dict[str, str]]], options: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    plan = {
        "host": _HOST,
        "port": live.settings.api_port,
        "rate": options.rate,
        "seconds": options.seconds,
        "warmup": options.warmup,
        "connections": CONNECTIONS,
        "requests": requests,
    }
    at: dict[str, Any] = {"settings": live.settings, "folder": live.settings.data_path}
    with start("client", "benchmarks.rest_client", json.dumps(plan), **at) as client:
        meter = Meter(live.sessions() | {"client": client.session})
        deadline = time.monotonic() + options.warmup + options.seconds + 60
        while not client.ended:
            if time.monotonic() > deadline:
                raise BenchmarkError("the client did not end")
            meter.sample()
            time.sleep(0.5)
        client.wait(1)
        return json.loads(client.last_line()), meter.result()


def _requests(
    scenario: str, settings: Settings, day_us: int, options: argparse.Namespace
) -> list[tuple[str, dict[str, str]]]:
    accept = {"accept-encoding": options.encoding}
    day = f"interval=1m&start={day_us // 1000}&end={(day_us + DAY_US) // 1000}&limit=1440"
    names = pick_symbols(str(SYMBOLS))
    latest = [(f"/api/v1/latest/{name}", accept) for name in names]
    days = [(f"/api/v1/bars/{name}?{day}", accept) for name in names]
    if scenario == "latest":
        return latest
    if scenario == "day":
        return days
    if scenario == "revalidated":
        return [(path, accept | {"if-none-match": _etag(settings, path, accept)}) for path, _ in days]
    indicators = [(f"/api/v1/indicators/{name}?type=rsi:14&interval=1m&limit=60", accept) for name in names]
    return [
        request
        for number in range(len(names))
        for request in [*(latest[(number + step) % len(names)] for step in range(18)), days[number], indicators[number]]
    ]


def _etag(settings: Settings, path: str, headers: dict[str, str]) -> str:
    connection = http.client.HTTPConnection(_HOST, settings.api_port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        tag = answer.getheader("etag")
    finally:
        connection.close()
    if answer.status != 200 or tag is None:
        raise BenchmarkError(f"{path} answered {answer.status} with ETag {tag}")
    return tag


def _wait_until_ready(settings: Settings) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(_HOST, settings.api_port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.2)
    raise BenchmarkError("the API is not ready")


def _fill(settings: Settings, bars: int) -> int:
    """Write the day before yesterday of every symbol into the database; its first moment."""
    now_us = time.time_ns() // 1000
    day_us = now_us - now_us % DAY_US - 2 * DAY_US
    first_us = day_us + (0 if bars == 1440 else 14 * 60 * MINUTE_US + 30 * MINUTE_US)
    store = make_timescale(settings)
    try:
        for number, symbol in enumerate(pick_symbols(str(SYMBOLS))):
            store.write_bars(bars_table(walk(symbol, first_us, bars, seed=number)))
            # A later bar, so that the day is closed for every reader.
            store.write_bars(bars_table(walk(symbol, now_us - now_us % MINUTE_US - 5 * MINUTE_US, 1, seed=number)))
    finally:
        store.close()
    say(f"{bars} bars of {datetime.fromtimestamp(day_us / 1e6, UTC):%Y-%m-%d} of {SYMBOLS} symbols are in the database")
    return day_us


def _newest(settings: Settings) -> None:
    now_us = time.time_ns() // 1000
    store = make_redis(settings)
    try:
        for number, symbol in enumerate(pick_symbols(str(SYMBOLS))):
            store.write_bars(bars_table(walk(symbol, now_us - now_us % MINUTE_US - 3 * MINUTE_US, 1, seed=number)))
    finally:
        store.close()


def walk(symbol: str, first_us: int, count: int, seed: int) -> list[Bar]:
    """Final 1-minute bars of a random walk."""
    steps = np.random.default_rng(seed).normal(0, 0.05, (count, 4)).round(2)
    price, made = 100.0, []
    for number, (step, up, down, size) in enumerate(steps.tolist()):
        start_us, before, price = first_us + number * MINUTE_US, price, max(1.0, round(price + step, 2))
        volume = Decimal(f"{1000 + abs(size) * 10_000:.0f}")
        middle = Decimal(f"{(before + price) / 2:.8f}")
        made.append(
            Bar(
                symbol=symbol,
                interval="1m",
                start=start_us,
                end=start_us + MINUTE_US,
                open=Decimal(f"{before:.2f}"),
                high=Decimal(f"{max(before, price) + abs(up):.2f}"),
                low=Decimal(f"{max(0.01, min(before, price) - abs(down)):.2f}"),
                close=Decimal(f"{price:.2f}"),
                volume=volume,
                notional=volume * middle,
                vwap=middle,
                trade_count=100 + number % 50,
                open_us=start_us + 1_000,
                close_us=start_us + 59_000_000,
                first_trade_id=f"{seed}-{number}-1",
                last_trade_id=f"{seed}-{number}-2",
                kafka_partition=seed % 2,
                first_offset=number * 100,
                last_offset=number * 100 + 99,
                rev=1,
                state="final",
                reason=None,
                ruleset="all@1",
                received_us=start_us + 59_001_000,
                processed_us=start_us + 71_000_000,
            )
        )
    return made
