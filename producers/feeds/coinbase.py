"""Coinbase: the Exchange feed (`match`, keyless) and Advanced Trade (`market_trades`); REST of the Exchange.

    {"type":"match","trade_id":280232,"side":"sell","size":"985","price":"0.00001305","product_id":"SKL-BTC",
     "sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}
    {"channel":"market_trades","timestamp":"…","sequence_num":5,"events":[{"type":"update","trades":[{"trade_id":"995098700",
     "product_id":"BTC-USD","price":"68900.50","size":"0.00150000","side":"BUY","time":"2026-04-07T14:30:02.789012Z"}]}]}

A product's trade ids go up by one. `last_match`, sent once after subscribing, is the trade before the first `match`:
it is taken, since it closes the gap of a reconnect by one.
"""

import json
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import msgspec

from core.intervals import SECOND_US
from core.records import Tick
from producers.feeds.base import LENGTHS, Can, Feed, HistoryBar, Parsed, Quota
from producers.feeds.decoding import decode, order_of, peek, plain, time_us
from producers.feeds.paging import first_where, windows, within
from producers.feeds.rows import history_bar

if TYPE_CHECKING:
    from producers.http import Http

_PAGE = 1000
_CANDLES = 300


class _Kind(msgspec.Struct):
    type: str = ""
    channel: str = ""
    message: str = ""
    reason: str = ""


class _Match(msgspec.Struct):
    trade_id: int
    product_id: str
    price: str
    size: str
    time: str


class _Trade(msgspec.Struct):
    trade_id: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}$")]
    product_id: str
    price: str
    size: str
    time: str


class _Event(msgspec.Struct):
    trades: list[_Trade]


class _MarketTrades(msgspec.Struct):
    events: list[_Event]


class _RestKind(msgspec.Struct):
    trades: msgspec.Raw = msgspec.Raw()


class _RestTrade(msgspec.Struct):
    trade_id: int
    price: str
    size: str
    time: str


_kind = msgspec.json.Decoder(_Kind)
_match = msgspec.json.Decoder(_Match)
_market_trades = msgspec.json.Decoder(_MarketTrades)
_event = msgspec.json.Decoder(_Event)
_rest_kind = msgspec.json.Decoder(_RestKind)
_rest_trades = msgspec.json.Decoder(list[_RestTrade])
# Start, low, high, open, close, volume.
_candles = msgspec.json.Decoder(list[tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]])


class Coinbase(Feed):
    name = "coinbase"
    also = ("coinbase_pro", "coinbase_exchange", "coinbase_advanced")
    can = Can(trades=True, live=True, history=("trades", "bars"), keyless=True, counted_ids=True)
    socket_url = "wss://ws-feed.exchange.coinbase.com"
    rest_url = "https://api.exchange.coinbase.com"
    quota = Quota(10, 1.0)

    def parse(self, message: bytes, received_us: int) -> Parsed:
        kind = peek(_kind, message, self.name) or _Kind()
        if kind.type in ("match", "last_match"):
            return Parsed([self._tick(decode(_match, message, self.name, kind.type), received_us)])
        if kind.channel == "market_trades":
            events = decode(_market_trades, message, self.name, kind.channel).events
            return Parsed([self._tick(trade, received_us) for event in events for trade in event.trades])
        words = f"{kind.message} {kind.reason}".strip() if kind.type == "error" else ""
        return Parsed().refused(kind.type or kind.channel or "unnamed", words)

    def parse_rest(self, channel: str, message: bytes, received_us: int) -> Parsed:
        kind = peek(_rest_kind, message, self.name)
        if kind is None or not bytes(kind.trades):
            return Parsed().ignore(channel)
        # Advanced Trade names the product in each trade; the Exchange's list of trades does not, and is ignored.
        return Parsed([self._tick(trade, received_us) for trade in decode(_event, message, self.name, channel).trades])

    def _tick(self, trade: _Match | _Trade, received_us: int) -> Tick:
        return self._made(trade.product_id, trade, received_us)

    def _made(self, product: str, trade: _Match | _Trade | _RestTrade, received_us: int) -> Tick:
        return Tick(
            symbol=self.symbol(product),
            event_us=time_us(trade.time, self.name, "trade", "time"),
            price=plain(trade.price),
            size=plain(trade.size),
            trade_id=str(trade.trade_id),
            seq=order_of(int(trade.trade_id)),
            source=self.name,
            venue=self.name,
            received_us=received_us,
        )

    def symbol_by_rule(self, native: str) -> str:
        return native

    def native_by_rule(self, symbol: str) -> str:
        return symbol

    def hello(self, symbols: Sequence[str]) -> list[str]:
        products = [self.native(symbol) for symbol in symbols]
        # Heartbeats come each second: they tell an idle market from a dead socket.
        return [json.dumps({"type": "subscribe", "product_ids": products, "channels": ["matches", "heartbeat"]})]

    async def trades(self, http: "Http", symbol: str, start_us: int, end_us: int) -> AsyncIterator[list[Tick]]:
        end_us = min(end_us, http.now_us())
        newest = await self._page(http, symbol, None, 1)
        if not newest or start_us >= end_us:
            return

        async def reached(number: int) -> bool:
            page = await self._page(http, symbol, number + 1, 1)
            return bool(page) and page[-1].event_us >= start_us

        last = int(newest[-1].trade_id or 0)
        first = await first_where(1, last + 1, reached)
        async for ticks in within(self.trades_by_id(http, symbol, first, last), start_us, end_us):
            yield ticks

    async def trades_by_id(self, http: "Http", symbol: str, first: int, last: int) -> AsyncIterator[list[Tick]]:
        while first <= last:
            # `after` is exclusive: the page below it, newest first.
            page = await self._page(http, symbol, min(first + _PAGE, last + 1))
            ticks = [tick for tick in page if first <= int(tick.trade_id or 0) <= last]
            if ticks:
                yield ticks
            first += _PAGE

    async def _page(self, http: "Http", symbol: str, after: int | None, limit: int = _PAGE) -> list[Tick]:
        """The trades before an id, or the newest, oldest first."""
        asked = {"limit": str(limit)} | ({} if after is None else {"after": str(after)})
        product = self.native(symbol)
        body = await http.get(f"/products/{product}/trades", asked)
        trades = decode(_rest_trades, body, self.name, "trades")
        return [self._made(product, trade, http.now_us()) for trade in reversed(trades)]

    async def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        length_us = LENGTHS[interval]
        end_us = min(end_us, http.now_us() - length_us + 1)  # the bar that is forming is left out
        for at, until in windows(start_us, end_us, _CANDLES * length_us):
            asked = {
                "granularity": str(length_us // SECOND_US),
                "start": str(at // SECOND_US),
                "end": str((until - 1) // SECOND_US),
            }
            body = await http.get(f"/products/{self.native(symbol)}/candles", asked)
            candles = decode(_candles, body, self.name, "candles")
            bars = [
                history_bar(self.name, symbol, interval, start * SECOND_US, (open_, high, low, close, volume))
                for start, low, high, open_, close, volume in sorted(candles, key=lambda row: row[0])
                if at <= start * SECOND_US < until
            ]
            if bars:
                yield bars

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        return [tick for symbol in symbols for tick in await self._page(http, symbol, None, 1)]
