"""Histories of bars for the tests: made ones, and the recorded ones of ../shared/data."""

from pathlib import Path

import numpy as np
import pandas as pd

from core.indicators import Bars, Indicator
from core.indicators.base import BAR_FIELDS, Array, Outputs

DATA = Path(__file__).parents[5] / "shared" / "data"
SESSION_BARS = 4
BAR_US = 86_400_000_000 // SESSION_BARS
RECORDED = {
    "daily": ("daily/nasdaq9_2017_2023.parquet", "date"),
    "minutes": ("crypto_bars/coinbase_BTC_ETH_2018_1m.parquet", "bar_start"),
    "equity_minutes": ("us_equity_minutes/bars_1m/AAPL.parquet", "bar_start"),
}


def walk(seed: int = 1, bars: int = 120, keys: int = 3, price: float = 100.0, missing: float = 0.0) -> Bars:
    """Random walks of `keys` keys, a new session every four bars, that share of bars without prices."""
    rng = np.random.default_rng(seed)
    close = price * np.exp(rng.normal(0, 0.01, (bars, keys)).cumsum(axis=0))
    open_ = close * (1 + rng.normal(0, 0.002, close.shape))
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, 0.003, close.shape)))
    low = np.minimum(open_, close) * (1 - np.abs(rng.normal(0, 0.003, close.shape)))
    volume = rng.integers(0, 1000, close.shape).astype(float)
    prices = [np.where(rng.random(close.shape) < missing, np.nan, 1) * each for each in (open_, high, low, close)]
    return history(*prices, volume=volume, notional=volume * (open_ + close) / 2)


def history(open_: Array, high: Array, low: Array, close: Array, volume: Array, notional: Array) -> Bars:
    day, place = (np.broadcast_to(each[:, None], close.shape) for each in divmod(np.arange(len(close)), SESSION_BARS))
    return Bars(open_, high, low, close, volume, notional, day.astype(float), place * BAR_US / 60_000_000)


def flat(price: float = 100.3, bars: int = 120, keys: int = 2, volume: float = 5.0) -> Bars:
    """Bars that never move."""
    prices = np.full((bars, keys), price)
    traded = np.full((bars, keys), volume)
    return history(prices, prices, prices, prices, traded, traded * price)


def pick(bars: Bars, rows: slice | Array, key: slice | int | None = None) -> Bars:
    """Some bars of a history, of one key or of all."""
    keys = slice(None) if key is None else slice(key, key + 1) if isinstance(key, int) else key
    return Bars(*(getattr(bars, column)[rows, keys] for column in BAR_FIELDS))


def frame(bars: Bars, lengths: list[int] | None = None) -> pd.DataFrame:
    """The history as rows, symbol after symbol; of the n-th symbol only the first `lengths[n]` bars."""
    parts = []
    for key in range(bars.close.shape[1]):
        columns = {name: getattr(bars, name)[:, key] for name in BAR_FIELDS if name not in ("session", "minute")}
        start = np.arange(len(bars.close)) * BAR_US
        parts.append(pd.DataFrame({"symbol": f"S{key}", "start": start, **columns})[: lengths and lengths[key]])
    return pd.concat(parts, ignore_index=True)


def recorded(name: str, symbol: int = 0, limit: int = 1000) -> Bars:
    """The first bars of one symbol of a recorded file."""
    path, time = RECORDED[name]
    table = pd.read_parquet(DATA / path)
    table = table[table["symbol"] == sorted(table["symbol"].unique())[symbol]].sort_values(time)[:limit]
    values = {column: table[column].to_numpy(float)[:, None] for column in ("open", "high", "low", "close", "volume")}
    typical = (values["high"] + values["low"] + values["close"]) / 3
    open_, high, low, close, volume = values.values()
    return history(open_, high, low, close, volume, typical * volume)


def stream(indicator: Indicator, bars: Bars) -> Outputs:
    """The value after every bar, by nothing but `step` and `value`."""
    state, found = indicator.initial(bars.close.shape[1]), []
    for bar in range(len(bars.close)):
        state = indicator.step(state, bars.at(bar))
        found.append(indicator.value(state))
    return {output: np.array([value[output] for value in found]) for output in indicator.outputs}


def run(indicator: Indicator, bars: Bars) -> Array:
    """The state after all bars."""
    state = indicator.initial(bars.close.shape[1])
    for bar in range(len(bars.close)):
        state = indicator.step(state, bars.at(bar))
    return state


def same_bits(left: Outputs, right: Outputs) -> bool:
    """Whether all values are equal to the last bit; one NaN is like another."""
    assert list(left) == list(right)
    for output in left:
        empty = np.isnan(left[output])
        np.testing.assert_array_equal(empty, np.isnan(right[output]), err_msg=output)
        bits = [np.ascontiguousarray(side[output])[~empty].view(np.int64) for side in (left, right)]
        np.testing.assert_array_equal(*bits, err_msg=output)
    return True
