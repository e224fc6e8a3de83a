"""What feeds of the US consolidated tape share: ids that start again each day, conditions as codes, bars."""

import functools
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

from core.intervals import DAILY, DAY_US
from producers.feeds.base import HistoryBar
from producers.feeds.pairs import QUOTES
from producers.feeds.rows import bar_of

CALENDAR = "XNYS"
CONSOLIDATED = "sip"
"""The tape of every exchange's trades of US stocks, also Alpaca's own name for it."""
_NEW_YORK = ZoneInfo("America/New_York")
_HOUR_US = 3_600_000_000
_SHORT = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "vwap": "vw", "trade_count": "n"}


class Aggregate(msgspec.Struct, kw_only=True, rename=_SHORT):
    """A bar as these feeds write it, but for its time."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: Decimal | None = None
    trade_count: int | None = None


def daily_id(trade_id: int | str, event_us: int) -> str:
    """A trade id that is unique within one trading day only, made unique: the New York date before it.

    The evening session ends after midnight UTC, so a UTC date would let two days share it. A correction or cancel names
    its trade by the date of its own stamp, and does not find a trade of an earlier day.

    >>> daily_id(17, 1_641_260_000_000_000)  # 2022-01-04 01:33 UTC
    '20220103-17'
    """
    return f"{_date(event_us // _HOUR_US)}-{trade_id}"


@functools.lru_cache(maxsize=64)
def _date(hour: int) -> str:
    try:
        return datetime.fromtimestamp(hour * 3600, _NEW_YORK).strftime("%Y%m%d")
    except (OverflowError, ValueError, OSError):  # no such year: whoever validates the tick refuses its stamp
        return "undated"


def conditions(codes: Iterable[int | str] | None) -> str | None:
    """A provider's condition codes as text that no ruleset can take for its hexadecimal mask.

    >>> conditions([12, 37]), conditions(["@", "T"]), conditions([]), conditions(None)
    ('c:12,37', 'c:@,T', None, None)
    """
    text = ",".join(str(code) for code in codes or ())
    return f"c:{text}" if text else None


def bar_start(us: int, interval: str) -> int:
    """Where a bar starts: a daily one, given by its midnight in New York, at midnight UTC of its date.

    >>> bar_start(1_641_272_400_000_000, "1d") - bar_start(1_641_272_400_000_000, "1h")  # 2022-01-04 05:00 UTC
    -18000000000
    """
    return us - us % DAY_US if interval == DAILY else us


def aggregate_bar(source: str, symbol: str, interval: str, us: int, bar: Aggregate) -> HistoryBar:
    """A bar that these feeds stamp with this epoch microsecond."""
    return bar_of(source, symbol, interval, bar_start(us, interval), bar, bar.vwap, bar.trade_count)


def is_pair(symbol: str) -> bool:
    """Whether a canonical symbol is a pair of currencies and not a share, such as BRK-B.

    >>> is_pair("BTC-USD"), is_pair("BRK-B"), is_pair("AAPL")
    (True, False, False)
    """
    base, dash, quote = symbol.partition("-")
    return bool(base and dash) and quote in QUOTES
