"""Experiments on indicators: other starting bars, other libraries, other drivers of the same definition."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import talib

from core.bars import fold_bars
from core.frames import bars_frame
from core.indicators import Bars, IndicatorSet, bars_of, compute, parse
from core.intervals import INTERVALS, MINUTE_US
from notebooks.tape import Day, may_touch
from producers.frames import ticks_of


def by_starting_bar(bars: pd.DataFrame, spec: str, starts: int, bars_after: int) -> pd.Series:
    """The largest absolute difference between an indicator over a history, and over the history without its first bars.

    `starts` histories are tried, one bar shorter each, after a warm-up that makes the long one stable. Indexed by the
    bars since the shorter one had its first value, 0 to `bars_after`, as far as the bars reach.
    """
    indicator = parse(spec)
    whole = compute(bars, [indicator]).iloc[:, 0].to_numpy()
    first, last = indicator.stable_after, len(bars) - indicator.ready_after - bars_after
    begins = range(first, max(first + 1, min(first + starts, last)))
    largest = np.zeros(bars_after + 1)
    for begin in begins:
        part = bars.iloc[begin : begin + indicator.ready_after + bars_after]
        values = compute(part, [indicator]).iloc[:, 0].to_numpy()[indicator.ready_after - 1 :]
        true = whole[begin + indicator.ready_after - 1 :][: len(values)]
        largest[: len(values)] = np.fmax(largest[: len(values)], np.abs(values - true))
    return pd.Series(largest, name=spec)


def against_talib(bars: pd.DataFrame) -> dict[str, float]:
    """The largest relative difference from TA-Lib by indicator; infinite where one has a value and the other none."""
    high, low, close, volume = (bars[name].to_numpy(float) for name in ("high", "low", "close", "volume"))
    theirs = {
        "sma_20": talib.SMA(close, 20),
        "ema_20": talib.EMA(close, 20),
        "rsi_14": talib.RSI(close, 14),
        "macd_12_26_9_signal": talib.MACD(close, 12, 26, 9)[1],
        "bbands_20_2_upper": talib.BBANDS(close, 20, 2, 2)[0],
        "atr_14": talib.ATR(high, low, close, 14),
        "stoch_14_3_3_k": talib.STOCH(high, low, close, 14, 3, 0, 3, 0)[0],
        "roc_10": talib.ROC(close, 10),
        "obv": talib.OBV(close, volume),
    }
    specs = "sma:20 ema:20 rsi:14 macd:12,26,9 bbands:20,2 atr:14 stoch:14,3,3 roc:10 obv"
    ours = compute(bars, specs)
    return {name: _apart(ours[name].to_numpy(), values) for name, values in theirs.items()}


def stepped(chosen: IndicatorSet, bars: pd.DataFrame, calendar: str = "24/7") -> pd.DataFrame:
    """The values of a set after each bar of one key, stepped one bar at a time."""
    state, rows = chosen.initial(1), []
    start_us = bars["start"].dt.as_unit("us").astype("int64").to_numpy()
    notional = (bars["high"] + bars["low"] + bars["close"]) / 3 * bars["volume"]
    names = ["open", "high", "low", "close", "volume"]
    for number, values in enumerate(bars.assign(notional=notional)[[*names, "notional"]].to_numpy(float)):
        at = start_us[number : number + 1]
        state = chosen.step(state, bars_of(*([value] for value in values), at, calendar), at)
        rows.append(chosen.values(state)[0])
    return pd.DataFrame(rows, columns=list(chosen.columns), index=bars.index)


@dataclass(frozen=True)
class Live:
    """`ticks`: at, price, rsi, after every print that sets prices; `finals`: end, close, rsi of the final bars."""

    label: str
    ticks: pd.DataFrame
    finals: pd.DataFrame


def live_rsi(day: Day, minutes: int, after: int = 90) -> Live:
    """RSI(14) of the forming 1-minute bar, print by print, in `minutes` bars after the first `after`."""
    rsi, interval = parse("rsi:14"), INTERVALS["1m"]
    bars = bars_frame(fold_bars([(tick, None, None) for tick in ticks_of(day.ticks)], [interval], day.ruleset))
    bars = bars.dropna(subset=["close"]).reset_index(drop=True)
    state = rsi.initial(1)
    for number in range(after):
        state = rsi.step(state, _bar(bars.iloc[number]))
    shown, finals = [], []
    setting = day.ticks[may_touch(day.ticks, day.ruleset, "open_close")]
    for _, bar in bars.iloc[after : after + minutes].iterrows():
        start_us = bar["start"].value // 1000
        inside = setting[(setting["event_us"] >= start_us) & (setting["event_us"] < start_us + MINUTE_US)]
        for at_us, text in zip(inside["event_us"], inside["price"], strict=True):
            forming = rsi.step(state, _bar(bar, close=float(text)))
            shown.append((pd.Timestamp(at_us, unit="us", tz="UTC"), float(text), rsi.value(forming)["rsi"][0]))
        state = rsi.step(state, _bar(bar))
        finals.append((bar["end"], bar["close"], rsi.value(state)["rsi"][0]))
    return Live(
        day.label,
        pd.DataFrame(shown, columns=["at", "price", "rsi"]),
        pd.DataFrame(finals, columns=["end", "close", "rsi"]),
    )


def filled(bars: pd.DataFrame) -> pd.DataFrame:
    """Minute bars of one symbol with the holes filled: the last close, no volume."""
    every = pd.date_range(bars["start"].iloc[0], bars["start"].iloc[-1], freq="min")
    held = bars.set_index("start").reindex(every.as_unit("us")).rename_axis("start").reset_index()
    close = held["close"].ffill()
    prices = {name: held[name].fillna(close) for name in ("open", "high", "low", "close")}
    return held.assign(**prices, symbol=bars["symbol"].iloc[0], volume=held["volume"].fillna(0.0))


def with_start(bars: pd.DataFrame, specs: str) -> pd.DataFrame:
    """The indicators of bars of one symbol, by their start."""
    return compute(bars, specs).set_index(pd.DatetimeIndex(bars["start"]))


def _bar(row: pd.Series, **changed: float) -> Bars:
    values = {name: changed.get(name, row[name]) for name in ("open", "high", "low", "close", "volume", "notional")}
    return bars_of(*([float(value)] for value in values.values()), [row["start"].value // 1000])


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    if (np.isnan(ours) != np.isnan(theirs)).any():
        return float("inf")
    there = ~np.isnan(ours)
    scale = np.maximum(np.abs(theirs[there]), 1.0)
    return float((np.abs(ours[there] - theirs[there]) / scale).max())
