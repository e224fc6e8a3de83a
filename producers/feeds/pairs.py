"""Crypto and currency pairs: canonical `BTC-USD`, whatever a venue writes."""

import functools

# Longest first where one ends another.
QUOTES = (
    *("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDP", "USDS", "BIDR", "IDRT", "DOGE"),
    *("USD", "EUR", "GBP", "JPY", "AUD", "BRL", "TRY", "RUB", "UAH", "ZAR", "ARS", "PLN", "RON", "MXN", "CAD", "CHF"),
    *("NGN", "DAI", "PAX", "VAI", "BTC", "ETH", "BNB", "TRX", "XRP", "DOT"),
)
_NAMES = {"XBT": "BTC", "XDG": "DOGE"}


@functools.lru_cache(maxsize=10_000)
def from_joined(native: str) -> str:
    """`BTCUSDT` as `BTC-USDT`; text that ends in no known quote currency stays as it is.

    >>> from_joined("ETHBTC"), from_joined("btcfdusd"), from_joined("AAPL")
    ('ETH-BTC', 'BTC-FDUSD', 'AAPL')
    """
    text = native.upper()
    for quote in QUOTES:
        if text.endswith(quote) and len(text) > len(quote):
            return f"{text[: -len(quote)]}-{quote}"
    return text


@functools.lru_cache(maxsize=10_000)
def from_parts(native: str, separator: str) -> str:
    """`XBT/USD` as `BTC-USD`: venues' own names of a currency become the common ones."""
    return "-".join(_NAMES.get(part, part) for part in native.upper().split(separator))


def joined(symbol: str, separator: str = "") -> str:
    """`BTC-USD` with another separator."""
    return symbol.replace("-", separator)
