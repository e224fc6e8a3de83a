"""Finage: trades of US stocks and of crypto pairs over a socket, bars and last trades over REST.

From the documentation: never run against the provider, and no recorded message was at hand.

    {"s":"AAPL","p":118.94,"c":[14,37,41],"v":100,"dp":false,"t":1605215340130,"x":"4"}   a trade of a stock
    {"s":"BTCUSD","p":"16278.29","q":"0.013","dc":"3.1","dd":"497.6","t":1605215482000}   a trade of a pair
    {"status_code":200,"message":"connected to the adapter"}
    {"s":"AAPL","a":118.95,"b":118.93,"t":1605215340130}                                  a quote

Each customer has an own server for each market and a socket key beside the key of REST: TICKSTREAM_FINAGE_SOCKET
holds the whole address of the provider's dashboard. What a server sends can be edited there; trades need sizes.
Without trade ids, a trade is known by its place among those of its millisecond. The key of REST is part of the address.
"""

import json
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from conf.settings import Settings, variable
from core.errors import InputError
from core.intervals import DAY_US
from core.records import Tick
from producers.feeds.base import Can, Feed, HistoryBar, Parsed, Quota
from producers.feeds.decoding import Ordinals, decode, peek, plain
from producers.feeds.paging import windows
from producers.feeds.pairs import joined
from producers.feeds.rows import bar_of, date_in, from_long
from producers.feeds.tape import CALENDAR, conditions, is_pair

if TYPE_CHECKING:
    from producers.http import Http

_MS = 1000
_LIMIT = 50_000
_INTERVALS = {"1m": (1, "minute"), "5m": (5, "minute"), "15m": (15, "minute"), "1h": (1, "hour"), "1d": (1, "day")}
# Even one minute of every day of these stays below the limit.
_DAYS = {"1m": 30, "5m": 150, "15m": 450, "1h": 1800, "1d": 7300}
Code = int | str


class _Kind(msgspec.Struct):
    status_code: int = 0
    message: str = ""
    s: str = ""
    p: Any = None
    q: Any = None
    a: Any = None
    ask: Any = None


class _Stock(msgspec.Struct):
    s: str
    p: Decimal
    v: Decimal
    t: int
    c: list[Code] | None = None
    x: Code | None = None


class _Pair(msgspec.Struct):
    s: str
    p: Decimal
    q: Decimal
    t: int


class _Last(msgspec.Struct):
    symbol: str
    price: Decimal
    timestamp: int
    size: Decimal = Decimal(0)


class _Row(msgspec.Struct, rename={"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "start": "t"}):
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    start: int
    volume: Decimal = Decimal(0)


class _Rows(msgspec.Struct):
    results: list[_Row]


_kind = msgspec.json.Decoder(_Kind)
_stock = msgspec.json.Decoder(_Stock)
_pair = msgspec.json.Decoder(_Pair)
_last = msgspec.json.Decoder(_Last)
_rows = msgspec.json.Decoder(_Rows)


class Finage(Feed):
    name = "finage"
    can = Can(trades=True, live=True, history=("bars",), conditions=True)
    keys = ("finage_api_key",)
    socket_url = "wss://{server}/?token={socket key}"
    rest_url = "https://api.finage.co.uk"
    quota = Quota(5, 1.0, 1000)
    calendar = CALENDAR

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._ordinals = Ordinals()

    def parse(self, message: bytes, received_us: int) -> Parsed:
        kind = peek(_kind, message, self.name) or _Kind()
        if kind.s and kind.p is not None:
            if kind.q is not None:
                pair = decode(_pair, message, self.name, "pair")
                return Parsed([self._tick(self.symbol(pair.s), pair.p, pair.q, pair.t, received_us)])
            stock = decode(_stock, message, self.name, "stock")
            tick = self._tick(self.symbol(stock.s), stock.p, stock.v, stock.t, received_us)
            venue = None if stock.x is None else str(stock.x)
            return Parsed([msgspec.structs.replace(tick, conditions=conditions(stock.c), venue=venue)])
        quote = kind.a is not None or kind.ask is not None
        words = f"{kind.status_code} {kind.message}".strip() if kind.status_code >= 400 else ""
        return Parsed().refused("status" if kind.status_code else "quote" if quote else "unnamed", words)

    def _tick(self, symbol: str, price: Decimal, size: Decimal, ms: int, received_us: int) -> Tick:
        event_us = ms * _MS
        return Tick(
            symbol=symbol,
            event_us=event_us,
            price=plain(price),
            size=plain(size),
            seq=self._ordinals.next(symbol, event_us),
            source=self.name,
            received_us=received_us,
        )

    def parse_rest(self, channel: str, message: bytes, received_us: int) -> Parsed:
        if channel != "last_trade":
            return Parsed().ignore(channel)
        last = decode(_last, message, self.name, channel)
        return Parsed([self._tick(self.symbol(last.symbol), last.price, last.size, last.timestamp, received_us)])

    def symbol_by_rule(self, native: str) -> str:
        return from_long(native)

    def native_by_rule(self, symbol: str) -> str:
        return joined(symbol) if is_pair(symbol) else symbol

    def socket(self, symbols: Sequence[str]) -> str:
        address = self.settings.finage_socket.get_secret_value()
        if not address:
            raise InputError(
                f"{self.name} gives each customer an own server: set {variable('finage_socket')} to the address on its"
                " dashboard, wss://SERVER:PORT/?token=SOCKET_KEY"
            )
        return address

    def masked(self, text: str) -> str:
        address = self.settings.finage_socket.get_secret_value()
        for token in parse_qs(urlsplit(address).query).get("token", []):
            text = text.replace(token, "***")
        return super().masked(text)

    def hello(self, symbols: Sequence[str]) -> list[str]:
        return [json.dumps({"action": "subscribe", "symbols": ",".join(self.native(symbol) for symbol in symbols)})]

    async def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        count, unit = _INTERVALS[interval]
        for at, until in windows(start_us, end_us, _DAYS[interval] * DAY_US):
            # A day before: dates may mean the exchange's days, which end after midnight UTC.
            first, last = date_in(max(at - DAY_US, 0), "UTC"), date_in(until - 1, "UTC")
            path = f"/agg/{_market(symbol)}/{self.native(symbol)}/{count}/{unit}/{first}/{last}"
            body = await http.get(path, {"apikey": self.key(), "limit": str(_LIMIT), "sort": "asc"})
            rows = decode(_rows, body, self.name, "agg").results
            made = [bar_of(self.name, symbol, interval, _start(row.start * _MS, interval), row) for row in rows]
            if bars := [bar for bar in made if at <= bar.start < until]:
                yield bars

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        found: list[Tick] = []
        for symbol in symbols:
            path = f"/last/trade/{_market(symbol)}/{self.native(symbol)}"
            last = decode(_last, await http.get(path, {"apikey": self.key()}), self.name, "last_trade")
            found.append(self._tick(symbol, last.price, last.size, last.timestamp, http.now_us()))
        return found


def _market(symbol: str) -> str:
    return "crypto" if is_pair(symbol) else "stock"


def _start(us: int, interval: str) -> int:
    """A day's bar is stamped with midnight in New York or UTC; ours starts at midnight UTC of its date."""
    return us // DAY_US * DAY_US if interval == "1d" else us
