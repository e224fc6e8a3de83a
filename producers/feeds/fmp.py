"""Financial Modeling Prep: bars and quotes, over REST only. From the documentation: never run against the provider.

    /stable/quote                    [{"symbol":"AAPL","price":232.8,"volume":44489128,"timestamp":1738702801,…}]
    /stable/historical-chart/1min    [{"date":"2025-02-04 15:59:00","open":233.01,"low":232.72,"high":233.13,
                                       "close":232.79,"volume":720121}]
    /stable/historical-price-eod/full  [{"symbol":"AAPL","date":"2025-02-04","open":227.2,"high":233.13,…}]

Keys made since September 2025 are refused under the former /api/v3, so `/stable` is asked. Times are US/Eastern,
newest first, and `from` and `to` are days of it, both included. A quote is a price observation: its tick has size 0.
The key is part of the address. Problems: {"Error Message":…}.
"""

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from core.intervals import DAY_US, SECOND_US
from core.records import Tick
from producers.feeds.base import Can, HistoryBar, Parsed, Problem, Quota
from producers.feeds.decoding import decode, peek, plain
from producers.feeds.paging import windows
from producers.feeds.pairs import joined
from producers.feeds.rows import EASTERN, RestFeed, bars_of, date_in, from_long
from producers.feeds.tape import CALENDAR, is_pair

if TYPE_CHECKING:
    from producers.http import Http

_HOUR = 3600.0
_INTERVALS = {"1m": "1min", "5m": "5min", "15m": "15min", "1h": "1hour"}
# How many days an answer holds at most, with room to spare.
_DAYS = {"1m": 2, "5m": 7, "15m": 14, "1h": 28, "1d": 1800}


class _Quote(msgspec.Struct):
    symbol: str
    price: Decimal
    timestamp: int


class _Row(msgspec.Struct):
    date: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class _Refusal(msgspec.Struct):
    text: str = msgspec.field(name="Error Message", default="")


_quotes = msgspec.json.Decoder(list[_Quote])
_rows = msgspec.json.Decoder(list[_Row])
_refusal = msgspec.json.Decoder(_Refusal)


class FMP(RestFeed):
    name = "fmp"
    also = ("financialmodelingprep",)
    can = Can(history=("bars",))
    keys = ("fmp_api_key",)
    rest_url = "https://financialmodelingprep.com"
    quota = Quota(5, 1.0, 250)
    calendar = CALENDAR

    def parse_rest(self, channel: str, message: bytes, received_us: int) -> Parsed:
        if problem := self.problem(message):
            return Parsed().refused("error", problem.text)
        if channel != "quote":
            return Parsed().ignore(channel)
        quotes = decode(_quotes, message, self.name, channel)
        return Parsed([self._tick(self.symbol(quote.symbol), quote, received_us) for quote in quotes])

    def _tick(self, symbol: str, quote: _Quote, received_us: int) -> Tick:
        return Tick(
            symbol=symbol,
            event_us=quote.timestamp * SECOND_US,
            price=plain(quote.price),
            size="0",
            source=self.name,
            received_us=received_us,
        )

    def symbol_by_rule(self, native: str) -> str:
        return from_long(native)

    def native_by_rule(self, symbol: str) -> str:
        return joined(symbol) if is_pair(symbol) else symbol

    def problem(self, body: bytes) -> Problem | None:
        text = (peek(_refusal, body, self.name) or _Refusal()).text
        return Problem(text, again="limit reach" in text.lower(), wait=_HOUR) if text else None

    async def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        daily = interval == "1d"
        path = "/stable/historical-price-eod/full" if daily else f"/stable/historical-chart/{_INTERVALS[interval]}"
        zone = "UTC" if daily else EASTERN  # daily bars start at midnight UTC of their date
        for at, until in windows(start_us, end_us, _DAYS[interval] * DAY_US):
            days = {"from": date_in(at, zone), "to": date_in(until - 1, zone)}
            body = await http.get(path, {"symbol": self.native(symbol), **days, "apikey": self.key()})
            rows = [(row.date, row) for row in decode(_rows, body, self.name, "bars")]
            if bars := bars_of(self.name, symbol, interval, EASTERN, rows, range(at, until).__contains__):
                yield bars

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        found: list[Tick] = []
        for symbol in symbols:
            body = await http.get("/stable/quote", {"symbol": self.native(symbol), "apikey": self.key()})
            quotes = decode(_quotes, body, self.name, "quote")
            found += [self._tick(symbol, quote, http.now_us()) for quote in quotes[:1]]
        return found
