"""Alpha Vantage: bars of stocks and the rate of a pair, over REST only.

    {"Meta Data":{"2. Symbol":"MSFT","6. Time Zone":"US/Eastern",…},"Time Series (1min)":{"2017-12-18 14:56:00":
     {"1. open":"86.4900","2. high":"86.5000","3. low":"86.4750","4. close":"86.5000","5. volume":"10494"},…}}
    {"Realtime Currency Exchange Rate":{"1. From_Currency Code":"BTC","3. To_Currency Code":"CNY",
     "5. Exchange Rate":"109631.43060700","6. Last Refreshed":"2017-12-20 19:23:21","7. Time Zone":"UTC",…}}

Limits and refusals come as {"Note":…}, {"Information":…} or {"Error Message":…} with a good HTTP status, the key
repeated in some. Bars are asked for unadjusted, extended hours included, and their labels taken as their starts, which
is what the provider does today; the captures of 2017 label otherwise. A `Global Quote` has a day and no time: it is no
observation. The key is part of the address, the provider's only way.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from core.intervals import MINUTE_US
from core.records import Tick
from producers.feeds.base import Can, HistoryBar, Parsed, Problem, Quota, SchemaChanged
from producers.feeds.decoding import decode, peek, plain
from producers.feeds.rows import EASTERN, RestFeed, bars_of, date_in, local_us
from producers.feeds.tape import CALENDAR, is_pair

if TYPE_CHECKING:
    from producers.http import Http

_HOUR = 3600.0
_INTERVALS = {"1m": "1min", "5m": "5min", "15m": "15min", "1h": "60min"}


class _Row(msgspec.Struct):
    open: Decimal = msgspec.field(name="1. open")
    high: Decimal = msgspec.field(name="2. high")
    low: Decimal = msgspec.field(name="3. low")
    close: Decimal = msgspec.field(name="4. close")
    volume: Decimal = msgspec.field(name="5. volume")


class _Notes(msgspec.Struct):
    note: str = msgspec.field(name="Note", default="")
    information: str = msgspec.field(name="Information", default="")
    error: str = msgspec.field(name="Error Message", default="")


class _Rate(msgspec.Struct):
    base: str = msgspec.field(name="1. From_Currency Code")
    quote: str = msgspec.field(name="3. To_Currency Code")
    rate: Decimal = msgspec.field(name="5. Exchange Rate")
    refreshed: str = msgspec.field(name="6. Last Refreshed")
    zone: str = msgspec.field(name="7. Time Zone")


class _RateAnswer(msgspec.Struct):
    rate: _Rate = msgspec.field(name="Realtime Currency Exchange Rate")


_notes = msgspec.json.Decoder(_Notes)
_rate = msgspec.json.Decoder(_RateAnswer)
_parts = msgspec.json.Decoder(dict[str, msgspec.Raw])
_meta = msgspec.json.Decoder(dict[str, str])
_rows = msgspec.json.Decoder(dict[str, _Row])


class AlphaVantage(RestFeed):
    name = "alphavantage"
    also = ("alpha_vantage",)
    can = Can(history=("bars",))
    keys = ("alphavantage_api_key",)
    rest_url = "https://www.alphavantage.co"
    quota = Quota(5, 60.0, 25)
    calendar = CALENDAR

    def parse_rest(self, channel: str, message: bytes, received_us: int) -> Parsed:
        if problem := self.problem(message):
            return Parsed().refused("note", problem.text)
        if channel == "foreign_exchange":
            return Parsed([self._observed(decode(_rate, message, self.name, channel).rate, received_us)])
        return Parsed().ignore(channel)

    def _observed(self, rate: _Rate, received_us: int) -> Tick:
        try:
            event_us = local_us(rate.refreshed, rate.zone)
        except ValueError as error:
            raise SchemaChanged(self.name, "foreign_exchange", f"6. Last Refreshed: {error}") from None
        return self._tick(self.symbol(f"{rate.base}-{rate.quote}"), event_us, plain(rate.rate), received_us)

    def _tick(self, symbol: str, event_us: int, price: str, received_us: int) -> Tick:
        return Tick(symbol=symbol, event_us=event_us, price=price, size="0", source=self.name, received_us=received_us)

    def symbol_by_rule(self, native: str) -> str:
        return native

    def native_by_rule(self, symbol: str) -> str:
        return symbol

    def problem(self, body: bytes) -> Problem | None:
        notes = peek(_notes, body, self.name) or _Notes()
        if notes.error:
            return Problem(notes.error, again=False)
        text = notes.note or notes.information
        if not text:
            return None
        # What is for payers only also speaks of plans, but never of a limit.
        limit = any(word in text.lower() for word in ("rate limit", "call frequency", "more sparingly"))
        a_day = "requests per day" in text and "per second" not in text and "per minute" not in text
        return Problem(text, again=limit, wait=_HOUR if a_day else 60.0)

    async def bars(
        self, http: "Http", symbol: str, interval: str, start_us: int, end_us: int
    ) -> AsyncIterator[list[HistoryBar]]:
        for asked in self._requests(interval, start_us, end_us):
            if bars := await self._bars(http, symbol, interval, asked, range(start_us, end_us)):
                yield bars

    def _requests(self, interval: str, start_us: int, end_us: int) -> list[dict[str, str]]:
        """Days come in one answer, shorter bars in one for each month of Eastern time."""
        if interval == "1d":
            return [{"function": "TIME_SERIES_DAILY", "outputsize": "full"}]
        intraday = {
            "function": "TIME_SERIES_INTRADAY",
            "interval": _INTERVALS[interval],
            "adjusted": "false",
            "extended_hours": "true",
            "outputsize": "full",
        }
        return [intraday | {"month": month} for month in _months(start_us, end_us)]

    async def _bars(
        self, http: "Http", symbol: str, interval: str, asked: Mapping[str, str], wanted: range
    ) -> list[HistoryBar]:
        body = await http.get("/query", {**asked, "symbol": self.native(symbol), "apikey": self.key()})
        zone, rows = _series(body)
        return bars_of(self.name, symbol, interval, zone, rows.items(), wanted.__contains__)

    async def latest(self, http: "Http", symbols: Sequence[str]) -> list[Tick]:
        """Of a pair its rate; of a stock the close of its last minute, stamped with the last moment of that minute."""
        found: list[Tick] = []
        for symbol in symbols:
            if is_pair(symbol):
                base, _, quote = self.native(symbol).partition("-")
                asked = {"function": "CURRENCY_EXCHANGE_RATE", "from_currency": base, "to_currency": quote}
                body = await http.get("/query", {**asked, "apikey": self.key()})
                found += self.parse_rest("foreign_exchange", body, http.now_us()).ticks
                continue
            asked = {"function": "TIME_SERIES_INTRADAY", "interval": "1min", "adjusted": "false"}
            for bar in (await self._bars(http, symbol, "1m", asked, range(http.now_us())))[-1:]:
                seen_us = min(bar.start + MINUTE_US - 1, http.now_us())
                found.append(self._tick(symbol, seen_us, bar.close, http.now_us()))
        return found


def _series(body: bytes) -> tuple[str, dict[str, _Row]]:
    """The time zone of a series and its rows by local time."""
    parts = decode(_parts, body, AlphaVantage.name, "time_series")
    meta = decode(_meta, bytes(parts.get("Meta Data", b"{}")), AlphaVantage.name, "time_series")
    zone = next((text for name, text in meta.items() if name.endswith("Time Zone")), None)
    rows = next((bytes(raw) for name, raw in parts.items() if name.startswith("Time Series")), None)
    if zone is None or rows is None:
        raise SchemaChanged(AlphaVantage.name, "time_series", "no `Time Zone`" if zone is None else "no `Time Series`")
    return zone, decode(_rows, rows, AlphaVantage.name, "time_series")


def _months(start_us: int, end_us: int) -> list[str]:
    """The months, `YYYY-MM` in Eastern time, that [start, end) touches."""
    at, last = date.fromisoformat(date_in(start_us, EASTERN)), date.fromisoformat(date_in(end_us - 1, EASTERN))
    found: list[str] = []
    at = at.replace(day=1)
    while at <= last:
        found.append(f"{at:%Y-%m}")
        at = (at + timedelta(days=31)).replace(day=1)
    return found
