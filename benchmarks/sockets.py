"""Milliseconds from a tick's stamp to WebSocket clients, stage by stage, beside the whole stack or the live path."""

import argparse
import contextlib
import itertools
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psycopg

from benchmarks import socket_client
from benchmarks.live import Live, live_system, pause, wait_for_rows
from benchmarks.load import Load, read_ticks, rows_written, start_load, wait_until_quiet
from benchmarks.measure import MINUTE_US, TickLog, latencies_us, missing, summary
from benchmarks.options import count, positive
from benchmarks.processes import Meter, python, usage
from benchmarks.report import Result, say
from benchmarks.servers import Bench
from core.errors import InputError
from producers.market import pick_symbols

HELP = "milliseconds from tick to WebSocket clients, and how many clients"
EXAMPLES = """examples:
  python -m benchmarks sockets --json sockets.json
      50 clients x 5 of 20 symbols at 2,000 ticks/s, all queries, the stores and the API running
  python -m benchmarks sockets --json live.json --live-alone
      without final, archive and reconciling: what the way to the clients takes where those have cores of their own
  python -m benchmarks sockets --json curve.json --curve
      then twice the rate, until p99 is over --limit-ms or the load is not reached
  python -m benchmarks sockets --json soak.json --soak 1000 --seconds 600
      so many clients x 1 symbol at 200 ticks/s: lost final bars, memory of the API over time
  python -m benchmarks sockets --json quick.json --quick
      seconds instead of minutes: shows that it works; its numbers mean nothing (the JIT is cold)

Latency is the client's receive time minus the tick's stamp, of the first bar that includes the tick and all before
it, as in `latency`; each client counts."""

