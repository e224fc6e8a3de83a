"""Yahoo: quotes over the public socket of its pages, bars over the chart interface behind them; both unofficial.

    {"type":"pricing","message":"CgdCVEMtVVNEFYoMuUcYwLCVgIplIgNVU0Qq…"}    base64 of a protobuf message PricingData
    {"chart":{"result":[{"meta":{"symbol":"AAPL","regularMarketPrice":232.8,"regularMarketTime":1738702801,…},
     "timestamp":[1738679400],"indicators":{"quote":[{"open":[227.25],…,"volume":[0]}]}}],"error":null}}

The bare base64 text and records with `encoded_base64_protobuf` are read too. A message is no trade: its size is the
rise of the symbol's volume of the day since the highest seen, 0 for the first, and for crypto always, where that
volume is money of 24 hours. A volume of 0 in the middle of a day, which does happen, says nothing. Prices are 32-bit
floats: the shortest decimal text that means the same one. Daily bars start at midnight UTC of their local date.
Minutes reach back 30 days, other bars of an hour or less 60 to 730.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from conf.settings import Settings
from core.intervals import DAILY, DAY_US, SECOND_US
from core.records import Tick
from producers.feeds.base import Can, Feed, HistoryBar, Parsed, Problem, Quota
from producers.feeds.decoding import Ordinals
from producers.feeds.paging import windows
from producers.feeds.rows import FIAT, bar_of, date_in, day_us
from producers.feeds.tape import CALENDAR
from producers.feeds.yahoo_wire import (
    CRYPTO,
    HEARTBEAT,
    Meta,
    Result,
    chart,
    chart_error,
    encoded,
    pricing,
    rows_of,
    shortest,
)

if TYPE_CHECKING:
    from producers.http import Http

_INTERVALS = {"1m": "1m", "5m": "5m", "15m": "15m", "1h": "60m", "1d": "1d"}
# Days an answer may span, and the seconds that starts of bars are a multiple of: the last row is the present price.
_DAYS = {"1m": 7, "5m": 59, "15m": 59, "1h": 700, "1d": 3650}
_GRID = {"1m": 60, "5m": 300, "15m": 900, "1h": 1800, "1d": 1}


class Yahoo(Feed):
    name = "yahoo"
    also = ("yfinance",)
    can = Can(live=True, history=("bars",), keyless=True)
    socket_url = "wss://streamer.finance.yahoo.com/?version=2"
    rest_url = "https://query1.finance.yahoo.com"
    quota = Quota(30, 60.0, 2000)  # nothing is published: what users report to be safe
    calendar = CALENDAR

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._ordinals = Ordinals()
        self._volumes: dict[str, int] = {}
        self._subscription: str | None = None

    def parse(self, message: bytes, received_us: int) -> Parsed:
        kind, text = encoded(message, self.name)
        if text is None:
            return Parsed().ignore(kind)
        data = pricing(text, self.name)
        if data.quote_type == HEARTBEAT:
            return Parsed().ignore("heartbeat")
        symbol = self.symbol(data.id)
        size = 0 if data.quote_type == CRYPTO else self._rise(symbol, data.day_volume)
        return Parsed([self._tick(symbol, data.time * 1000, data.price, received_us, size, data.exchange or None)])

    def _rise(self, symbol: str, volume: int) -> int:
        """How far the volume of the day went beyond its highest; less than half of that is another day."""
        if volume <= 0:
            return 0
        highest = self._volumes.get(symbol)
        if highest is None or volume < highest / 2:
            self._volumes[symbol] = volume
            return 0
        self._volumes[symbol] = max(highest, volume)
        return self._volumes[symbol] - highest

    def _tick(
        self, symbol: str, event_us: int, price: float, received_us: int, size: int = 0, venue: str | None = None
    ) -> Tick:
        return Tick(
            symbol=symbol,
            event_us=event_us,
            price=shortest(price),
            size=str(size),
            seq=self._ordinals.next(symbol, event_us),
            source=self.name,
            venue=venue,
            received_us=received_us,
        )

    def parse_rest(self, channel: str, message: bytes, received_us: int) -> Parsed:
        if channel != "chart":
            return Parsed().ignore(channel)
        result = self._result(message)
        tick = result and self._latest(self.symbol(result.meta.symbol), result.meta, received_us)
        return Parsed([tick]) if tick else Parsed().ignore(channel)

    def _latest(self, symbol: str, meta: Meta, received_us: int) -> Tick | None:
        if meta.regular_market_price is None or meta.regular_market_time is None:
            return None
        return self._tick(symbol, meta.regular_market_time * SECOND_US, meta.regular_market_price, received_us)

    def symbol_by_rule(self, native: str) -> str:
        pair = native.removesuffix("=X")
        return f"{pair[:3]}-{pair[3:]}" if pair != native and len(pair) == 6 else native

    def native_by_rule(self, symbol: str) -> str:
        base, _, counter = symbol.partition("-")
        return f"{base}{counter}=X" if base in FIAT and counter in FIAT else symbol

    def headers(self) -> Mapping[str, str]:
        return {"User-Agent": "Mozilla/5.0"}  # the names of HTTP libraries are refused

    def socket_headers(self) -> Mapping[str, str]:
        return self.headers()

    def hello(self, symbols: Sequence[str]) -> list[str]:
        self._subscription = json.dumps({"subscribe": [self.native(symbol) for symbol in symbols]})
        return [self._subscription]

    def keep_alive(self) -> str | None:
        return self._subscription

    def problem(self, body: bytes) -> Problem | None:
        text = chart_error(body, self.name)
        return Problem(text, again=False) if text else None

    async def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        for at, until in windows(start_us, end_us, _DAYS[interval] * DAY_US):
            around = DAY_US if interval == DAILY else 0  # a day opens before or after midnight UTC
            asked = {
                "period1": str(max(at - around, 0) // SECOND_US),
                "period2": str(-(-(until + around) // SECOND_US)),
                "interval": _INTERVALS[interval],
                "includePrePost": "true",
            }
            result = self._result(await http.get(self._path(symbol), asked))
            found = self._bars(result, symbol, interval) if result else []
            if bars := [bar for bar in found if at <= bar.start < until]:
                yield bars

    def _path(self, symbol: str) -> str:
        return f"/v8/finance/chart/{quote(self.native(symbol))}"

    def _result(self, body: bytes) -> Result | None:
        results = chart(body, self.name)
        return results[0] if results else None

    def _bars(self, result: Result, symbol: str, interval: str) -> list[HistoryBar]:
        """Rows with prices, oldest first; of two for one day the later, which is the day so far."""
        found: dict[int, HistoryBar] = {}
        for seconds, row in rows_of(result, self.name):
            if seconds % _GRID[interval] == 0:
                us = seconds * SECOND_US
                start = day_us(date_in(us, result.meta.exchange_timezone_name)) if interval == DAILY else us
                found[start] = bar_of(self.name, symbol, interval, start, row)
        return [found[start] for start in sorted(found)]

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        found: list[Tick] = []
        for symbol in symbols:
            result = self._result(await http.get(self._path(symbol), {"range": "1d", "interval": "1d"}))
            tick = result and self._latest(symbol, result.meta, http.now_us())
            found += [tick] if tick else []
        return found
