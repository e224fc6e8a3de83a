"""The providers, one file each, registered here."""

from core.errors import InputError
from producers.feeds.alpaca import Alpaca
from producers.feeds.alphavantage import AlphaVantage
from producers.feeds.base import Can, Feed, HistoryBar, Parsed, Quota, SchemaChanged
from producers.feeds.binance import Binance
from producers.feeds.binance_futures import BinanceFutures
from producers.feeds.binance_us import BinanceUs
from producers.feeds.coinbase import Coinbase
from producers.feeds.finage import Finage
from producers.feeds.finnhub import Finnhub
from producers.feeds.fmp import FMP
from producers.feeds.kraken import Kraken
from producers.feeds.polygon import Polygon
from producers.feeds.twelvedata import TwelveData
from producers.feeds.yahoo import Yahoo

__all__ = ["FEEDS", "Can", "Feed", "HistoryBar", "Parsed", "Quota", "SchemaChanged", "feed_named"]

_ALL: tuple[type[Feed], ...] = (
    *(Alpaca, Finnhub, Polygon),
    *(AlphaVantage, Binance, BinanceFutures, BinanceUs, Coinbase, Finage, FMP, Kraken, TwelveData, Yahoo),
)
FEEDS: dict[str, type[Feed]] = {feed.name: feed for feed in _ALL}


def feed_named(name: str) -> type[Feed]:
    """The feed of this name or of one it also answers to. Raises InputError listing those there are."""
    wanted = name.lower()
    for feed in FEEDS.values():
        if wanted == feed.name or wanted in feed.also:
            return feed
    raise InputError(f"unknown provider {name!r}; known: {', '.join(sorted(FEEDS))}")
