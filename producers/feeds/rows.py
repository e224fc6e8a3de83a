"""What REST adapters share: bars from a provider's own rows, times written in local time, days, joined pairs."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from core.intervals import DAILY, SECOND_US
from producers.feeds.base import Feed, HistoryBar, Parsed, SchemaChanged
from producers.feeds.decoding import peek, plain
from producers.feeds.pairs import from_joined

EASTERN = "America/New_York"
LONGEST_TICKER = 5
FIAT = frozenset((
    "USD", "EUR", "GBP", "JPY", "AUD", "CAD", "CHF", "NZD", "CNY", "HKD", "SEK", "NOK", "DKK", "SGD", "MXN", "ZAR",
    "TRY", "PLN", "INR", "KRW", "BRL",
))  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_anything = msgspec.json.Decoder()
Number = Decimal | str


class RestFeed(Feed):
    """A provider without a socket."""

    def parse(self, message: bytes, received_us: int) -> Parsed:
        peek(_anything, message, self.name)
        return Parsed().ignore("socket")


class Row(Protocol):
    """The amounts of a bar as the provider gives them."""

    @property
    def open(self) -> Decimal: ...
    @property
    def high(self) -> Decimal: ...
    @property
    def low(self) -> Decimal: ...
    @property
    def close(self) -> Decimal: ...
    @property
    def volume(self) -> Decimal: ...


R = TypeVar("R", bound=Row)


def history_bar(
    source: str,
    symbol: str,
    interval: str,
    start: int,
    amounts: tuple[Number, Number, Number, Number, Number],
    vwap: Number | None = None,
    trade_count: int | None = None,
) -> HistoryBar:
    """A bar that starts at this epoch microsecond; `amounts` are open, high, low, close and volume."""
    open_, high, low, close, volume = map(plain, amounts)
    return HistoryBar(
        symbol=symbol,
        interval=interval,
        start=start,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        vwap=None if vwap is None else plain(vwap),
        trade_count=trade_count,
        source=source,
    )


def bar_of(
    source: str,
    symbol: str,
    interval: str,
    start: int,
    row: Row,
    vwap: Number | None = None,
    trade_count: int | None = None,
) -> HistoryBar:
    """A provider's row as a bar that starts at this epoch microsecond."""
    amounts = (row.open, row.high, row.low, row.close, row.volume)
    return history_bar(source, symbol, interval, start, amounts, vwap, trade_count)


def bars_of(
    source: str, symbol: str, interval: str, zone: str, rows: Iterable[tuple[str, R]], wanted: Callable[[int], bool]
) -> list[HistoryBar]:
    """The wanted ones of rows under their local times, oldest first; a daily bar starts at midnight UTC of its date.

    Raises SchemaChanged for a time that is none.
    """
    try:
        starts = [(day_us(text) if interval == DAILY else local_us(text, zone), row) for text, row in rows]
    except ValueError as error:
        raise SchemaChanged(source, "bar", f"its time: {error}") from None
    starts.sort(key=lambda pair: pair[0])
    return [bar_of(source, symbol, interval, start, row) for start, row in starts if wanted(start)]


def local_us(text: str, zone: str) -> int:
    """Local time without an offset, such as `2024-03-08 09:30:00`, as epoch microseconds; the first of a doubled hour.

    Raises ValueError for text that is no time and for an unknown zone.

    >>> local_us("1970-01-01 00:00:01", "UTC"), local_us("1969-12-31 19:00", "America/New_York")
    (1000000, 0)
    """
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    except ZoneInfoNotFoundError:
        raise ValueError(f"unknown time zone {zone!r}") from None
    return (moment - _EPOCH) // timedelta(microseconds=1)


def day_us(text: str) -> int:
    """The start of a daily bar: midnight UTC of its date, whatever the exchange's hours.

    >>> day_us("1970-01-02")
    86400000000
    """
    return local_us(text[:10], "UTC")


def date_in(us: int, zone: str) -> str:
    """The local date of a moment, as `YYYY-MM-DD`.

    >>> date_in(0, "America/New_York")
    '1969-12-31'
    """
    return datetime.fromtimestamp(us // SECOND_US, UTC).astimezone(ZoneInfo(zone)).date().isoformat()


def text_in(us: int, zone: str) -> str:
    """Local time to the second, as `YYYY-MM-DD HH:MM:SS`."""
    return f"{datetime.fromtimestamp(us // SECOND_US, UTC).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}"


def from_long(native: str) -> str:
    """A pair written as one word as a canonical symbol; five letters or fewer are a stock, such as GBTC.

    >>> from_long("BTCUSD"), from_long("GBTC"), from_long("AAPL")
    ('BTC-USD', 'GBTC', 'AAPL')
    """
    return from_joined(native) if len(native) > LONGEST_TICKER else native
