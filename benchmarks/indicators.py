"""What indicators cost: in batch, step by step, at the close of many bars at once, and live in the relay.

Random walks, one process; PostgreSQL, Redis and Kafka are real. `closing`: from a micro-batch's final bars to bars and
indicators in every store, the checkpoint of the states included. `live`: what the relay spends more on each batch.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.options import count
from benchmarks.report import Result, say
from benchmarks.servers import Bench
from conf.settings import Settings
from core.indicators import INDICATORS, Bars, IndicatorSet, compute, values_json
from core.indicators.base import BAR_FIELDS
from core.intervals import INTERVALS
from core.records import Bar
from jobs.indicator_topic import Memory
from jobs.indicators import BatchIndicators, FinalIndicators
from jobs.live_indicators import live_indicators
from jobs.sinks import Sinks
from stores.redis import live_rows
from stores.schema import bars_table

HELP = "what indicators cost: batch, steps, the close of many bars, live"
EXAMPLES = """examples:
  python -m benchmarks indicators --json indicators.json
      1,000 symbols close their bars of all intervals at once, 40 times: about three minutes
  python -m benchmarks indicators --json quick.json --quick
      shows that it works"""

RUNS = 3
DAY = np.timedelta64(1, "D")
MINUTE = np.timedelta64(1, "m")
STEPS = 200
SET_KEYS = (1, 20, 500, 3000)
WARM = 250  # bars until all indicators of the set are ready
QUARTER_US = 900_000_000
TICKS_PER_STEP = 50  # what 10,000 ticks/s bring in one of the relay's steps of 5 ms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m benchmarks indicators`."""
    parser.add_argument("--symbols", type=count, default=1000, metavar="N", help="how many symbols close at once")
    parser.add_argument("--closings", type=count, metavar="N", help="how often (default: 40)")
    parser.add_argument("--quick", action="store_true", help="two closings, a small batch")


def overrides(_: argparse.Namespace) -> dict[str, str]:
    """No option of this benchmark changes a setting."""
    return {}


def complete(options: argparse.Namespace) -> None:
    options.closings = options.closings or (2 if options.quick else 40)


