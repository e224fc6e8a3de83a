"""Polygon, now Massive: trades of US stocks, options and crypto; history of trades and bars over REST.

    [{"ev":"T","sym":"MSFT","x":4,"i":"12345","z":3,"p":114.125,"s":100,"c":[0,12],"t":1536036818784,"q":3681328}]
    [{"ev":"XT","pair":"BTC-USD","p":33021.9,"t":1610462007425,"s":0.01616617,"c":[2],"i":14272084,"x":3}]
    [{"ev":"status","status":"auth_success","message":"authenticated"}]

A trade is one of its ticker, day, exchange, reporting facility (TRF) and id: `venue` is the exchange's number, `4:202`
where a TRF is named, and the day stands before the id (`tape.daily_id`). An option's trade has no id: live it is known
by its sequence number, in history, which lacks that at times, by its place at its time.
Times are the SIP's, milliseconds on the socket and nanoseconds over REST, cut to microseconds. `ds`, where given, is
the size with its fraction of a share. Conditions are kept as `c:12,37`.
`correction` (`e`) is the tape's indicator, known in history alone: 1 is a trade with its corrected numbers, given as
the trade and as a `correct` of it, since the trade may have come live, as it was before; 7, 8, 10 and 11 an erroneous
or cancelled one, a `cancel`; 12 repeats what a correction replaced, and is ignored.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from conf.settings import Settings
from core.errors import InputError
from core.records import Kind, Tick
from producers.feeds.base import Can, Feed, HistoryBar, Parsed, Problem, Quota, SchemaChanged
from producers.feeds.decoding import Ordinals, decode, order_of, peek, plain, take_each
from producers.feeds.pairs import from_joined
from producers.feeds.tape import CALENDAR, CONSOLIDATED, Aggregate, aggregate_bar, conditions, daily_id, is_pair

if TYPE_CHECKING:
    from producers.http import Http

_PAGE = "50000"
_SPANS = {"1m": "1/minute", "5m": "5/minute", "15m": "15/minute", "1h": "1/hour", "1d": "1/day"}
_CRYPTO = "X:"  # before a pair over REST, not on the socket: X:BTC-USD for its trades, X:BTCUSD for its bars
_GOOD = ("connected", "auth_success", "success")
_CORRECTED = 1
_KINDS: dict[int, Kind] = {0: "trade", 1: "trade", 7: "cancel", 8: "cancel", 10: "cancel", 11: "cancel"}
_SHORT = {
    **{"price": "p", "size": "s", "time": "t", "exchange": "x", "id": "i", "conditions": "c", "sequence": "q"},
    **{"correction": "e", "exact_size": "ds", "trf": "trfi"},
}


class _Event(msgspec.Struct):
    ev: str = ""
    sym: str = ""
    pair: str = ""
    status: str = ""
    message: str = ""


class _Trade(msgspec.Struct, rename=_SHORT):
    price: Decimal
    size: Decimal
    time: int
    exchange: int
    id: str | int | None = None
    conditions: list[int] | None = None
    sequence: int = 0
    correction: int = 0
    exact_size: Decimal | None = None
    trf: int = 0

    @property
    def amount(self) -> Decimal:
        return self.exact_size or self.size

    @property
    def event_us(self) -> int:
        return self.time * 1000


class _Last(_Trade, rename={"trf": "r", "symbol": "T"}):
    trf: int = 0
    symbol: str = ""

    @property
    def event_us(self) -> int:
        return self.time // 1000


class _Past(msgspec.Struct, rename={"amount": "size", "sequence": "sequence_number", "trf": "trf_id"}):
    price: Decimal
    amount: Decimal
    exchange: int
    sip_timestamp: int = 0
    participant_timestamp: int = 0
    id: str | int | None = None
    conditions: list[int] | None = None
    sequence: int = 0
    correction: int = 0
    trf: int = 0

    @property
    def event_us(self) -> int:
        # Whole milliseconds, as the socket has them: a trade asked for again is the same one at the same time.
        return (self.sip_timestamp or self.participant_timestamp) // 1_000_000 * 1000  # crypto has no SIP


class _Status(msgspec.Struct):
    status: str = ""
    error: str = ""
    message: str = ""


class _Bar(Aggregate, kw_only=True, rename={"start": "t"}):
    start: int


class _Trades(msgspec.Struct):
    results: list[_Past] = []
    next_url: str = ""


class _Bars(msgspec.Struct):
    results: list[_Bar] = []
    next_url: str = ""


P = TypeVar("P", _Trades, _Bars)


class _LastAnswer(msgspec.Struct):
    results: _Last


class _Ticker(msgspec.Struct):
    ticker: str
    lastTrade: _Last | None = None


class _Snapshot(msgspec.Struct):
    ticker: _Ticker


_events = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(_Event)
_status = msgspec.json.Decoder(_Status)
_trade = msgspec.json.Decoder(_Trade)
_trades = msgspec.json.Decoder(_Trades)
_bars = msgspec.json.Decoder(_Bars)
_last = msgspec.json.Decoder(_LastAnswer)
_snapshot = msgspec.json.Decoder(_Snapshot)


class Polygon(Feed):
    name = "polygon"
    also = ("massive",)
    can = Can(trades=True, live=True, history=("trades", "bars"), conditions=True, corrections=True)
    keys = ("polygon_api_key",)
    socket_url = "wss://socket.polygon.io"
    rest_url = "https://api.polygon.io"
    quota = Quota(5, 60.0)  # of the plan that costs nothing
    calendar = CALENDAR
    tape = CONSOLIDATED
    silence_seconds = 60.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._ordinals = Ordinals()
        self._subscription: list[str] = []

    def parse(self, message: bytes, received_us: int) -> Parsed:
        events = peek(_events, message, self.name)
        parts = [message] if events is None else [bytes(event) for event in events]
        return take_each(parts, lambda part, parsed: self._take(part, received_us, parsed))

    def _take(self, message: bytes, received_us: int, parsed: Parsed) -> None:
        event = peek(_event, message, self.name) or _Event()
        if event.ev not in ("T", "XT"):
            self._note(event, parsed)
            return
        written = event.sym if event.ev == "T" else event.pair
        if not written:
            raise SchemaChanged(self.name, event.ev, f"no {'`sym`' if event.ev == 'T' else '`pair`'}")
        native = written if event.ev == "T" else f"{_CRYPTO}{written.removeprefix(_CRYPTO)}"
        trade = decode(_trade, message, self.name, event.ev)
        self._add(parsed, native, trade, self._ordinals, received_us)

    def _note(self, event: _Event, parsed: Parsed) -> None:
        """What is no trade; the login's success is answered with the subscription, once."""
        bad = event.ev == "status" and event.status not in _GOOD
        parsed.refused(event.ev or "unnamed", self.masked(f"{event.status}: {event.message}") if bad else "")
        if event.ev == "status" and event.status == "auth_success":
            parsed.replies, self._subscription = self._subscription, []

    def parse_rest(self, channel: str, message: bytes, received_us: int) -> Parsed:
        """The last trade of v2_last and v2_snapshot. An answer of v3_trades does not name its ticker: ignored."""
        parsed = Parsed()
        if channel == "v2_last":
            last = decode(_last, message, self.name, channel).results
            if last.id is not None:  # a quote has the same fields, and no id
                self._add(parsed, last.symbol, last, Ordinals(), received_us)
        elif channel == "v2_snapshot":
            ticker = decode(_snapshot, message, self.name, channel).ticker
            if ticker.lastTrade is not None:
                self._add(parsed, ticker.ticker, ticker.lastTrade, Ordinals(), received_us)
        return parsed if parsed.ticks else parsed.ignore(channel)

    def _add(self, parsed: Parsed, native: str, trade: _Trade | _Past, ordinals: Ordinals, received_us: int) -> None:
        kind = _KINDS.get(trade.correction)
        if kind is None:
            parsed.ignore(f"correction {trade.correction}")
            return
        symbol = self.symbol(native)
        tick = Tick(
            symbol=symbol,
            event_us=trade.event_us,
            price=None if kind == "cancel" else plain(trade.price),
            size=None if kind == "cancel" else plain(trade.amount),
            trade_id=_trade_id(symbol, trade),
            seq=_number(trade) or ordinals.next(symbol, trade.event_us),
            source=self.name,
            venue=f"{trade.exchange}:{trade.trf}" if trade.trf else str(trade.exchange),
            conditions=conditions(trade.conditions),
            kind=kind,
            received_us=received_us,
        )
        parsed.ticks.append(tick)
        if trade.correction == _CORRECTED:
            parsed.ticks.append(msgspec.structs.replace(tick, kind="correct"))

    def symbol_by_rule(self, native: str) -> str:
        pair = native.removeprefix(_CRYPTO)
        return from_joined(pair) if pair != native and "-" not in pair else pair

    def native_by_rule(self, symbol: str) -> str:
        return f"{_CRYPTO}{symbol}" if is_pair(symbol) else symbol

    def tape_of(self, symbol: str) -> str:
        return self.tape if _market(symbol) == "stocks" else ""

    def socket(self, symbols: Sequence[str]) -> str:
        """Raises InputError for symbols of several markets: each has a socket of its own."""
        markets = {_market(symbol) for symbol in symbols} or {"stocks"}
        if len(markets) > 1:
            raise InputError(f"{self.name} has one socket a market: subscribe to {', '.join(sorted(markets))} apart")
        return f"{self.socket_url}/{markets.pop()}"

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.key()}"}

    def hello(self, symbols: Sequence[str]) -> list[str]:
        channels = ",".join(self._channel(symbol) for symbol in symbols)
        self._subscription = [json.dumps({"action": "subscribe", "params": channels})]
        return [json.dumps({"action": "auth", "params": self.key()})]

    def _channel(self, symbol: str) -> str:
        native = self.native(symbol)
        return f"XT.{native.removeprefix(_CRYPTO)}" if is_pair(symbol) else f"T.{native}"

    def problem(self, body: bytes) -> Problem | None:
        found = peek(_status, body, self.name) or _Status()
        if found.status not in ("ERROR", "NOT_AUTHORIZED"):
            return None
        return Problem(found.error or found.message or found.status, again=False)

    async def trades(self, http: "Http", symbol: str, start_us: int, end_us: int) -> AsyncIterator[list[Tick]]:
        asked = {
            **{"timestamp.gte": str(start_us * 1000), "timestamp.lt": str(end_us * 1000)},
            **{"limit": _PAGE, "order": "asc", "sort": "timestamp"},
        }
        ordinals = Ordinals()  # of this question alone, so that asking again gives the same
        async for page in self._pages(http, self._path("v3/trades", symbol), asked, _trades):
            ticks = self._past(symbol, page.results, http.now_us(), ordinals)
            if ticks:
                yield ticks

    def _past(self, symbol: str, trades: Sequence[_Past], received_us: int, ordinals: Ordinals) -> list[Tick]:
        parsed, native = Parsed(), self.native(symbol)
        for trade in trades:
            if not trade.event_us:
                raise SchemaChanged(self.name, "trades", "no `sip_timestamp`, and no `participant_timestamp`")
            self._add(parsed, native, trade, ordinals, received_us)
        return parsed.ticks

    async def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        # Both ends of the provider's range are inclusive.
        span = f"range/{_SPANS[interval]}/{-(-start_us // 1000)}/{(end_us - 1) // 1000}"
        path = self._path("v2/aggs/ticker", symbol)
        path = path.replace("-", "") if is_pair(symbol) else path
        asked = {"adjusted": "false", "sort": "asc", "limit": _PAGE}
        async for page in self._pages(http, f"{path}/{span}", asked, _bars):
            bars = [aggregate_bar(self.name, symbol, interval, bar.start * 1000, bar) for bar in page.results]
            # The provider widens a range to whole bars.
            within = [bar for bar in bars if start_us <= bar.start < end_us]
            if within:
                yield within

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        parsed = Parsed()
        for symbol in symbols:
            if is_pair(symbol):
                path, asked = self._path("v3/trades", symbol), {"limit": "1", "order": "desc", "sort": "timestamp"}
                page = decode(_trades, await http.get(path, asked), self.name, path)
                parsed.ticks += self._past(symbol, page.results[:1], http.now_us(), Ordinals())
            else:
                path = self._path("v2/last/trade", symbol)
                answer = decode(_last, await http.get(path), self.name, path)
                self._add(parsed, self.native(symbol), answer.results, Ordinals(), http.now_us())
        return parsed.ticks

    def _path(self, endpoint: str, symbol: str) -> str:
        return f"/{endpoint}/{quote(self.native(symbol), safe=':')}"

    async def _pages(
        self, http: "Http", path: str, asked: Mapping[str, str], decoder: "msgspec.json.Decoder[P]"
    ) -> AsyncIterator[P]:
        """The pages of an answer, each of which names the next by an absolute address: all but its host and key counts.

        Raises SchemaChanged where pages go in a circle.
        """
        seen: set[str] = set()
        while True:
            page = decode(decoder, await http.get(path, asked), self.name, path)
            yield page
            if not page.next_url:
                return
            if page.next_url in seen:
                raise SchemaChanged(self.name, path, "`next_url` leads to a page that was read already")
            seen.add(page.next_url)
            parts = urlsplit(page.next_url)
            path, asked = parts.path, {name: value for name, value in parse_qsl(parts.query) if name != "apiKey"}


def _trade_id(symbol: str, trade: _Trade | _Past) -> str | None:
    if trade.id not in (None, ""):
        # Crypto exchanges number on; the tape starts again each day.
        return str(trade.id) if is_pair(symbol) else daily_id(str(trade.id), trade.event_us)
    return daily_id(f"q{trade.sequence}", trade.event_us) if trade.sequence else None


def _number(trade: _Trade | _Past) -> int:
    """What orders the trades of one time: the sequence number, or the id where it is one; 0 for neither."""
    text = str(trade.id or "")
    return order_of(trade.sequence or (int(text) if text.isdecimal() else 0))


def _market(symbol: str) -> str:
    if is_pair(symbol):
        return "crypto"
    return "options" if symbol.startswith("O:") else "stocks"
