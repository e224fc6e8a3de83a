"""What a process that does not load the feeds may know of the providers: names, keys, quotas, latest prices or not.

`producers.feeds.FEEDS` is the definition; tests/unit/conf/test_providers.py holds the two equal, and its failure
prints the rows as they should be.
"""

from dataclasses import dataclass

from conf.settings import Settings, variable
from core.errors import InputError

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider. `keys` are the fields of `Settings` with its credentials.

    It allows `requests` in any `seconds`, and `daily` in a UTC day; no `requests`: it is not asked over REST.
    """

    name: str
    also: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    requests: int = 0
    seconds: float = 1.0
    daily: int | None = None
    latest: bool = False
    """It can be asked for latest prices."""
    symbols_per_request: int = 1
    """How many latest prices one request brings."""

    def requests_for(self, symbols: int) -> int:
        """Requests that one poll of so many symbols costs."""
        return -(-symbols // self.symbols_per_request)

    def requests_a_second(self, margin_seconds: float = 0.0) -> float:
        """What the quota allows for ever, its seconds counted that much longer."""
        for_ever = self.requests / (self.seconds + margin_seconds)
        return for_ever if self.daily is None else min(for_ever, self.daily / _DAY_SECONDS)

    def missing(self, settings: Settings) -> list[str]:
        """The variables of those of its keys that are not set."""
        return [variable(key) for key in self.keys if not getattr(settings, key).get_secret_value()]


_ALL = (
    # Stocks and pairs are two requests, each for any number.
    Provider(
        "alpaca",
        keys=("alpaca_api_key", "alpaca_secret_key"),
        requests=200,
        seconds=60.0,
        latest=True,
        symbols_per_request=50,
    ),
    Provider(
        "alphavantage",
        also=("alpha_vantage",),
        keys=("alphavantage_api_key",),
        requests=5,
        seconds=60.0,
        daily=25,
        latest=True,
    ),
    Provider("binance", also=("binance_spot",), requests=20, seconds=6.0, latest=True),
    Provider("binance_futures", also=("binance_usdm",), requests=20, seconds=12.0, latest=True),
    Provider("binance_us", requests=20, seconds=6.0, latest=True),
    Provider(
        "coinbase",
        also=("coinbase_pro", "coinbase_exchange", "coinbase_advanced"),
        requests=10,
        seconds=1.0,
        latest=True,
    ),
    Provider("finage", keys=("finage_api_key",), requests=5, seconds=1.0, daily=1000, latest=True),
    Provider("finnhub", keys=("finnhub_api_key",), requests=60, seconds=60.0, latest=True),
    Provider(
        "fmp",
        also=("financialmodelingprep",),
        keys=("fmp_api_key",),
        requests=5,
        seconds=1.0,
        daily=250,
        latest=True,
    ),
    Provider("kraken", also=("kraken_v1", "kraken_v2"), requests=1, seconds=1.0, latest=True),
    Provider("polygon", also=("massive",), keys=("polygon_api_key",), requests=5, seconds=60.0, latest=True),
    Provider(
        "twelvedata",
        also=("twelve_data",),
        keys=("twelvedata_api_key",),
        requests=8,
        seconds=60.0,
        daily=800,
        latest=True,
    ),
    Provider("yahoo", also=("yfinance",), requests=30, seconds=60.0, daily=2000, latest=True),
)
PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}


def provider_named(name: str) -> Provider:
    """The provider of this name or of one it also answers to. Raises InputError listing those there are."""
    wanted = name.lower()
    for provider in PROVIDERS.values():
        if wanted == provider.name or wanted in provider.also:
            return provider
    raise InputError(f"unknown provider; known: {', '.join(sorted(PROVIDERS))}")


def with_latest() -> list[str]:
    """The names of those that can be asked for latest prices."""
    return sorted(provider.name for provider in PROVIDERS.values() if provider.latest)
