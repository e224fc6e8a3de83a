"""What indicators cost in batch and step by step: the figures of docs/indicators.md.

    .venv/bin/python -m benchmarks.indicators

Random walks, one process; the best of three runs counts.
"""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.machine import machine
from benchmarks.report import table
from core.indicators import compute
from core.indicators.base import BAR_FIELDS, Bars
from core.indicators.registry import INDICATORS

RUNS = 3
DAY = np.timedelta64(1, "D")
MINUTE = np.timedelta64(1, "m")
STEPS = 200


def main() -> None:
    specs = list(INDICATORS)
    daily, minutes = _walk(2520, 500, DAY), _walk(500_000, 1, MINUTE)
    rows = [
        _row("2,520 daily bars x 500 symbols", len(daily), lambda: compute(daily, specs)),
        _row("500,000 minute bars of one symbol", len(minutes), lambda: compute(minutes, specs)),
        _row("steps of 1 key", STEPS, lambda: _steps(1)),
        _row("steps of 500 keys", STEPS * 500, lambda: _steps(500)),
    ]
    here = f"{machine()['cpu']}, {machine()['cores']} cores"
    print(f"{here}\nall {len(specs)} indicators with their defaults\n{table(rows)}")


def _row(what: str, bars: int, run: Callable[[], object]) -> dict[str, object]:
    seconds = min(_timed(run) for _ in range(RUNS))
    return {"what": what, "bars": bars, "seconds": round(seconds, 2), "us_per_bar": round(seconds / bars * 1e6, 2)}


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
    rng = np.random.default_rng(2)
    history = [Bars(**{name: rng.uniform(99, 101, keys) for name in BAR_FIELDS}) for _ in range(STEPS)]
    for indicator in (kind() for kind in INDICATORS.values()):
        state = indicator.initial(keys)
        for bars in history:
            state = indicator.step(state, bars)
            indicator.value(state)


if __name__ == "__main__":
    main()
