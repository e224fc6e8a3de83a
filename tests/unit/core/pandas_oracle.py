"""Bars by pandas and Decimal, written from the design page's words and not from the code: sort, group, aggregate."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext

import pandas as pd

from core.records import Tick

COLUMNS = ["open", "high", "low", "close", "volume", "notional", "vwap", "trade_count", "open_us", "close_us",
           "first_trade_id", "last_trade_id", "received_us"]  # fmt: skip


def bars(ticks: Sequence[Tick], minutes: int) -> dict[tuple[str, int], dict[str, object]]:
    """(symbol, start) -> the bar's columns, all trades counting, repeats of one trade counting once."""
    rows = []
    for tick in ticks:
        one = ("i", tick.venue, tick.trade_id) if tick.trade_id else ("s", tick.source, tick.event_us, tick.seq)
        rows.append({"one": one, "symbol": tick.symbol, "event_us": tick.event_us, "seq": tick.seq,
                     "price": Decimal(tick.price or "NaN"), "size": Decimal(tick.size or "NaN"),
                     "trade_id": tick.trade_id or None, "received_us": tick.received_us})  # fmt: skip
    if not rows:
        return {}
    frame = pd.DataFrame(rows).drop_duplicates(["symbol", "one"]).sort_values(["event_us", "seq"])
    frame["bar"] = frame["event_us"] // (minutes * 60_000_000) * (minutes * 60_000_000)
    with localcontext(prec=80):
        return {key: _bar(group) for key, group in frame.groupby(["symbol", "bar"])}


def _bar(group: pd.DataFrame) -> dict[str, object]:
    prices, sizes = list(group["price"]), list(group["size"])
    volume = sum(sizes, Decimal(0))
    notional = sum((price * size for price, size in zip(prices, sizes, strict=True)), Decimal(0))
    vwap = (notional / volume).quantize(Decimal("1e-8"), ROUND_HALF_UP) if volume else None
    ids = [None if pd.isna(one) else one for one in group["trade_id"]]
    values = (prices[0], max(prices), min(prices), prices[-1], volume, notional, vwap, len(group),
              int(group["event_us"].iloc[0]), int(group["event_us"].iloc[-1]), ids[0], ids[-1],
              int(group["received_us"].max()))  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))
