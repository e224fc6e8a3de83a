"""Every indicator by name. A new one is a class in a file of this folder and a line here."""

from core.indicators.averages import Ema, Macd, Sma
from core.indicators.base import Indicator
from core.indicators.momentum import Mom, Roc, Rsi, Stoch
from core.indicators.volatility import Atr, Bbands, Rvol, Zscore
from core.indicators.volume import Obv, Rvwap, Vwap

INDICATORS: dict[str, type[Indicator]] = {
    "sma": Sma,
    "ema": Ema,
    "macd": Macd,
    "rsi": Rsi,
    "stoch": Stoch,
    "mom": Mom,
    "roc": Roc,
    "bbands": Bbands,
    "zscore": Zscore,
    "rvol": Rvol,
    "atr": Atr,
    "vwap": Vwap,
    "rvwap": Rvwap,
    "obv": Obv,
}
