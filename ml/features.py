"""The features, one definition each: in training over a frame of bars, in serving bar by bar, the same bits.

A feature is a formula over the bar that has just closed and the values of indicators after it, element by element, so
that it cannot see another bar than through an indicator. All are free of the price's and the volume's size, so that
symbols can share a model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from numpy.typing import NDArray

from core.indicators import Bars, compute, parse_all
from core.indicators.base import Array
from core.indicators.batch import start_us
from core.intervals import DAY_US
from core.sessions import ALWAYS_OPEN

Values = Mapping[str, Array]
Ints = NDArray[np.int64]

SPECS = (
    "roc:1 roc:5 roc:15 roc:60 sma:20 sma:50 ema:12 ema:26 rsi:14 macd:12,26,9 bbands:20,2 zscore:20 zscore:60 "
    "stoch:14,3,3 atr:14 rvol:5 rvol:20 rvol:60 vwap rvwap:20 relvol:5 relvol:20"
)
INDICATORS = parse_all(SPECS)


@dataclass(frozen=True)
class Feature:
    """A formula over arrays of one shape, with what it means in words."""

    name: str
    means: str
    formula: Callable[[Bars, Values, Ints], Array]


def _log_return(name: str) -> Callable[[Bars, Values, Ints], Array]:
    return lambda _, values, __: np.log1p(values[name] / 100)


def _against(numerator: str, denominator: str) -> Callable[[Bars, Values, Ints], Array]:
    return lambda _, values, __: _ratio(values[numerator], values[denominator]) - 1


def _distance(name: str) -> Callable[[Bars, Values, Ints], Array]:
    return lambda bars, values, _: _ratio(bars.close, values[name]) - 1


def _log(name: str) -> Callable[[Bars, Values, Ints], Array]:
    return lambda _, values, __: np.log(np.maximum(values[name], 1e-3))


def _share(name: str, of: float) -> Callable[[Bars, Values, Ints], Array]:
    return lambda _, values, __: values[name] / of


def _turn(function: Callable[[Array], Array], period_us: int) -> Callable[[Bars, Values, Ints], Array]:
    return lambda _, __, start: function(2 * np.pi * (start % period_us) / period_us)


def _ratio(dividend: Array, divisor: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(divisor == 0, np.nan, dividend / divisor)


FEATURES: tuple[Feature, ...] = (
    Feature("return_1", "log return of the bar's close over the close before", _log_return("roc_1")),
    Feature("return_5", "log return over 5 bars", _log_return("roc_5")),
    Feature("return_15", "log return over 15 bars", _log_return("roc_15")),
    Feature("return_60", "log return over 60 bars", _log_return("roc_60")),
    Feature("to_sma_20", "close over the mean of 20 closes, less 1", _distance("sma_20")),
    Feature("to_sma_50", "close over the mean of 50 closes, less 1", _distance("sma_50")),
    Feature("trend", "EMA 12 over EMA 26, less 1", _against("ema_12", "ema_26")),
    Feature("rsi", "RSI 14, from 0 to 1", _share("rsi_14", 100)),
    Feature("macd", "MACD line over the close", lambda b, v, _: _ratio(v["macd_12_26_9"], b.close)),
    Feature("macd_hist", "MACD histogram over the close", lambda b, v, _: _ratio(v["macd_12_26_9_hist"], b.close)),
    Feature("band", "where the close lies between the Bollinger bands: 0 lower, 1 upper",
            lambda b, v, _: _ratio(b.close - v["bbands_20_2_lower"], v["bbands_20_2_upper"] - v["bbands_20_2_lower"])),
    Feature("band_width", "width of the Bollinger bands over their middle",
            lambda _, v, __: _ratio(v["bbands_20_2_upper"] - v["bbands_20_2_lower"], v["bbands_20_2_middle"])),
    Feature("zscore_20", "z-score of the close among 20", lambda _, v, __: v["zscore_20"]),
    Feature("zscore_60", "z-score of the close among 60", lambda _, v, __: v["zscore_60"]),
    Feature("stoch_k", "slow stochastic %K, from 0 to 1", _share("stoch_14_3_3_k", 100)),
    Feature("stoch_d", "its mean %D, from 0 to 1", _share("stoch_14_3_3_d", 100)),
    Feature("atr", "average true range 14 over the close", lambda b, v, _: _ratio(v["atr_14"], b.close)),
    Feature("volatility", "log of the realised volatility of 20 bars",
            lambda _, v, __: np.log(np.maximum(v["rvol_20"], 1e-8))),
    Feature("volatility_turn", "realised volatility of 5 bars over that of 60", lambda _, v, __: _ratio(
        v["rvol_5"], v["rvol_60"])),
    Feature("to_vwap", "close over the session's VWAP, less 1", _distance("vwap")),
    Feature("to_rvwap", "close over the VWAP of 20 bars, less 1", _distance("rvwap_20")),
    Feature("volume_5", "log of the volume over the mean of 5 bars before", _log("relvol_5")),
    Feature("volume_20", "log of the volume over the mean of 20 bars before", _log("relvol_20")),
    Feature("body", "close over open, less 1", lambda b, _, __: _ratio(b.close, b.open) - 1),
    Feature("range", "high less low, over the close", lambda b, _, __: _ratio(b.high - b.low, b.close)),
    Feature("close_in_range", "where the close lies between low and high: 0 low, 1 high; 0.5 of a flat bar",
            lambda b, _, __: np.where(b.high == b.low, 0.5, _ratio(b.close - b.low, b.high - b.low))),
    Feature("day_sin", "time of the UTC day, as a sine", _turn(np.sin, DAY_US)),
    Feature("day_cos", "time of the UTC day, as a cosine", _turn(np.cos, DAY_US)),
)  # fmt: skip
NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
RETURN, VOLATILITY = NAMES.index("return_60"), NAMES.index("volatility")


def formulas(bars: Bars, values: Values, start_us: Ints) -> dict[str, Array]:
    """Every feature of bars and of the indicators' values after them, all of one shape; NaN where one is not ready."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return {feature.name: np.asarray(feature.formula(bars, values, start_us)) for feature in FEATURES}


def features(bars: pd.DataFrame, calendar: str = ALWAYS_OPEN) -> pd.DataFrame:
    """The features of every bar, with the index of `bars`: one row per bar, one column per name of `NAMES`.

    `bars` is what `core.indicators.compute` takes. A row has NaN until all its indicators are ready.
    """
    values = compute(bars, INDICATORS, calendar)
    columns = {name: bars[name].to_numpy(np.float64) for name in ("open", "high", "low", "close", "volume")}
    unread = columns["volume"]  # by any formula
    held = Bars(**columns, notional=unread, session=unread, minute=unread)
    found = formulas(held, {name: values[name].to_numpy() for name in values}, start_us(bars))
    return pd.DataFrame(found, index=bars.index)


def ready(found: Array) -> NDArray[np.bool_]:
    """Which rows of features (rows, len(NAMES)) a model may be asked about: those with history enough."""
    return np.asarray(np.isfinite(found[:, RETURN]) & np.isfinite(found[:, VOLATILITY]))


def volatility(found: Array) -> Array:
    """The standard deviation of a bar's log return that was known with each row."""
    return np.asarray(np.exp(found[:, VOLATILITY]))
