"""Binance spot, and the wire format that Binance.US and the USD-M futures share with it; all keyless.

    {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000",
     "q":"0.02000000","T":1723161255342,"m":true,"M":true}}
    {"e":"aggTrade","E":1633998288468,"s":"OMGBUSD","a":425085,"p":"13.80480000","q":"2.10000000","f":439577,"l":439577,
     "T":1633998288467,"m":false,"M":true}

`trade` is one trade with its id; `aggTrade` is what one taker order traded at one price and time, numbered on its own
(`a`) and covering the trades `f` to `l`. Both numberings go up by one. An aggregate's venue ends in `.agg`, so that its
number is never taken for a trade's; one who reads both streams of a symbol counts its volume twice.

What each feed follows live is what its history gives without a key, so that a gap is filled with the same ids: spot
single trades (historicalTrades by id), Binance.US and futures aggregates (aggTrades by id), as their historicalTrades
wants a key. Volumes, prices and notional are the same either way, `trade_count` is not. Futures aggregates leave out
trades of the insurance fund and of auto-deleveraging.

The recorded messages show the streams. REST, limits and the futures address `/market`, where aggTrade has been since
April 2026, are from the public documentation.
"""

import json
from collections.abc import AsyncIterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import msgspec

from conf.settings import Settings
from core.errors import InputError
from core.intervals import MINUTE_US
from core.records import Tick
from producers.feeds.base import LENGTHS, Can, Feed, HistoryBar, Parsed, Quota
from producers.feeds.decoding import decode, order_of, peek, plain
from producers.feeds.paging import first_where, windows, within
from producers.feeds.pairs import from_joined, joined
from producers.feeds.rows import history_bar

if TYPE_CHECKING:
    from producers.http import Http

T = TypeVar("T")
_PAGE = 1000
_NO_END = 1 << 62
_SPAN_US = 60 * MINUTE_US - 2_000  # what one request may span: under an hour, in whole milliseconds at both ends
_STREAMS = 1024  # of one connection
_ASKED_AT_ONCE = 200  # streams of one request; five requests a second are allowed
_MICROSECONDS_FROM = 10**14  # as milliseconds the year 5138, as microseconds 1973
_EIGHTH = Decimal("1e-8")


class _Inner(msgspec.Struct, frozen=True):
    e: str = ""


class _Refusal(msgspec.Struct, frozen=True):
    msg: str = ""


class _Kind(msgspec.Struct, frozen=True):
    stream: str = ""
    data: _Inner | None = None
    e: str = ""
    id: int | str | None = None
    error: _Refusal | None = None
    msg: str = ""


class _RestTrade(msgspec.Struct):
    id: int
    price: str
    size: str = msgspec.field(name="qty")
    time: int


class _Trade(msgspec.Struct):
    symbol: str = msgspec.field(name="s")
    id: int = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    size: str = msgspec.field(name="q")
    time: int = msgspec.field(name="T")
    kind: str = msgspec.field(name="X", default="")


class _RestAggregate(msgspec.Struct):
    id: int = msgspec.field(name="a")
    price: str = msgspec.field(name="p")
    size: str = msgspec.field(name="q")
    first: int = msgspec.field(name="f")
    time: int = msgspec.field(name="T")


class _Aggregate(_RestAggregate):
    symbol: str = msgspec.field(name="s")


class _Wrapped(msgspec.Struct, Generic[T]):
    data: T


_kind = msgspec.json.Decoder(_Kind)
_trade = msgspec.json.Decoder(_Trade), msgspec.json.Decoder(_Wrapped[_Trade])
_aggregate = msgspec.json.Decoder(_Aggregate), msgspec.json.Decoder(_Wrapped[_Aggregate])
_rest_trades = msgspec.json.Decoder(list[_RestTrade])
_rest_aggregates = msgspec.json.Decoder(list[_RestAggregate])
# Open time, open, high, low, close, volume, close time, notional, trades, and what takers bought of it.
_klines = msgspec.json.Decoder(list[tuple[int, str, str, str, str, str, int, str, int, str, str, str]])


