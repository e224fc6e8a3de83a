"""What each indicator must equal: TA-Lib where it has the indicator, else the formula written out over windows.

An oracle takes the indicator and a history of one key without gaps, and gives its outputs. NaN stands where the oracle
has nothing to say: before it is ready, and where TA-Lib's own arithmetic is not exact enough.
"""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import talib
from numpy.lib.stride_tricks import sliding_window_view

from core.indicators import Bars
from core.indicators.base import Array, Outputs

Oracle = Callable[[Any, Bars], Outputs]


def _close(bars: Bars) -> Array:
    return np.ascontiguousarray(bars.close[:, 0])


def _hlc(bars: Bars) -> tuple[Array, ...]:
    return tuple(np.ascontiguousarray(getattr(bars, name)[:, 0]) for name in ("high", "low", "close"))


def _windows(values: Array, length: int) -> Array:
    """Every window as a row, rows of NaN before the first full one."""
    found = np.full((len(values), length), np.nan)
    if len(values) >= length:
        found[length - 1 :] = sliding_window_view(values, length)
    return found


def sma(indicator: Any, bars: Bars) -> Outputs:
    if indicator.length == 1:
        return {"sma": _close(bars)}
    return {"sma": talib.SMA(_close(bars), indicator.length)}


def ema(indicator: Any, bars: Bars) -> Outputs:
    if indicator.length == 1:
        return {"ema": _close(bars)}
    return {"ema": talib.EMA(_close(bars), indicator.length)}


def macd(indicator: Any, bars: Bars) -> Outputs:
    found = talib.MACD(_close(bars), indicator.fast, indicator.slow, indicator.signal)
    return dict(zip(("macd", "signal", "hist"), found, strict=True))


def rsi(indicator: Any, bars: Bars) -> Outputs:
    return {"rsi": talib.RSI(_close(bars), indicator.length)}


def stoch(indicator: Any, bars: Bars) -> Outputs:
    k, d = talib.STOCH(*_hlc(bars), indicator.raw, indicator.smooth, 0, indicator.signal, 0)
    return {"k": k, "d": d}


def mom(indicator: Any, bars: Bars) -> Outputs:
    return {"mom": talib.MOM(_close(bars), indicator.length)}


def roc(indicator: Any, bars: Bars) -> Outputs:
    return {"roc": talib.ROC(_close(bars), indicator.length)}


def bbands(indicator: Any, bars: Bars) -> Outputs:
    """TA-Lib takes the mean square less the squared mean, and a variance below 1e-14 for none."""
    k = indicator.k
    upper, middle, lower = talib.BBANDS(_close(bars), indicator.length, k, k)
    windows = _windows(_close(bars), indicator.length)
    exact = windows.std(axis=1)
    trusted = (exact > 1e-4 * windows.mean(axis=1)) & (exact > 1e-5)
    return {
        "upper": np.where(trusted, upper, windows.mean(axis=1) + k * exact),
        "middle": middle,
        "lower": np.where(trusted, lower, windows.mean(axis=1) - k * exact),
    }


def zscore(indicator: Any, bars: Bars) -> Outputs:
    windows = _windows(_close(bars), indicator.length)
    spread, centre = windows.std(axis=1), windows.mean(axis=1)
    meaningful = spread > 1e-6 * np.abs(centre)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"zscore": np.where(meaningful, (windows[:, -1] - centre) / spread, np.nan)}


def rvol(indicator: Any, bars: Bars) -> Outputs:
    returns = np.concatenate([[np.nan], np.log(_close(bars)[1:] / _close(bars)[:-1])])
    return {"rvol": _windows(returns, indicator.length).std(axis=1, ddof=1)}


def atr(indicator: Any, bars: Bars) -> Outputs:
    return {"atr": talib.ATR(*_hlc(bars), indicator.length)}


def obv(_: Any, bars: Bars) -> Outputs:
    return {"obv": talib.OBV(_close(bars), np.ascontiguousarray(bars.volume[:, 0]))}


def vwap(_: Any, bars: Bars) -> Outputs:
    sums = {name: np.zeros(len(bars.close)) for name in ("notional", "volume")}
    for name, values in sums.items():
        for session in np.unique(bars.session[:, 0]):
            inside = bars.session[:, 0] == session
            values[inside] = getattr(bars, name)[inside, 0].cumsum()
    with np.errstate(invalid="ignore"):
        return {"vwap": sums["notional"] / sums["volume"]}


