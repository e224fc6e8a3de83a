"""Bars for the predictor's tests."""

import numpy as np
import pandas as pd

from ml.features import Ints

MINUTE_US = 60_000_000
BEGIN_US = 1_767_225_600_000_000  # 2026-01-01


def frame(close: "np.ndarray", symbol: str = "AAA", seed: int = 1, start_us: Ints | None = None) -> pd.DataFrame:
    """Minute bars whose closes are these; everything else drawn around them."""
    draw = np.random.default_rng(seed)
    before = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(before, close) * (1 + draw.uniform(0, 1e-3, len(close)))
    low = np.minimum(before, close) * (1 - draw.uniform(0, 1e-3, len(close)))
    start = BEGIN_US + np.arange(len(close)) * MINUTE_US if start_us is None else start_us
    return pd.DataFrame({"symbol": symbol, "start": start, "open": before, "high": high, "low": low, "close": close,
                         "volume": draw.integers(1, 5_000, len(close)).astype(np.float64)})  # fmt: skip


def walk(bars: int, seed: int = 1, echo: float = 0.0, symbol: str = "AAA") -> pd.DataFrame:
    """A random walk; each return carries `echo` times the one before it."""
    noise = np.random.default_rng(seed).normal(0, 1e-3, bars)
    returns = np.zeros(bars)
    for place in range(1, bars):
        returns[place] = echo * returns[place - 1] + noise[place]
    return frame(100 * np.exp(np.cumsum(returns)), symbol, seed)
