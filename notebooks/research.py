"""Small studies of 1-minute bars. A frame of bars has symbol, start (UTC), end, close, volume; a day is a UTC day."""

import math

import numpy as np
import pandas as pd


def time_of_day(start: pd.Series, minutes: int) -> pd.Series:
    """The stretch of the day that a bar starts in, as the timestamp of its beginning on 2000-01-01 UTC."""
    since = start.dt.floor(f"{minutes}min") - start.dt.floor("D")
    return pd.Timestamp("2000-01-01", tz="UTC") + since


def volume_profile(bars: pd.DataFrame, minutes: int) -> pd.DataFrame:
    """By time of day and symbol, the mean share of the day's volume in percent, over the days that have any."""
    day = bars["start"].dt.floor("D")
    share = 100 * bars["volume"] / bars.groupby(["symbol", day])["volume"].transform("sum")
    days = day.groupby(bars["symbol"]).nunique()
    added = share.groupby([time_of_day(bars["start"], minutes), bars["symbol"]]).sum().unstack()
    return added / days


def with_returns(bars: pd.DataFrame) -> pd.DataFrame:
    """The bars with a price, and `log_return` from the close before on the same day, NaN for the first one."""
    priced = bars.dropna(subset=["close"]).sort_values(["symbol", "start"])
    logs = np.log(priced["close"])
    return priced.assign(log_return=logs.groupby([priced["symbol"], priced["start"].dt.floor("D")]).diff())


def realised_volatility(returns: pd.DataFrame, minutes: int) -> pd.DataFrame:
    """By time of day and symbol, the root of the mean squared return of a bar, in basis points; not annualised."""
    squared = (returns["log_return"] * 1e4) ** 2
    grouped = squared.groupby([time_of_day(returns["start"], minutes), returns["symbol"]])
    return np.sqrt(grouped.mean()).unstack()


def tails(returns: pd.DataFrame, steps: np.ndarray) -> pd.DataFrame:
    """By multiple of its standard deviation and symbol, the share of returns whose size is larger; NaN for none."""
    found = {}
    for symbol, values in returns.dropna(subset=["log_return"]).groupby("symbol")["log_return"]:
        sizes = ((values - values.mean()) / values.std()).abs().to_numpy()
        found[symbol] = [(sizes > step).mean() or np.nan for step in steps]
    return pd.DataFrame(found, index=steps)


def follow_the_bar(returns: pd.DataFrame, wait: int) -> pd.DataFrame:
    """What "buy after a rising bar, sell after a falling one" adds up to, in percent without costs, by symbol.

    `wait` is how many bars lie between the bar that decides and the bar that is traded: 1 is the first one that can be,
    0 trades the bar that decides, as one does who takes the label of a bar for the moment at which it is known.
    """
    moved = returns.dropna(subset=["log_return"])
    by_day = [moved["symbol"], moved["start"].dt.floor("D")]
    decided = np.sign(moved["log_return"]).groupby(by_day).shift(wait)
    gained = (100 * decided * moved["log_return"]).fillna(0.0)
    return gained.groupby(moved["symbol"]).cumsum().to_frame("percent").assign(symbol=moved["symbol"], at=moved["end"])


def normal_tail(steps: np.ndarray) -> np.ndarray:
    """The share of a normal law that is larger in size than so many standard deviations."""
    return np.array([math.erfc(step / math.sqrt(2)) for step in steps])