class Binance(Feed):
    name = "binance"
    also: ClassVar[tuple[str, ...]] = ("binance_spot",)
    can = Can(trades=True, live=True, history=("trades", "bars"), keyless=True, counted_ids=True)
    socket_url = "wss://stream.binance.com:9443/stream"
    rest_url = "https://api.binance.com"
    # 6,000 weights a minute, and the dearest request here weighs 25.
    quota = Quota(20, 6.0)
    api: ClassVar[str] = "/api/v3"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._asked: dict[str, str] = {}

    # Wire format

    def parse(self, message: bytes, received_us: int) -> Parsed:
        kind = peek(_kind, message, self.name) or _Kind()
        inner = kind.data.e if kind.data else kind.e
        named = inner or kind.stream.partition("@")[2].partition("@")[0]
        if named == "trade":
            return self._traded(self._body(_trade, message, kind, named), received_us)
        if named == "aggTrade":
            trade = self._body(_aggregate, message, kind, named)
            return Parsed([self._tick(trade.symbol, trade, received_us)])
        return _other(kind, named)

    def _body(
        self,
        decoders: "tuple[msgspec.json.Decoder[T], msgspec.json.Decoder[_Wrapped[T]]]",
        message: bytes,
        kind: _Kind,
        named: str,
    ) -> T:
        bare, wrapped = decoders
        if kind.data is None:
            return decode(bare, message, self.name, named)
        return decode(wrapped, message, self.name, named).data

    def _traded(self, trade: _Trade, received_us: int) -> Parsed:
        # Futures tell of positions that changed without a market as trades too, some of them without a price.
        if trade.kind == "NA" or plain(trade.price) == "0" or plain(trade.size) == "0":
            return Parsed().ignore(f"trade {trade.kind or 'of nothing'}")
        return Parsed([self._tick(trade.symbol, trade, received_us)])

    def _tick(self, native: str, trade: _Trade | _RestTrade | _RestAggregate, received_us: int) -> Tick:
        return Tick(
            symbol=self.symbol(native),
            event_us=_us(trade.time),
            price=plain(trade.price),
            size=plain(trade.size),
            trade_id=str(trade.id),
            seq=order_of(trade.id),
            source=self.name,
            venue=f"{self.name}.agg" if isinstance(trade, _RestAggregate) else self.name,
            conditions=trade.kind if isinstance(trade, _Trade) and trade.kind not in ("", "MARKET") else None,
            received_us=received_us,
        )

    def symbol_by_rule(self, native: str) -> str:
        return self._asked.get(native) or self.canonical(native)

    def native_by_rule(self, symbol: str) -> str:
        native = self.joined(symbol)
        self._asked[native] = symbol  # what was asked for keeps its name, even where a guess would split it elsewhere
        return native

    def canonical(self, native: str) -> str:
        return from_joined(native)

    def joined(self, symbol: str) -> str:
        return joined(symbol).upper()

    # Live

    def hello(self, symbols: Sequence[str]) -> list[str]:
        stream = "aggTrade" if self.can.aggregated else "trade"
        names = [f"{self.native(symbol).lower()}@{stream}" for symbol in symbols]
        if len(names) > _STREAMS:
            raise InputError(f"{self.name}: a connection takes {_STREAMS} symbols, not {len(names)}")
        parts = [names[at : at + _ASKED_AT_ONCE] for at in range(0, len(names), _ASKED_AT_ONCE)]
        return [json.dumps({"method": "SUBSCRIBE", "params": part, "id": 1 + at}) for at, part in enumerate(parts)]

    def keep_alive(self) -> str:
        # Its answer tells an idle market from a dead socket.
        return json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 0})

    # History

    async def trades(self, http: "Http", symbol: str, start_us: int, end_us: int) -> AsyncIterator[list[Tick]]:
        end_us = min(end_us, http.now_us())
        first = await self._first_id(http, symbol, start_us, end_us)
        if first is None:
            return
        async for ticks in within(self.trades_by_id(http, symbol, first, _NO_END), start_us, end_us):
            yield ticks

    async def trades_by_id(self, http: "Http", symbol: str, first: int, last: int) -> AsyncIterator[list[Tick]]:
        while first <= last:
            page = await self._page(http, symbol, first, min(_PAGE, last - first + 1))
            if ticks := [tick for tick in page if first <= int(tick.trade_id or 0) <= last]:
                yield ticks
            if not page:
                return
            first = int(page[-1].trade_id or 0) + 1

    async def _first_id(self, http: "Http", symbol: str, start_us: int, end_us: int) -> int | None:
        """The id of the first trade from `start_us` on, None if there is none before `end_us`."""
        if start_us >= end_us:
            return None
        until = min(start_us + _SPAN_US, end_us)
        times = {"startTime": str(start_us // 1000), "endTime": str((until - 1) // 1000)}
        asked = {"symbol": self.native(symbol), **times, "limit": "1"}
        found = decode(_rest_aggregates, await http.get(f"{self.api}/aggTrades", asked), self.name, "aggTrades")
        if found:
            return found[0].id if self.can.aggregated else found[0].first
        newest = await self._page(http, symbol, None, 1) if until < end_us else []
        if not newest:
            return None

        async def later(number: int) -> bool:
            page = await self._page(http, symbol, number, 1)
            return bool(page) and page[0].event_us >= until  # no answer: too old to be kept

        return await first_where(0, int(newest[0].trade_id or 0) + 1, later)

    async def _page(self, http: "Http", symbol: str, first: int | None, limit: int) -> list[Tick]:
        """Trades from an id on, oldest first; without an id the newest."""
        native = self.native(symbol)
        asked = {"symbol": native, "limit": str(limit)} | ({} if first is None else {"fromId": str(first)})
        what = "aggTrades" if self.can.aggregated else "trades" if first is None else "historicalTrades"
        body = await http.get(f"{self.api}/{what}", asked)
        if self.can.aggregated:
            wholes = decode(_rest_aggregates, body, self.name, what)
            return [self._tick(native, whole, http.now_us()) for whole in wholes]
        trades = decode(_rest_trades, body, self.name, what)
        return [self._tick(native, trade, http.now_us()) for trade in trades]

    async def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        length_us = LENGTHS[interval]
        end_us = min(end_us, http.now_us() - length_us + 1)  # the bar that is forming is left out
        for at, until in windows(start_us, end_us, _PAGE * length_us):
            asked = {"symbol": self.native(symbol), "interval": interval, "limit": str(_PAGE)}
            times = {"startTime": str(-(-at // 1000)), "endTime": str((until - 1) // 1000)}
            rows = decode(_klines, await http.get(f"{self.api}/klines", asked | times), self.name, "klines")
            bars = [
                history_bar(
                    self.name,
                    symbol,
                    interval,
                    _us(opened),
                    (open_, high, low, close, volume),
                    mean_price(notional, volume),
                    trades,
                )
                for opened, open_, high, low, close, volume, _, notional, trades, *_ in rows
                if at <= _us(opened) < until and trades
            ]
            if bars:
                yield bars

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        return [tick for symbol in symbols for tick in (await self._page(http, symbol, None, 1))[-1:]]


def mean_price(notional: str, volume: str) -> str | None:
    """The volume-weighted price, rounded half up at the eighth decimal; None without volume."""
    amount = Decimal(volume)
    return plain((Decimal(notional) / amount).quantize(_EIGHTH, ROUND_HALF_UP)) if amount else None


def _us(time: int) -> int:
    """Milliseconds, or microseconds for those who asked for them, as microseconds."""
    return time if time >= _MICROSECONDS_FROM else time * 1000


def _other(kind: _Kind, named: str) -> Parsed:
    """What is no trade, and the refusal of a request."""
    if words := kind.error.msg if kind.error else kind.msg:
        return Parsed().refused("error", words)
    return Parsed().ignore(named or ("result" if kind.id is not None else "unnamed"))