SOAK_RATE = 200
SETTLE_SECONDS = 15.0
DRAIN_SECONDS = 60.0
FINAL_SECONDS = 40.0  # watermark delay, trigger and writes: by then the last whole minute is final
START_SECONDS = 120.0
STAGES = ("event_us", "received_us", "processed_us", "relayed_us", "sent_us", "arrival_us")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks sockets`."""
    parser.add_argument("--clients", type=count, default=50, metavar="N", help="sockets (default: 50)")
    parser.add_argument("--symbols-per-client", type=count, default=5, metavar="N", help="of each (default: 5)")
    parser.add_argument("--symbols", type=count, default=20, metavar="N", help="in all (default: 20)")
    parser.add_argument("--rate", type=count, metavar="N", help="ticks/s (default: 2000; soak: 200)")
    parser.add_argument("--warmup", type=positive, metavar="S", help="seconds before measuring (default: 75)")
    parser.add_argument("--seconds", type=positive, metavar="S", help="seconds of measuring (default: 60; soak: 300)")
    parser.add_argument("--live-alone", action="store_true", help="run no queries but the live one")
    parser.add_argument("--curve", action="store_true", help="then double the rate until it is too much")
    parser.add_argument("--limit-ms", type=positive, default=100.0, metavar="MS", help="p99 of --curve (default: 100)")
    parser.add_argument("--soak", type=count, metavar="CLIENTS", help="so many clients x 1 symbol instead")
    parser.add_argument("--quick", action="store_true", help="15 s of warm-up, 10 s of measuring")


def overrides(_options: argparse.Namespace) -> dict[str, str]:
    """The settings that the options change."""
    return {"api_auth": "off"}


def complete(options: argparse.Namespace) -> None:
    """Fill in the defaults that depend on other options. Raises InputError when options contradict each other."""
    if options.soak and options.curve:
        raise InputError("--soak and --curve: one at a time")
    if options.soak and options.live_alone:
        raise InputError("--soak counts final bars, which --live-alone has none of")
    if options.soak:
        options.clients, options.symbols_per_client = options.soak, 1
    options.rate = options.rate or (SOAK_RATE if options.soak else 2000)
    options.warmup = options.warmup or (15.0 if options.quick else 75.0)
    options.seconds = options.seconds or (10.0 if options.quick else 300.0 if options.soak else 60.0)


def run(options: argparse.Namespace, bench: Bench) -> Result:
    """One window, or one after the other at growing rates, on one system."""
    result = Result(tables={name: [] for name in ("latency in ms", "stages in ms", "sockets", "processes", "memory")})
    with live_system(bench, "realtime", whole=not options.live_alone, api=True) as live:
        rate, warmup = options.rate, options.warmup
        while True:
            say(f"{options.clients} clients x {options.symbols_per_client} symbols, {rate:,} ticks/s")
            held = _window(result, live, Load(rate, options.symbols), warmup, options)
            if not options.curve or not held:
                return result
            rate, warmup = rate * 2, min(SETTLE_SECONDS, options.warmup)


def _window(result: Result, live: Live, load: Load, warmup: float, options: argparse.Namespace) -> bool:
    """Measure once; whether it was within the limits of a curve."""
    with contextlib.ExitStack() as running:
        before_rows = rows_written(live.settings)
        generator = running.enter_context(start_load(load, live.settings, live.settings.data_path))
        live.programs["load"] = generator
        running.callback(live.programs.pop, "load")
        wait_for_rows(live, before_rows)
        with _clients(live, load, options) as path:
            pause(live, warmup, "warm-up")
            before, start_us, meter = _stats(live), time.time_ns() // 1000, Meter(live.sessions())
            memory = _measured(live, options.seconds, meter)
            end_us, used, after = time.time_ns() // 1000, meter.result(), _stats(live)
            if options.soak:
                pause(live, FINAL_SECONDS, "waiting for the last bars to be final")
            generator.stop()
            drained = wait_until_quiet(live.settings, DRAIN_SECONDS)
    scenario = {"rate": load.rate, "clients": options.clients, "symbols_per_client": options.symbols_per_client}
    log = read_ticks(live.settings, start_us - start_us % MINUTE_US)
    row = _latency(result, scenario, path, log, (start_us, end_us))
    _stages(result, scenario, path, (start_us, end_us))
    _counts(result, scenario, before, after, options.seconds)
    result.tables["processes"] += [scenario | {"process": name} | values for name, values in used.items()]
    result.tables["memory"] += memory
    if options.soak:
        _finals(result, live, path, (start_us, end_us), options)
    reached = len(log.between(start_us, end_us).offset) / options.seconds
    if reached < 0.98 * load.rate:
        result.remarks.append(f"{load.rate:,} ticks/s: the generator reached only {reached:,.0f}")
    return bool(row.get("p99", np.inf) <= options.limit_ms and not row["unseen"] and drained and
                reached >= 0.98 * load.rate)  # fmt: skip


@contextlib.contextmanager
def _clients(live: Live, load: Load, options: argparse.Namespace) -> Iterator[Path]:
    """All clients in one process; the file of what they saw, which is there when the block has ended."""
    path = live.settings.data_path / f"sockets.{time.time_ns()}.npz"
    journal, names = path.with_suffix(".journal"), pick_symbols(str(load.symbols))
    asked = (str(journal), str(options.clients), str(options.symbols_per_client), *names)
    at: dict[str, Any] = {"settings": live.settings, "folder": live.settings.data_path}
    with python("clients", "benchmarks.socket_client", *asked, **at) as program:
        program.wait_for_line(socket_client.READY, START_SECONDS)
        live.programs["clients"] = program
        try:
            yield path
        finally:
            del live.programs["clients"]
    say("looking through what arrived")
    socket_client.decode(journal, path, names)
    journal.unlink()


def _measured(live: Live, seconds: float, meter: Meter) -> list[dict[str, Any]]:
    """Wait the window out; what memory the API takes, ten times in it."""
    found = []
    for part in itertools.count(1):
        pause(live, seconds / 10, "measuring", meter)
        now = usage({"api": live.programs["api"].session})["api"]
        found.append({"seconds": round(part * seconds / 10), "api_mb": round(now.memory_bytes / 1e6, 1)})
        if part == 10:
            return found
    raise AssertionError


def _stats(live: Live) -> dict[str, Any]:
    url = f"http://127.0.0.1:{live.settings.api_port}/api/v1/metrics/sockets"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: dict[str, Any] = msgspec.json.decode(answer.read())
    return found


def _latency(
    result: Result, scenario: dict[str, Any], path: Path, log: TickLog, window: tuple[int, int]
) -> dict[str, Any]:
    """Percentiles over all ticks of all clients."""
    minute_us = window[0] - window[0] % MINUTE_US
    ticks, found, rows, double = log.between(*window), [], 0, 0
    clients, _, lost = socket_client.seen_by(path)
    for client in clients:
        seen = client.since(minute_us)
        gaps = missing(log, seen)
        mine = np.isin(np.array(ticks.names)[ticks.symbol], np.array(seen.names)[np.unique(seen.symbol)])
        own = TickLog(ticks.names, ticks.symbol[mine], ticks.offset[mine], ticks.event_us[mine])
        found.append(latencies_us(own, seen, gaps == 0))
        rows, double = rows + len(gaps), double + int((gaps < 0).sum())
    row = {**summary(np.concatenate(found) if found else np.empty(0, np.int64)), "rows": rows, "double": double}
    result.tables["latency in ms"].append(scenario | row)
    if row["unseen"]:
        result.wrong.append(f"{scenario['rate']:,} ticks/s: {row['unseen']:,} ticks never came to a client")
    if lost:
        result.wrong.append(f"{scenario['rate']:,} ticks/s: {lost} sockets were closed")
    return row


def _stages(result: Result, scenario: dict[str, Any], path: Path, window: tuple[int, int]) -> None:
    """From stamp to stamp of each forming bar that came: how long it took, whatever it included."""
    _, columns, _ = socket_client.seen_by(path)
    kept = (columns["arrival_us"] >= window[0]) & (columns["arrival_us"] < window[1]) & (columns["final"] == 0)
    for first, second in [*itertools.pairwise(STAGES), (STAGES[0], STAGES[-1])]:
        known = kept & (columns[first] > 0) & (columns[second] > 0)
        took = np.maximum(columns[second][known] - columns[first][known], 0)
        stage = {"stage": f"{first[:-3]} to {second[:-3]}"}
        result.tables["stages in ms"].append(scenario | stage | summary(took))


def _counts(
    result: Result, scenario: dict[str, Any], before: dict[str, Any], after: dict[str, Any], seconds: float
) -> None:
    counted = ("sent", "conflated", "dropped", "slow_closes", "resyncs")
    counts = {name: after[name] - before[name] for name in counted}
    now = {
        "connections": after["connections"],
        "waiting": after["waiting"],
        "sent_per_s": round(counts["sent"] / seconds),
    }
    result.tables["sockets"].append(scenario | now | counts)


def _finals(result: Result, live: Live, path: Path, window: tuple[int, int], options: argparse.Namespace) -> None:
    """Each final 1-minute bar of whole minutes in the window, at each client that follows its symbol."""
    first, end = (-(-window[0] // MINUTE_US) * MINUTE_US, window[1] // MINUTE_US * MINUTE_US)
    _, columns, _ = socket_client.seen_by(path)
    with np.load(path) as held:
        names = held["names"].tolist()
    with psycopg.connect(live.settings.postgres_dsn.get_secret_value()) as connection:
        stored = connection.execute(
            "SELECT symbol, (extract(epoch FROM start) * 1000000)::bigint FROM bars WHERE \"interval\" = '1m'"
            " AND start >= to_timestamp(%s) AND start < to_timestamp(%s)",
            (first / 1e6, end / 1e6),
        ).fetchall()
    finals = columns["final"] == 1
    seen = set(zip(*(columns[name][finals].tolist() for name in ("client", "symbol", "start")), strict=True))
    followers: dict[int, set[int]] = {}
    for client, place in itertools.product(range(options.clients), range(options.symbols_per_client)):
        followers.setdefault((client * options.symbols_per_client + place) % len(names), set()).add(client)
    codes = {name: code for code, name in enumerate(names)}
    due = [(client, codes[name], start) for name, start in stored for client in followers.get(codes[name], ())]
    lost = sum(each not in seen for each in due)
    result.remarks.append(f"final bars due at clients: {len(due):,}, lost: {lost:,}")
    if lost:
        result.wrong.append(f"{lost:,} final bars never came to a client")
