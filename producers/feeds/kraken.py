"""Kraken spot, keyless: socket v2, recorded messages of socket v1, REST.

    {"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":105944.2,"qty":0.00027625,
     "ord_type":"limit","trade_id":10218208,"timestamp":"2023-10-06T17:35:55.440295Z"}]}
    [993,[["354.11000000","0.89594024","1618678142.557535","s","l",""]],"trade","XMR/USD"]
    {"error":[],"result":{"XXBTZUSD":[["30243.40000","0.34507674",1688669597.8277369,"b","m","",61044952]],"last":"…"}}

Prices and amounts of v2 are JSON numbers: they are read digit by digit, never through a float. A pair's trade ids go up
by one, the same in v2 and REST. v1 has none: its trades are known by their place among those of one microsecond, and
the live feed does not use it. The snapshot after subscribing holds the last 50 trades and closes a short gap by itself.

REST gives trades after a time, in nanoseconds, and none by id: `trades_by_id` looks for the time first. Its bars are
the latest 720 only. The recorded messages show the sockets; REST is from the public documentation. Whether `since`
includes its own time it does not say: pages overlap here, so that it does not matter.
"""

import json
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from conf.settings import Settings
from core.intervals import MINUTE_US, SECOND_US
from core.records import Tick
from producers.feeds.base import LENGTHS, Can, Feed, HistoryBar, Parsed, Problem, Quota, SchemaChanged
from producers.feeds.decoding import Ordinals, decode, order_of, peek, plain, time_us
from producers.feeds.paging import within
from producers.feeds.pairs import from_parts, joined
from producers.feeds.rows import history_bar

if TYPE_CHECKING:
    from producers.http import Http

_PAGE = 1000
_HOUR_US = 60 * MINUTE_US
_NO_SECONDS = Decimal(10) ** 12
_REST_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
_BUSY = ("EAPI:Rate limit", "EService:", "EGeneral:Temporary", "EGeneral:Internal", "EGeneral:Too many")


class _Kind(msgspec.Struct):
    channel: str = ""
    method: str = ""
    event: str = ""
    error: str = ""
    errorMessage: str = ""


class _Trade(msgspec.Struct):
    symbol: str
    price: Decimal
    qty: Decimal
    trade_id: int
    timestamp: str


class _Trades(msgspec.Struct):
    data: list[_Trade]


class _Answer(msgspec.Struct):
    error: list[str]
    result: dict[str, msgspec.Raw] = {}


_kind = msgspec.json.Decoder(_Kind)
_trades = msgspec.json.Decoder(_Trades)
_array = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)
# Price, volume, seconds, side, order type, miscellaneous.
_v1_trades = msgspec.json.Decoder(tuple[int, list[tuple[Decimal, Decimal, Decimal, str, str, str]], str, str])
_answer = msgspec.json.Decoder(_Answer)
_rest_trades = msgspec.json.Decoder(list[tuple[Decimal, Decimal, Decimal, str, str, str, int]])
# Seconds, open, high, low, close, volume-weighted price, volume, trades.
_rest_bars = msgspec.json.Decoder(list[tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int]])


