"""Alpaca: trades of US stocks with their corrections and cancels, and of crypto; history of trades and bars over REST.

    [{"T":"t","S":"AAPL","i":6142,"x":"V","p":177.79,"s":90,"c":["@","I"],"z":"C","t":"2021-02-22T15:51:44.208123456Z"}]
    [{"T":"c","S":"DIA","x":"D","oi":79372157998682,"op":349.15,"os":25000,"oc":[" ","7"],"ci":79372444317008,
      "cp":349.1,"cs":25000,"cc":[" ","7","Z"],"z":"B","t":"2021-12-01T19:42:46.000854652Z"}]
    [{"T":"x","S":"DJT","i":4868,"x":"D","p":36.18,"s":31800,"a":"C","z":"C","t":"2024-06-27T15:51:44.208Z"}]

A stock's trade ids start again each day on each exchange: the day stands before the id (`tape.daily_id`), and `venue`
is the exchange's letter. A correction becomes a `correct` of the original id (`oi`) with the corrected price, size and
conditions; the id of the corrected trade (`ci`) is not kept. A cancel becomes a `cancel` of its id, without price and
size. Both bear the time of their own message, not the trade's. History marks trades instead: `u` is `canceled` or
`incorrect` for one that counts no more, a `cancel`, and `corrected` for the one in its place, a trade with an id of its
own. Nanoseconds are cut to microseconds. Conditions are kept as `c:@,I`.

Corrections and cancels come with the trades of a symbol without being asked for. Stocks' trades are those of IEX alone
unless TICKSTREAM_ALPACA_FEED says `sip`: the consolidated tape's socket needs a plan, as do the last 15 minutes of its
history.

The login is a message. With the keys in the headers of the handshake as well it would be a second one, which the
provider answers with an error; it takes the subscription once it has accepted the login.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import structs

from conf.settings import Settings
from core.errors import InputError
from core.intervals import SECOND_US
from core.records import Kind, Tick
from producers.feeds.base import Can, Feed, HistoryBar, Parsed, Quota, SchemaChanged
from producers.feeds.decoding import decode, order_of, peek, plain, take_each, time_us
from producers.feeds.tape import CALENDAR, Aggregate, aggregate_bar, conditions, daily_id, is_pair

if TYPE_CHECKING:
    from producers.http import Http

_PAGE = "10000"
_SPANS = {"1m": "1Min", "5m": "5Min", "15m": "15Min", "1h": "1Hour", "1d": "1Day"}
_UPDATES: dict[str, Kind] = {"": "trade", "corrected": "trade", "canceled": "cancel", "incorrect": "cancel"}


class _Event(msgspec.Struct):
    T: str = ""
    msg: str = ""
    code: int = 0


class _Stamp(msgspec.Struct):
    """A MessagePack time, as some recordings of the socket have it."""

    seconds: int
    nanoseconds: int


class _Trade(
    msgspec.Struct, rename={"id": "i", "price": "p", "size": "s", "time": "t", "exchange": "x", "update": "u"}
):
    id: int
    price: Decimal
    size: Decimal
    time: str | _Stamp
    exchange: str = ""
    c: list[str] | None = None
    update: str | None = None


class _Live(_Trade, rename={"symbol": "S"}, kw_only=True):
    symbol: str


class _Cancel(msgspec.Struct, rename={"symbol": "S", "id": "i", "exchange": "x", "time": "t"}):
    symbol: str
    id: int
    exchange: str
    time: str | _Stamp


class _Correction(msgspec.Struct, rename={"symbol": "S", "id": "oi", "exchange": "x", "time": "t"}):
    symbol: str
    id: int
    exchange: str
    time: str | _Stamp
    cp: Decimal
    cs: Decimal
    cc: list[str] | None = None


class _Trades(msgspec.Struct):
    trades: dict[str, list[_Trade] | _Trade | None] | list[_Trade] | None
    symbol: str = ""
    next_page_token: str | None = None


class _Last(msgspec.Struct):
    latestTrade: _Trade | None = None


class _Snapshots(msgspec.Struct):
    snapshots: dict[str, _Last | None]


class _Bar(Aggregate, kw_only=True, rename={"time": "t"}):
    time: str


class _Bars(msgspec.Struct):
    bars: dict[str, list[_Bar] | _Bar | None] | list[_Bar] | None
    next_page_token: str | None = None


P = TypeVar("P", _Trades, _Bars)
R = TypeVar("R", _Trade, _Bar)


_events = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(_Event)
_live = msgspec.json.Decoder(_Live)
_cancel = msgspec.json.Decoder(_Cancel)
_correction = msgspec.json.Decoder(_Correction)
_trades = msgspec.json.Decoder(_Trades)
_snapshots = msgspec.json.Decoder(_Snapshots)
_snapshot = msgspec.json.Decoder(dict[str, _Last | None])
_bars = msgspec.json.Decoder(_Bars)


class Alpaca(Feed):
    name = "alpaca"
    can = Can(trades=True, live=True, history=("trades", "bars"), conditions=True, corrections=True)
    keys = ("alpaca_api_key", "alpaca_secret_key")
    socket_url = "wss://stream.data.alpaca.markets"
    rest_url = "https://data.alpaca.markets"
    quota = Quota(200, 60.0)
    calendar = CALENDAR
    silence_seconds = 60.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # Whose trades of stocks to ask for, live and in history alike, in the provider's own words, which stand in
        # its addresses; `sip` is also what `tape.CONSOLIDATED` is called.
        self._stocks = settings.alpaca_feed
        self._subscription: list[str] = []

    def parse(self, message: bytes, received_us: int) -> Parsed:
        events = peek(_events, message, self.name)
        parts = [message] if events is None else [bytes(event) for event in events]
        return take_each(parts, lambda part, parsed: self._take(part, received_us, parsed))

    def _take(self, message: bytes, received_us: int, parsed: Parsed) -> None:
        event = peek(_event, message, self.name) or _Event()
        if event.T == "t":
            trade = decode(_live, message, self.name, event.T)
            parsed.ticks.append(self._traded(trade.symbol, trade, received_us))
        elif event.T == "c":
            parsed.ticks.append(self._corrected(decode(_correction, message, self.name, event.T), received_us))
        elif event.T == "x":
            gone = decode(_cancel, message, self.name, event.T)
            parsed.ticks.append(self._tick(gone.symbol, gone.id, gone.exchange, gone.time, "cancel", received_us))
        else:
            words = self.masked(f"{event.code} {event.msg}") if event.T == "error" else ""
            parsed.refused(event.T or "unnamed", words)
            if event.T == "success" and event.msg == "authenticated":
                parsed.replies, self._subscription = self._subscription, []

    def parse_rest(self, channel: str, message: bytes, received_us: int) -> Parsed:
        """The trades of stock_trades and crypto_trades, and the latest ones of snapshots."""
        parsed = Parsed()
        if channel.endswith("_trades"):
            answer = decode(_trades, message, self.name, channel)
            parsed.ticks += self._answered(answer, answer.symbol, received_us)
        elif "_snapshot" in channel:
            wrapped = peek(_snapshots, message, self.name)
            latest = wrapped.snapshots if wrapped else decode(_snapshot, message, self.name, channel)
            trades = {native: one.latestTrade for native, one in latest.items() if one and one.latestTrade}
            parsed.ticks += [self._traded(native, trade, received_us) for native, trade in trades.items()]
        return parsed if parsed.ticks else parsed.ignore(channel)

    def _answered(self, answer: _Trades, native: str, received_us: int) -> list[Tick]:
        return [self._traded(name, trade, received_us) for name, trade in _named(answer.trades, native)]

    def _traded(self, native: str, trade: _Trade, received_us: int) -> Tick:
        kind = _UPDATES.get(trade.update or "")
        if kind is None:
            raise SchemaChanged(self.name, "trade", f"`u` is {trade.update!r}")
        tick = self._tick(native, trade.id, trade.exchange, trade.time, kind, received_us)
        return tick if kind == "cancel" else self._priced(tick, trade.price, trade.size, trade.c)

    def _corrected(self, correction: _Correction, received_us: int) -> Tick:
        original = self._tick(
            correction.symbol, correction.id, correction.exchange, correction.time, "correct", received_us
        )
        return self._priced(original, correction.cp, correction.cs, correction.cc)

    def _priced(self, tick: Tick, price: Decimal, size: Decimal, codes: list[str] | None) -> Tick:
        return structs.replace(tick, price=plain(price), size=plain(size), conditions=conditions(codes))

    def _tick(
        self, native: str, trade_id: int, exchange: str, time: str | _Stamp, kind: Kind, received_us: int
    ) -> Tick:
        symbol, event_us = self.symbol(native), self._us(time)
        return Tick(
            symbol=symbol,
            event_us=event_us,
            # Crypto ids go on from day to day.
            trade_id=str(trade_id) if is_pair(symbol) else daily_id(trade_id, event_us),
            seq=order_of(trade_id),
            source=self.name,
            venue=exchange or self.name,
            kind=kind,
            received_us=received_us,
        )

    def _us(self, time: str | _Stamp) -> int:
        if isinstance(time, _Stamp):
            return time.seconds * SECOND_US + time.nanoseconds // 1000
        return time_us(time, self.name, "trade", "t")

    def symbol_by_rule(self, native: str) -> str:
        return native.replace("/", "-")

    def native_by_rule(self, symbol: str) -> str:
        return symbol.replace("-", "/") if is_pair(symbol) else symbol

    def tape_of(self, symbol: str) -> str:
        return "" if is_pair(symbol) else self._stocks

    def socket(self, symbols: Sequence[str]) -> str:
        """Raises InputError for stocks and crypto together: each has a socket of its own."""
        pairs = {is_pair(symbol) for symbol in symbols}
        if len(pairs) > 1:
            raise InputError(f"{self.name} has one socket for stocks and one for crypto: subscribe to them apart")
        return f"{self.socket_url}/{'v1beta3/crypto/us' if pairs == {True} else f'v2/{self._stocks}'}"

    def headers(self) -> Mapping[str, str]:
        return {"APCA-API-KEY-ID": self.key(0), "APCA-API-SECRET-KEY": self.key(1)}

    def hello(self, symbols: Sequence[str]) -> list[str]:
        names = [self.native(symbol) for symbol in symbols]
        self._subscription = [json.dumps({"action": "subscribe", "trades": names})]
        return [json.dumps({"action": "auth", "key": self.key(0), "secret": self.key(1)})]

    async def trades(self, http: "Http", symbol: str, start_us: int, end_us: int) -> AsyncIterator[list[Tick]]:
        path, asked = self._endpoint(symbol, "trades")
        async for page in self._pages(http, path, asked | _between(start_us, end_us), _trades):
            ticks = self._answered(page, self.native(symbol), http.now_us())
            if ticks:
                yield ticks

    async def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        path, asked = self._endpoint(symbol, "bars")
        asked |= {"timeframe": _SPANS[interval], "adjustment": "raw"} | _between(start_us, end_us)
        async for page in self._pages(http, path, asked, _bars):
            named = _named(page.bars, symbol)
            bars = [aggregate_bar(self.name, symbol, interval, self._us(bar.time), bar) for _, bar in named]
            within = [bar for bar in bars if start_us <= bar.start < end_us]
            if within:
                yield within

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        found: list[Tick] = []
        for path, pairs in (("/v2/stocks/trades/latest", False), ("/v1beta3/crypto/us/latest/trades", True)):
            natives = [self.native(symbol) for symbol in symbols if is_pair(symbol) == pairs]
            if natives:
                asked = {"symbols": ",".join(natives)} | ({} if pairs else {"feed": self._stocks})
                answer = decode(_trades, await http.get(path, asked), self.name, path)
                found += self._answered(answer, "", http.now_us())
        return found

    def _endpoint(self, symbol: str, what: str) -> tuple[str, dict[str, str]]:
        """Path and parameters of a symbol's history, oldest first."""
        asked, native = {"limit": _PAGE, "sort": "asc"}, self.native(symbol)
        if is_pair(symbol):
            return f"/v1beta3/crypto/us/{what}", asked | {"symbols": native}
        return f"/v2/stocks/{quote(native, safe='')}/{what}", asked | {"feed": self._stocks}

    async def _pages(
        self, http: "Http", path: str, asked: dict[str, str], decoder: "msgspec.json.Decoder[P]"
    ) -> AsyncIterator[P]:
        """Raises SchemaChanged where pages go in a circle."""
        seen: set[str] = set()
        while True:
            page = decode(decoder, await http.get(path, asked), self.name, path)
            yield page
            token = page.next_page_token
            if not token:
                return
            if token in seen:
                raise SchemaChanged(self.name, path, "`next_page_token` leads to a page that was read already")
            seen.add(token)
            asked = asked | {"page_token": token}


def _named(answer: dict[str, list[R] | R | None] | list[R] | None, native: str) -> Iterator[tuple[str, R]]:
    """Each record with its symbol: answers list one symbol's records, or map symbols to a list of them or to one."""
    by_symbol = answer if isinstance(answer, dict) else {native: answer}
    for name, records in by_symbol.items():
        for record in records if isinstance(records, list) else [records]:
            if record is not None:
                yield name, record


def _between(start_us: int, end_us: int) -> dict[str, str]:
    """The provider's range includes its end: the last nanosecond before ours."""
    return {"start": _rfc3339(start_us * 1000), "end": _rfc3339(end_us * 1000 - 1)}


def _rfc3339(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
