"""Binance USD-M futures: the wire format of `binance`, followed by aggregates (see there).

    {"e":"trade","E":1723161256330,"T":1723161256322,"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006",
     "X":"MARKET","m":false}

Its contracts are symbols of their own, so that no bar mixes them with spot: BTC-USDT-PERP, BTC-USDT-241227. `X` of a
single trade is kept as its conditions unless it is MARKET: INSURANCE_FUND, ADL. What is NA or has no price is no trade.
"""

from dataclasses import replace

from core.errors import InputError
from producers.feeds.base import Quota
from producers.feeds.binance import Binance
from producers.feeds.pairs import from_joined, joined


class BinanceFutures(Binance):
    name = "binance_futures"
    also = ("binance_usdm",)
    can = replace(Binance.can, aggregated=True)
    socket_url = "wss://fstream.binance.com/market/stream"
    rest_url = "https://fapi.binance.com"
    # 2,400 weights a minute; aggTrades weighs 20.
    quota = Quota(20, 12.0)
    api = "/fapi/v1"

    def canonical(self, native: str) -> str:
        pair, _, delivery = native.partition("_")
        return f"{from_joined(pair)}-{delivery or 'PERP'}"

    def joined(self, symbol: str) -> str:
        pair, _, contract = symbol.upper().rpartition("-")
        if contract == "PERP":
            return joined(pair)
        if len(contract) == 6 and contract.isdigit():
            return f"{joined(pair)}_{contract}"
        raise InputError(
            f"{self.name}: {symbol!r} is no contract; they end in -PERP or a delivery date such as -241227"
        )