class Kraken(Feed):
    name = "kraken"
    also = ("kraken_v1", "kraken_v2")
    can = Can(trades=True, live=True, history=("trades", "bars"), keyless=True, counted_ids=True)
    socket_url = "wss://ws.kraken.com/v2"
    rest_url = "https://api.kraken.com"
    quota = Quota(1, 1.0)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._ordinals = Ordinals()

    # Wire format

    def parse(self, message: bytes, received_us: int) -> Parsed:
        if message[:1] == b"[":
            return self._parse_v1(message, received_us)
        kind = peek(_kind, message, self.name) or _Kind()
        if kind.channel == "trade":
            trades = decode(_trades, message, self.name, kind.channel).data
            return Parsed([self._tick(trade, received_us) for trade in trades])
        named = kind.channel or kind.method or kind.event or "unnamed"
        return Parsed().refused(named, kind.error or kind.errorMessage)

    def _tick(self, trade: _Trade, received_us: int) -> Tick:
        event_us = time_us(trade.timestamp, self.name, "trade", "timestamp")
        return self._made(self.symbol(trade.symbol), trade.price, trade.qty, event_us, trade.trade_id, received_us)

    def _parse_v1(self, message: bytes, received_us: int) -> Parsed:
        parts = peek(_array, message, self.name) or []
        kind = peek(_text, bytes(parts[-2]), self.name) if len(parts) >= 4 else None
        if kind != "trade":
            return Parsed().ignore(kind or "unnamed")
        _, trades, _, pair = decode(_v1_trades, message, self.name, kind)
        symbol = self.symbol(pair)
        return Parsed(
            [self._made(symbol, price, size, _us(seconds), None, received_us) for price, size, seconds, *_ in trades]
        )

    def _made(
        self, symbol: str, price: Decimal, size: Decimal, event_us: int, trade_id: int | None, received_us: int
    ) -> Tick:
        return Tick(
            symbol=symbol,
            event_us=event_us,
            price=plain(price),
            size=plain(size),
            trade_id=None if trade_id is None else str(trade_id),
            seq=self._ordinals.next(symbol, event_us) if trade_id is None else order_of(trade_id),
            source=self.name,
            venue=self.name,
            received_us=received_us,
        )

    def symbol_by_rule(self, native: str) -> str:
        return from_parts(native, "/")

    def native_by_rule(self, symbol: str) -> str:
        return joined(symbol, "/")

    # Live

    def hello(self, symbols: Sequence[str]) -> list[str]:
        names = [self.native(symbol) for symbol in symbols]
        # Heartbeats come with any subscription, each second that brings nothing else.
        return [json.dumps({"method": "subscribe", "params": {"channel": "trade", "symbol": names, "snapshot": True}})]

    # History

    def problem(self, body: bytes) -> Problem | None:
        answer = peek(_answer, body, self.name)
        errors = [text for text in answer.error if text.startswith("E")] if answer else []
        if not errors:
            return None
        return Problem("; ".join(errors), again=any(text.startswith(_BUSY) for text in errors))

    async def trades(self, http: "Http", symbol: str, start_us: int, end_us: int) -> AsyncIterator[list[Tick]]:
        end_us = min(end_us, http.now_us())
        async for ticks in within(self._pages(http, symbol, start_us), start_us, end_us):
            yield ticks

    async def trades_by_id(self, http: "Http", symbol: str, first: int, last: int) -> AsyncIterator[list[Tick]]:
        start_us = await self._time_before(http, symbol, first)
        async for page in self._pages(http, symbol, start_us):
            if ticks := [tick for tick in page if first <= _number(tick) <= last]:
                yield ticks
            if _number(page[-1]) >= last:
                return

    async def _pages(self, http: "Http", symbol: str, start_us: int) -> AsyncIterator[list[Tick]]:
        """All trades from a time on, oldest first, each once."""
        since, last = max(0, start_us * 1000 - 1), -1
        while True:
            page, reached = await self._page(http, symbol, since)
            new = [tick for tick in page if _number(tick) > last]
            if new:
                yield new
                last = _number(new[-1])
            # One nanosecond back: whatever a full page cut off at its last time comes with the next one.
            following = reached - 1 if new and reached - 1 > since else reached
            if not page or following <= since:
                return
            since = following

    async def _time_before(self, http: "Http", symbol: str, trade_id: int) -> int:
        """A time from which one page of trades reaches the trade of this id."""

        async def page_from(at_us: int) -> tuple[list[Tick], bool]:
            page, _ = await self._page(http, symbol, max(0, at_us * 1000 - 1))
            return page, not page or _number(page[0]) > trade_id

        low = high = now_us = http.now_us()
        page, beyond = list[Tick](), True
        while beyond and low > 0:  # gaps are young, mostly: an hour, two, four back
            low, high = max(0, now_us - max(_HOUR_US, 2 * (now_us - low))), low
            page, beyond = await page_from(low)
        while len(page) == _PAGE and _number(page[-1]) < trade_id and high - low > 1:
            middle = (low + high) // 2
            nearer, beyond = await page_from(middle)
            if beyond:
                high = middle
            else:
                low, page = middle, nearer
        return low

    async def _page(self, http: "Http", symbol: str, since: int | None, count: int = _PAGE) -> tuple[list[Tick], int]:
        """Trades after a time in nanoseconds, oldest first, without one the newest; and where the next page starts."""
        asked = {"pair": self.pair(symbol), "count": str(count)} | ({} if since is None else {"since": str(since)})
        rows, last = await self._ask(http, "Trades", asked)
        trades = decode(_rest_trades, rows, self.name, "Trades")
        ticks = [
            self._made(symbol, price, size, _us(seconds), number, http.now_us())
            for price, size, seconds, _, _, _, number in trades
        ]
        return ticks, int(last)

    async def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        length_us = LENGTHS[interval]
        end_us = min(end_us, http.now_us() - length_us + 1)  # the bar that is forming is left out
        asked = {"pair": self.pair(symbol), "interval": str(length_us // MINUTE_US)}
        rows, _ = await self._ask(http, "OHLC", asked)
        bars = [
            history_bar(
                self.name, symbol, interval, seconds * SECOND_US, (open_, high, low, close, volume), vwap, trades
            )
            for seconds, open_, high, low, close, vwap, volume, trades in decode(_rest_bars, rows, self.name, "OHLC")
            if start_us <= seconds * SECOND_US < end_us and trades
        ]
        if bars:
            yield bars

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        return [tick for symbol in symbols for tick in (await self._page(http, symbol, None, 1))[0][-1:]]

    async def _ask(self, http: "Http", what: str, asked: dict[str, str]) -> tuple[bytes, str]:
        """The rows of the pair that was asked for, under whatever name, and `last`."""
        body = await http.get(f"/0/public/{what}", asked)
        result = decode(_answer, body, self.name, what).result
        last = bytes(result.pop("last", b'"0"')).decode().strip('"')
        return bytes(next(iter(result.values()), b"[]")), last

    def pair(self, symbol: str) -> str:
        """The pair as REST has always known it: XBTUSD."""
        return "".join(_REST_NAMES.get(part, part) for part in self.native(symbol).split("/"))


def _number(tick: Tick) -> int:
    return int(tick.trade_id or 0)


def _us(seconds: Decimal) -> int:
    """Seconds as whole microseconds; digits below are cut off. Raises SchemaChanged for what is no time."""
    if not seconds.is_finite() or abs(seconds) >= _NO_SECONDS:
        raise SchemaChanged(Kraken.name, "trade", f"{seconds} is no time")
    return int(seconds * SECOND_US)
