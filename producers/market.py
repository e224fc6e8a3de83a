"""A seeded market: geometric Brownian motion with stochastic volatility, and U-shaped sizes through the day.

Pure and vectorised. Prices are whole cents, sizes whole ten-thousandths, so that expected bars are exact sums.
"""

from dataclasses import dataclass

import numpy as np

from core.errors import InputError

PRICE_SCALE = 100
SIZE_SCALE = 10_000
MAX_SIZE_UNITS = 100_000 * SIZE_SCALE

# Ticker -> first price; a dash marks a coin, traded in fractions.
TICKERS: dict[str, float] = {
    "AAPL": 190, "MSFT": 410, "NVDA": 120, "AMZN": 180, "GOOGL": 165, "META": 500, "TSLA": 245, "SPY": 550,
    "QQQ": 475, "JPM": 210, "BTC-USD": 61_800, "ETH-USD": 2_680, "V": 275, "XOM": 115, "UNH": 560, "JNJ": 160,
    "WMT": 70, "PG": 168, "HD": 350, "KO": 65, "BAC": 39, "IBM": 188, "AIG": 76, "INTC": 31, "AMD": 150,
    "NFLX": 640, "DIS": 96, "PFE": 29, "CSCO": 46, "ORCL": 138, "CRM": 260, "BA": 180, "GE": 165, "F": 11,
    "GLD": 225, "IWM": 210, "SOL-USD": 155, "XRP-USD": 0.6,
}  # fmt: skip

YEAR_SECONDS = 252 * 6.5 * 3600
MEAN_VOLATILITY = 0.35  # a year
VOLATILITY_REVERSION = 1 / 600  # a second
VOLATILITY_NOISE = 0.02  # a square root of a second
TYPICAL_SHARES, TYPICAL_COINS = 80.0, 0.08


def pick_symbols(text: str) -> tuple[str, ...]:
    """`"20"` as that many symbols, well-known tickers first, or `"AAPL,MSFT"` as those two."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if len(names) == 1 and names[0].lstrip("-").isdigit():
        count = int(names[0])
        if not 1 <= count <= 100_000:
            raise InputError(f"--symbols: {count} is not between 1 and 100000")
        extra = (f"SIM{number:04d}" for number in range(count - len(TICKERS)))
        return (*list(TICKERS)[:count], *extra)
    if not names:
        raise InputError("--symbols: neither a number nor a list of names")
    return names


@dataclass(frozen=True, slots=True)
class Trades:
    """A block of trades as columns: index of the symbol, price in cents, size in ten-thousandths."""

    symbol: np.ndarray
    price: np.ndarray
    size: np.ndarray


class Market:
    """The prices of some symbols, moved on a block at a time by one random generator."""

    def __init__(self, symbols: tuple[str, ...], rng: np.random.Generator) -> None:
        count = len(symbols)
        first = np.array([TICKERS.get(name) or 20 + 180 * rng.random() for name in symbols])
        self._rng = rng
        self._log_price = np.log(first * PRICE_SCALE)
        self._bounds = self._log_price - 2.5, self._log_price + 2.5
        self._log_volatility = np.log(MEAN_VOLATILITY) + 0.3 * rng.standard_normal(count)
        self._mean_log_volatility = self._log_volatility.copy()
        weights = (1.0 + np.arange(count)) ** -0.6  # some symbols trade far more than others
        self._share = rng.permutation(weights) / weights.sum()
        self._cumulative_share = np.cumsum(self._share)
        coins = np.array(["-" in name for name in symbols])
        self._typical_size = np.where(coins, TYPICAL_COINS, TYPICAL_SHARES) * SIZE_SCALE
        self._lot = np.where(coins, 1, SIZE_SCALE)

    def trades(self, count: int, seconds: float, day_fraction: float) -> Trades:
        """The next `count` trades, which take `seconds`, at a moment of the day given as 0 to 1."""
        rng = self._rng
        self._move_volatility(seconds)
        symbol = np.searchsorted(self._cumulative_share, rng.random(count) * self._cumulative_share[-1], "right")
        symbol = np.minimum(symbol, len(self._share) - 1)
        per_second = np.exp(self._log_volatility) / np.sqrt(YEAR_SECONDS)
        step = per_second * np.sqrt(seconds / np.maximum(count * self._share, 1.0))
        price = self._walk(symbol, rng.standard_normal(count) * step[symbol])
        wish = self._typical_size[symbol] * u_shape(day_fraction) * np.exp(rng.standard_normal(count))
        lots = np.maximum(1, np.rint(wish / self._lot[symbol])).astype(np.int64)
        return Trades(symbol, price, np.minimum(lots * self._lot[symbol], MAX_SIZE_UNITS))

    def _move_volatility(self, seconds: float) -> None:
        pull = VOLATILITY_REVERSION * (self._mean_log_volatility - self._log_volatility) * seconds
        noise = VOLATILITY_NOISE * np.sqrt(seconds) * self._rng.standard_normal(len(self._log_volatility))
        self._log_volatility += pull + noise

    def _walk(self, symbol: np.ndarray, returns: np.ndarray) -> np.ndarray:
        """Each symbol's own running sum of its returns, in the order of the trades, as whole cents."""
        order = np.argsort(symbol, kind="stable")
        grouped = symbol[order]
        total = np.cumsum(returns[order])
        starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(grouped) else np.empty(0, int)
        before = np.where(starts > 0, total[starts - 1], 0.0)
        lengths = np.diff(np.r_[starts, len(grouped)])
        log_price = self._log_price[grouped] + total - np.repeat(before, lengths)
        log_price = np.clip(log_price, self._bounds[0][grouped], self._bounds[1][grouped])
        self._log_price[grouped[starts]] = log_price[starts + lengths - 1]
        price = np.empty(len(symbol), np.int64)
        price[order] = np.maximum(1, np.rint(np.exp(log_price)))
        return price


def u_shape(day_fraction: float) -> float:
    """Size multiplier by moment of the day: 2.2 at both ends, 0.6 in the middle, about 1.1 on average.

    >>> round(u_shape(0.5), 1), round(u_shape(0.0), 1)
    (0.6, 2.2)
    """
    return 0.6 + 6.4 * (day_fraction - 0.5) ** 2
