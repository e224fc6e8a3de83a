"""A provider's own bars as rows of the table `bars`, where no trades are to be had.

They are known by `ruleset` = `provider:NAME` and `reason` = `provider`, and have revision 1: a bar that the pipeline
computed stays. What a provider does not tell, and the table cannot leave empty, is filled like this:

- `notional` is vwap times volume where the provider tells a vwap. Where it does not, it is (high + low + close) / 3
  times volume, as everywhere in this project where a bar has none, and `vwap` stays null to say so. A zero would look
  more honest and do more harm: every VWAP over that bar would be dragged towards zero.
- `trade_count` is 0 where the provider does not count: with a volume beside it, that can only mean unknown.
"""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext

from core.errors import InvalidTick
from core.records import DECIMALS, MAX_UNITS, NOTIONAL_DECIMALS, Bar
from producers.feeds.base import LENGTHS, HistoryBar

REASON = "provider"
_AMOUNT = Decimal(1).scaleb(-DECIMALS)
_NOTIONAL = Decimal(1).scaleb(-NOTIONAL_DECIMALS)
_LARGEST_VOLUME = Decimal(10) ** 20
_LARGEST_NOTIONAL = Decimal(10) ** 22


def as_bar(bar: HistoryBar, now_us: int) -> Bar | None:
    """The row of a provider's bar; None for a filler of a time without trades.

    Raises InvalidTick where it is no bar: a price that is none, a low above a high.
    """
    with localcontext() as exact:
        exact.prec = 80
        open_, high, low, close = (_price(text) for text in (bar.open, bar.high, bar.low, bar.close))
        if not low <= min(open_, close) <= max(open_, close) <= high:
            raise InvalidTick("price", f"bar of {bar.symbol} at {bar.start}: open, high, low and close contradict")
        volume = _amount(bar.volume)
        if not 0 <= volume < _LARGEST_VOLUME:
            raise InvalidTick("size", f"bar of {bar.symbol} at {bar.start}: volume {bar.volume}")
        if volume == 0 and bar.trade_count == 0:
            return None
        vwap = None if bar.vwap is None else _price(bar.vwap)
        price = (high + low + close) / 3 if vwap is None else vwap
        notional = (price * volume).quantize(_NOTIONAL, ROUND_HALF_UP)
    if notional >= _LARGEST_NOTIONAL:
        raise InvalidTick("notional", f"bar of {bar.symbol} at {bar.start}: price times volume is {notional:f}")
    return Bar(
        symbol=bar.symbol,
        interval=bar.interval,
        start=bar.start,
        end=bar.start + LENGTHS[bar.interval],
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        notional=notional,
        vwap=vwap,
        trade_count=bar.trade_count or 0,
        open_us=None,
        close_us=None,
        first_trade_id=None,
        last_trade_id=None,
        kafka_partition=None,
        first_offset=None,
        last_offset=None,
        rev=1,
        state="final",
        reason=REASON,
        ruleset=f"provider:{bar.source}",
        received_us=now_us,
        processed_us=now_us,
    )


def _price(text: str) -> Decimal:
    price = _amount(text)
    if not 0 < price < MAX_UNITS:
        raise InvalidTick("price", f"{text!r} of a bar")
    return price


def _amount(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise InvalidTick("price", f"{text!r} of a bar is not a number") from None
    if not value.is_finite():
        raise InvalidTick("price", f"{text!r} of a bar is not finite")
    return value.quantize(_AMOUNT, ROUND_HALF_UP)
