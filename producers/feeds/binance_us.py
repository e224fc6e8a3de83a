"""Binance.US: the wire format of `binance`, followed by aggregates (see there), quoted in USD."""

from dataclasses import replace

from producers.feeds.base import Quota
from producers.feeds.binance import Binance


class BinanceUs(Binance):
    name = "binance_us"
    also = ()
    can = replace(Binance.can, aggregated=True)
    socket_url = "wss://stream.binance.us:9443/stream"
    rest_url = "https://api.binance.us"
    # 1,200 weights a minute; aggTrades weighs 1.
    quota = Quota(20, 6.0)

    def canonical(self, native: str) -> str:
        # It trades in USD, which QUOTES cannot tell from TUSD and BUSD behind a coin that ends in T or B.
        if native.endswith("TUSD") or native in ("BNBUSD", "SHIBUSD", "ARBUSD"):
            return f"{native[:-3]}-USD"
        return super().canonical(native)
