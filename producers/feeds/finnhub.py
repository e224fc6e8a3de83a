"""Finnhub: trades of US stocks, crypto and currency pairs over a socket; the latest quote over REST.

    {"data":[{"c":["1","8"],"p":122.1,"s":"TSLA","t":1672348887195,"v":1}],"type":"trade"}
    {"data":[{"p":7296.89,"s":"BINANCE:BTCUSDT","t":1575526691134,"v":0.011467}],"type":"trade"}

Trades have no id and milliseconds only: they are known by their place among those of their millisecond. An entry of
volume zero is a change of price without a trade, and is ignored. Conditions are kept as `c:1,8`.

The socket takes its key in the address and nowhere else: what `socket` returns must not be logged or shown.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from conf.settings import Settings
from core.intervals import SECOND_US
from core.records import Tick
from producers.feeds.base import Can, Feed, Parsed, Problem, Quota
from producers.feeds.decoding import Ordinals, decode, peek, plain, take_each
from producers.feeds.pairs import from_joined, joined
from producers.feeds.tape import CALENDAR, conditions, is_pair

if TYPE_CHECKING:
    from producers.http import Http

# A quote's place among the ticks of its millisecond: the last, where no trade of the socket comes.
_QUOTE_PLACE = 1023


class _Kind(msgspec.Struct):
    type: str = ""
    msg: str = ""
    error: str = ""


class _Trade(msgspec.Struct):
    s: str
    p: Decimal
    t: int
    v: Decimal
    c: list[str] | None = None


class _Trades(msgspec.Struct):
    data: list[msgspec.Raw]


class _Quote(msgspec.Struct):
    c: Decimal
    t: int


_kind = msgspec.json.Decoder(_Kind)
_trades = msgspec.json.Decoder(_Trades)
_trade = msgspec.json.Decoder(_Trade)
_quote = msgspec.json.Decoder(_Quote)


class Finnhub(Feed):
    name = "finnhub"
    can = Can(trades=True, live=True, conditions=True)
    keys = ("finnhub_api_key",)
    socket_url = "wss://ws.finnhub.io"
    rest_url = "https://finnhub.io/api/v1"
    quota = Quota(60, 60.0)
    calendar = CALENDAR
    silence_seconds = 60.0
    crypto_exchange = "BINANCE"
    """Which of the exchanges it carries to ask for a pair."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._ordinals = Ordinals()

    def parse(self, message: bytes, received_us: int) -> Parsed:
        kind = peek(_kind, message, self.name) or _Kind()
        if kind.type == "trade":
            parts = [bytes(part) for part in decode(_trades, message, self.name, kind.type).data]
            return take_each(parts, lambda part, parsed: self._take(part, received_us, parsed))
        words = self.masked(kind.msg or "error") if kind.type == "error" else ""
        return Parsed().refused(kind.type or "unnamed", words)

    def _take(self, message: bytes, received_us: int, parsed: Parsed) -> None:
        trade = decode(_trade, message, self.name, "trade")
        if trade.v:
            parsed.ticks.append(self._tick(trade, received_us))
        else:
            parsed.ignore("price without a trade")

    def _tick(self, trade: _Trade, received_us: int) -> Tick:
        symbol, event_us = self.symbol(trade.s), trade.t * 1000
        return Tick(
            symbol=symbol,
            event_us=event_us,
            price=plain(trade.p),
            size=plain(trade.v),
            seq=self._ordinals.next(symbol, event_us),
            source=self.name,
            venue=trade.s.rpartition(":")[0] or None,
            conditions=conditions(trade.c),
            received_us=received_us,
        )

    def symbol_by_rule(self, native: str) -> str:
        exchange, _, rest = native.rpartition(":")
        if not exchange:
            return native
        return rest.replace("_", "-") if "_" in rest or "-" in rest else from_joined(rest)

    def native_by_rule(self, symbol: str) -> str:
        return f"{self.crypto_exchange}:{joined(symbol)}" if is_pair(symbol) else symbol

    def socket(self, symbols: Sequence[str]) -> str:
        """The address with the key in it, the provider's only way: not for logs."""
        return f"{self.socket_url}?token={quote(self.key(), safe='')}"

    def headers(self) -> Mapping[str, str]:
        return {"X-Finnhub-Token": self.key()}

    def hello(self, symbols: Sequence[str]) -> list[str]:
        return [json.dumps({"type": "subscribe", "symbol": self.native(symbol)}) for symbol in symbols]

    def problem(self, body: bytes) -> Problem | None:
        found = peek(_kind, body, self.name)
        return Problem(found.error, again=False) if found and found.error else None

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        """Last prices, of size zero: a quote says nothing of the trade behind it. An unknown symbol has none."""
        found: list[Tick] = []
        for symbol in symbols:
            body = await http.get("/quote", {"symbol": self.native(symbol)})
            last = decode(_quote, body, self.name, "quote")
            if last.t and last.c:
                found.append(self._quoted(symbol, last, http.now_us()))
        return found

    def _quoted(self, symbol: str, last: _Quote, received_us: int) -> Tick:
        event_us = last.t * SECOND_US
        return Tick(
            symbol=symbol,
            event_us=event_us,
            price=plain(last.c),
            size="0",
            seq=Ordinals().next(symbol, event_us) + _QUOTE_PLACE,
            source=self.name,
            venue=self.native(symbol).rpartition(":")[0] or None,
            received_us=received_us,
        )
