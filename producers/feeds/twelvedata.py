"""Twelve Data: prices over a socket, bars and quotes over REST.

    {"event":"price","symbol":"EUR/USD","currency":"USD","exchange":"FOREX","type":"Currency","timestamp":1643972766,
     "price":1.1245,"bid":1.1244,"ask":1.1246,"currency_base":"EUR","currency_quote":"USD"}
    {"event":"subscribe-status","status":"error","fails":[{"symbol":"INVALID","message":"Symbol not found"}]}

A `price` is an observation, not a trade: it has no size, so its tick has size 0 and adds no volume. Times are whole
seconds. The key is part of the socket's address, the provider's only way. Daily bars start at midnight UTC of their
date. REST errors come in the body: {"code":429,"message":"…","status":"error"}.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from conf.settings import Settings
from core.intervals import SECOND_US
from core.records import Tick
from producers.feeds.base import LENGTHS, Can, Feed, HistoryBar, Parsed, Problem, Quota
from producers.feeds.decoding import Ordinals, decode, peek, plain
from producers.feeds.rows import bars_of, text_in
from producers.feeds.tape import CALENDAR, is_pair

if TYPE_CHECKING:
    from producers.http import Http

_PAGE = 5000
_MINUTE, _HOUR = 60.0, 3600.0
_INTERVALS = {"1m": "1min", "5m": "5min", "15m": "15min", "1h": "1h", "1d": "1day"}
_NO_DATA = "no data is available"


class _Fail(msgspec.Struct):
    symbol: str = ""
    message: str = ""


class _Kind(msgspec.Struct):
    event: str = ""
    status: str = ""
    message: str = ""
    messages: list[str] | None = None
    fails: list[_Fail] | None = None


class _Price(msgspec.Struct):
    symbol: str
    price: Decimal
    timestamp: int
    exchange: str | None = None


class _Answer(msgspec.Struct):
    """Any REST answer, as far as it says whether it is one."""

    code: int = 0
    status: str = ""
    message: str = ""


class _Quote(msgspec.Struct):
    symbol: str
    close: Decimal
    exchange: str | None = None
    timestamp: int | None = None
    last_quote_at: int | None = None


class _Bar(msgspec.Struct):
    datetime: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = Decimal(0)  # currencies have none


class _Series(msgspec.Struct):
    values: list[_Bar]


_kind = msgspec.json.Decoder(_Kind)
_price = msgspec.json.Decoder(_Price)
_answer = msgspec.json.Decoder(_Answer)
_quote = msgspec.json.Decoder(_Quote)
_series = msgspec.json.Decoder(_Series)


class TwelveData(Feed):
    name = "twelvedata"
    also = ("twelve_data",)
    can = Can(live=True, history=("bars",))
    keys = ("twelvedata_api_key",)
    socket_url = "wss://ws.twelvedata.com/v1/quotes/price"
    rest_url = "https://api.twelvedata.com"
    quota = Quota(8, _MINUTE, 800)
    calendar = CALENDAR
    silence_seconds = 20.0  # half of it is the heartbeat that the provider asks for

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._ordinals = Ordinals()

    def parse(self, message: bytes, received_us: int) -> Parsed:
        kind = peek(_kind, message, self.name) or _Kind()
        if kind.event == "price":
            price = decode(_price, message, self.name, "price")
            return Parsed([self._tick(price.symbol, price.exchange, price.price, price.timestamp, received_us)])
        return Parsed().refused(kind.event or "unnamed", _complaint(kind))

    def _tick(self, symbol: str, exchange: str | None, price: Decimal, seconds: int, received_us: int) -> Tick:
        name, event_us = self.symbol(symbol), seconds * SECOND_US
        return Tick(
            symbol=name,
            event_us=event_us,
            price=plain(price),
            size="0",
            seq=self._ordinals.next(name, event_us),
            source=self.name,
            venue=exchange,
            received_us=received_us,
        )

    def parse_rest(self, channel: str, message: bytes, received_us: int) -> Parsed:
        if problem := self.problem(message):
            return Parsed().refused("error", problem.text)
        if channel in ("price_or_quote", "quote"):
            quote = peek(_quote, message, self.name)
            if quote is not None and (seconds := quote.last_quote_at or quote.timestamp):
                return Parsed([self._tick(quote.symbol, quote.exchange, quote.close, seconds, received_us)])
        return Parsed().ignore(channel)

    def symbol_by_rule(self, native: str) -> str:
        return native.replace("/", "-")

    def native_by_rule(self, symbol: str) -> str:
        return symbol.replace("-", "/")

    def socket(self, symbols: Sequence[str]) -> str:
        return f"{self.socket_url}?{urlencode({'apikey': self.key()})}"

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"apikey {self.key()}"}

    def hello(self, symbols: Sequence[str]) -> list[str]:
        names = ",".join(self.native(symbol) for symbol in symbols)
        return [json.dumps({"action": "subscribe", "params": {"symbols": names}})]

    def keep_alive(self) -> str | None:
        return json.dumps({"action": "heartbeat"})

    def problem(self, body: bytes) -> Problem | None:
        answer = peek(_answer, body, self.name)
        if answer is None or answer.status != "error" or _NO_DATA in answer.message.lower():
            return None
        wait = _HOUR if "for the day" in answer.message else _MINUTE
        return Problem(answer.message, again=answer.code == 429 or answer.code >= 500, wait=wait)

    async def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        # A page holds less than a request may span, so that a full one shows that something was cut off. A stock
        # trades for a part of the day only: ask for more, and for less again where that was too much.
        at, least_us = start_us, LENGTHS[interval]
        step_us = (_PAGE - 1) * least_us * (1 if is_pair(symbol) else 4)
        while at < end_us:
            until = min(at + step_us, end_us)
            rows = await self._rows(http, symbol, interval, at, until)
            if len(rows) >= _PAGE and until - at > least_us:
                step_us = (until - at) // 2
                continue
            named = [(row.datetime, row) for row in rows]
            if bars := bars_of(self.name, symbol, interval, "UTC", named, range(at, until).__contains__):
                yield bars
            at = until

    async def _rows(self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int) -> list[_Bar]:
        asked = {
            "symbol": self.native(symbol),
            "interval": _INTERVALS[interval],
            "start_date": text_in(start_us, "UTC"),
            "end_date": text_in(end_us - 1, "UTC"),
            "timezone": "UTC",
            "order": "ASC",
            "outputsize": str(_PAGE),
        }
        body = await http.get("/time_series", asked)
        if (answer := peek(_answer, body, self.name)) and answer.status == "error":
            return []  # no data in these days: any other error was raised
        return decode(_series, body, self.name, "time_series").values

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        found: list[Tick] = []
        for symbol in symbols:
            body = await http.get("/quote", {"symbol": self.native(symbol)})
            decode(_quote, body, self.name, "quote")
            found += self.parse_rest("quote", body, http.now_us()).ticks
        return found


def _complaint(kind: _Kind) -> str:
    if kind.event != "error" and kind.status != "error" and not kind.fails:
        return ""
    refused = [f"{fail.symbol}: {fail.message or 'refused'}" for fail in kind.fails or []]
    return "; ".join([text for text in (kind.message, *(kind.messages or [])) if text] + refused) or kind.event