def run(options: argparse.Namespace, bench: Bench) -> Result:
    """Every table in turn."""
    result = Result()
    specs = list(INDICATORS)
    scale = 50 if options.quick else 1
    say(f"batch of all {len(specs)} indicators with their defaults")
    daily, minutes = _walk(2520 // scale, 500, DAY), _walk(500_000 // scale, 1, MINUTE)
    result.tables["batch"] = [
        _row(f"{2520 // scale:,} daily bars x 500 symbols", len(daily), lambda: compute(daily, specs)),
        _row(f"{500_000 // scale:,} minute bars of one symbol", len(minutes), lambda: compute(minutes, specs)),
        _row("steps of 1 key", STEPS, lambda: _steps(1)),
        _row("steps of 500 keys", STEPS * 500, lambda: _steps(500)),
    ]
    with bench.system() as settings:
        chosen = IndicatorSet(settings.indicators_of("1m"))
        say(f"steps of the {len(chosen.indicators)} configured ones as a set")
        result.tables["the configured set, ms"] = _of_set(chosen)
        say(f"{options.closings} closings of {options.symbols:,} symbols")
        result.tables["closing, ms"] = [_closings(settings, options.symbols, options.closings)]
        say("live values")
        batches = 20 if options.quick else 2000
        result.tables["live, ms a batch of the relay"] = [
            _live(settings, symbols, ticks, batches)
            for symbols, ticks in ((20, 1), (20, TICKS_PER_STEP), (500, TICKS_PER_STEP))
        ]
    return result


def _closings(settings: Settings, symbols: int, closings: int) -> dict[str, object]:
    """All intervals of all symbols close at once, again and again."""
    sinks = Sinks(settings)
    sinks.setup()
    batch = BatchIndicators(settings, settings.bar_intervals)
    final = FinalIndicators(batch, settings.checkpoint_path / "final" / "indicators", sinks.read_states)
    stepped, whole = [], []
    try:
        for number in range(closings):
            bars = _closing_bars(symbols, number)
            started = time.perf_counter()
            rows = final.rows(bars, number)
            stepped.append(time.perf_counter() - started)
            sinks.write_bars(bars, rows)
            whole.append(time.perf_counter() - started)
    finally:
        sinks.close()
    # The first one makes tables, connections and pages.
    return (
        {"symbols": symbols, "bars": bars.num_rows, "closings": closings - 1}
        | _percentiles("stepped", stepped[1:])
        | _percentiles("in_every_store", whole[1:])
    )


def _live(settings: Settings, symbols: int, ticks: int, batches: int) -> dict[str, object]:
    """What the relay does more for a batch: the values of the forming bars that so many ticks touch, all ready."""
    live, rng, spent = live_indicators(settings), np.random.default_rng(3), []
    for memory in _memories(settings, symbols):
        live.take_final(memory)
    # As the relay has read them: a bar's JSON is decoded once, for Redis as well.
    read = [msgspec.structs.replace(row, bar=row.shown()) for row in live_rows(_closing_bars(symbols, WARM, rev=0))]
    forming = {(row.symbol, row.interval): row for row in read}
    for _ in range(batches):
        touched = sorted({int(symbol) for symbol in rng.integers(0, symbols, ticks)})
        rows = [forming[f"S{symbol}", interval] for symbol in touched for interval in INTERVALS]
        started = time.perf_counter()
        live.with_values(rows)
        spent.append(time.perf_counter() - started)
    size = {"symbols": symbols, "ticks": ticks, "rows": len(rows), "batches": batches}
    return size | _percentiles("added", spent[batches // 4 :])


def _memories(settings: Settings, symbols: int) -> Iterator[Memory]:
    """The states of all symbols and intervals, with every indicator ready."""
    for interval in INTERVALS:
        chosen = IndicatorSet(settings.indicators_of(interval))
        state = chosen.initial(symbols)
        for bar in range(WARM):
            state = chosen.step(state, _random_bars(symbols, bar), np.full(symbols, bar + 1))
        for number, row in enumerate(state):
            yield Memory(f"S{number}", interval, WARM, chosen.specs, chosen.to_bytes(row))


def _percentiles(what: str, seconds: list[float]) -> dict[str, object]:
    found = np.percentile(np.array(seconds) * 1e3, (50, 99, 100))
    return dict(zip((f"{what}_p50", f"{what}_p99", f"{what}_max"), np.round(found, 2).tolist(), strict=True))


def _closing_bars(symbols: int, number: int, rev: int = 1) -> pa.Table:
    """Bars of every symbol and interval, the next quarter of an hour each time."""
    end = (number + 2) * QUARTER_US
    return bars_table(
        [
            _bar(f"S{symbol}", interval.name, end - interval.us, end, Decimal(10_000 + (symbol + number) % 97), rev)
            for interval in INTERVALS.values()
            for symbol in range(symbols)
        ]
    )


def _bar(symbol: str, interval: str, start: int, end: int, price: Decimal, rev: int) -> Bar:
    prices = {"open": price, "high": price + 1, "low": price - 1, "close": price, "vwap": price}
    sums = {"volume": Decimal(100), "notional": price * 100, "trade_count": 5}
    stamps = {"open_us": start, "close_us": end - 1, "received_us": end, "processed_us": end}
    unknown = ("first_trade_id", "last_trade_id", "kafka_partition", "first_offset", "last_offset", "reason")
    told = {"rev": rev, "state": "final" if rev else "forming", "ruleset": "all@1"}
    key = {"symbol": symbol, "interval": interval, "start": start, "end": end}
    return msgspec.convert(key | prices | sums | stamps | dict.fromkeys(unknown) | told, Bar)


def _row(what: str, bars: int, run: Callable[[], object]) -> dict[str, object]:
    seconds = min(_timed(run) for _ in range(RUNS))
    return {"what": what, "bars": bars, "seconds": round(seconds, 2), "us_per_bar": round(seconds / bars * 1e6, 2)}


def _of_set(chosen: IndicatorSet) -> list[dict[str, object]]:
    """By number of keys: a step, with its values, a fold of one bar each, and the values as JSON."""
    return [
        {"keys": keys} | {what: round(seconds * 1e3, 3) for what, seconds in _costs(chosen, keys).items()}
        for keys in SET_KEYS
    ]


def _costs(chosen: IndicatorSet, keys: int) -> dict[str, float]:
    state = chosen.initial(keys)
    for bar in range(WARM):
        state = chosen.step(state, _random_bars(keys, bar), np.full(keys, bar + 1))
    bars, start, found = _random_bars(keys, WARM), np.full(keys, WARM + 1), chosen.values(state)
    return {
        "step": _best(lambda: chosen.step(state, bars, start)),
        "step+values": _best(lambda: chosen.values(chosen.step(state, bars, start))),
        "fold": _best(lambda: chosen.fold(state, np.arange(keys), start, bars)),
        "json": _best(lambda: values_json(chosen.columns, found)),
    }


def _best(run: Callable[[], object]) -> float:
    return min(_timed(run) for _ in range(STEPS))


def _random_bars(keys: int, seed: int) -> Bars:
    rng = np.random.default_rng(seed)
    return Bars(**{name: rng.uniform(99, 101, keys) for name in BAR_FIELDS})


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _walk(bars: int, symbols: int, step: np.timedelta64) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (bars, symbols)), axis=0)).ravel()
    spread = np.abs(rng.normal(0, 0.005, close.size)) * close
    start = np.datetime64("2015-01-01", "us") + np.arange(bars) * step
    return pd.DataFrame(
        {
            "symbol": np.tile([f"S{n}" for n in range(symbols)], bars),
            "start": np.repeat(start, symbols),
            "open": close,
            "high": close + spread,
            "low": close - spread,
            "close": close,
            "volume": rng.integers(1, 10_000, close.size).astype(float),
        }
    )


def _steps(keys: int) -> None:
    """Each indicator `STEPS` bars on, with its value after each."""
    history = [_random_bars(keys, bar) for bar in range(STEPS)]
    for indicator in (kind() for kind in INDICATORS.values()):
        state = indicator.initial(keys)
        for bars in history:
            state = indicator.step(state, bars)
            indicator.value(state)