def rvwap(indicator: Any, bars: Bars) -> Outputs:
    sums = [_windows(getattr(bars, name)[:, 0], indicator.length).sum(axis=1) for name in ("notional", "volume")]
    with np.errstate(invalid="ignore"):
        return {"rvwap": sums[0] / sums[1]}


def relvol(indicator: Any, bars: Bars) -> Outputs:
    volumes = bars.volume[:, 0]
    before = np.roll(_windows(volumes, indicator.length).mean(axis=1), 1)
    before[0] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"relvol": np.where(before > 0, volumes / before, np.nan)}


def _returns(bars: Bars) -> Array:
    return np.log(_close(bars)[1:] / _close(bars)[:-1])


def retmad(indicator: Any, bars: Bars) -> Outputs:
    """Window by window, with the medians of the standard library."""
    returns, found = _returns(bars), np.full(len(bars.close), np.nan)
    for at in range(indicator.length, len(returns)):
        before = returns[at - indicator.length : at].tolist()
        centre = statistics.median(before)
        away = [abs(each - centre) for each in before]
        spread = 1.4826 * statistics.median(away) or 1.2533 * statistics.fmean(away)
        distance = returns[at] - centre
        found[at + 1] = 0.0 if distance == 0 else distance / spread if spread else np.nan
    return {"retmad": _trusted(found, returns)}


def retewma(indicator: Any, bars: Bars) -> Outputs:
    """The mean of the squares is TA-Lib's EMA of them, in units that its arithmetic has room for."""
    returns = _returns(bars)
    found = np.full(len(bars.close), np.nan)
    if len(returns) > indicator.length and returns.any():
        squares = talib.EMA(np.ascontiguousarray(returns**2), indicator.length)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[2:] = returns[1:] / np.sqrt(squares[:-1])
    found[indicator.length + 1 :][np.diff(_close(bars))[indicator.length :] == 0] = 0.0
    return {"retewma": _trusted(found, returns)}


def _trusted(found: Array, returns: Array) -> Array:
    """Logs are rounded: NaN where the returns are not much larger than that."""
    moved = np.abs(returns)[returns != 0]
    return np.where(found != 0, np.nan, found) if moved.size and moved.min() < 1e-6 else found


def todvol(indicator: Any, bars: Bars) -> Outputs:
    """From the list of all volumes of each part of the day; exponential weights written out."""
    volumes, parts = bars.volume[:, 0], (bars.minute[:, 0] % 1440) // indicator.minutes
    ratio, known = np.full(len(volumes), np.nan), np.full(len(volumes), np.nan)
    for at in range(1, len(volumes)):
        own = volumes[:at][parts[:at] == parts[at]]
        usual = _faded(own if len(own) else volumes[:at], indicator.length)
        ratio[at] = volumes[at] / usual if usual else np.nan
        known[at] = min(len(own), indicator.length)
    return {"todvol": ratio, "known": known}


def _faded(values: Array, length: int) -> float:
    """The plain mean of the first `length`, every later one taken in with 1/length."""
    first, rest = values[:length], values[length:]
    weights = (1 - 1 / length) ** np.arange(len(rest))[::-1] / length
    return float(first.mean() * (1 - 1 / length) ** len(rest) + (weights * rest).sum())


ORACLES: dict[str, Oracle] = {
    oracle.__name__: oracle
    for oracle in (sma, ema, macd, rsi, stoch, mom, roc, bbands, zscore, rvol, atr, obv, vwap, rvwap, relvol, retmad,
                   retewma, todvol)
}  # fmt: skip
# What the outputs are measured in: differences below 1e-12 of it are rounding, where an output crosses zero.
SCALE = {"rsi": "percent", "stoch": "percent", "roc": "percent", "zscore": "one", "rvol": "one", "obv": "volume",
         "relvol": "one", "retmad": "one", "retewma": "one", "todvol": "one"}  # fmt: skip


def scale(name: str, bars: Bars) -> float:
    sizes = {"percent": 100.0, "one": 1.0, "volume": float(bars.volume.max())}
    return sizes.get(SCALE.get(name, "price"), float(np.abs(bars.close).max()))
