"""A session taken apart: where and when volume traded, how prices moved, which bars were large. Pure functions.

Bars are dicts with `core.records.BAR_COLUMNS` as keys, ascending; times in epoch microseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from api.merge import Row
from api.rollup import EXACT, Rollup, priced, realised_volatility, rollup_of
from core.intervals import MINUTE_US

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What traded between two prices, or two moments: half-open, but the last price bucket holds its high too."""

    low: Any
    high: Any
    volume: Decimal
    trade_count: int


@dataclass(frozen=True, slots=True)
class Session:
    """What one session's bars come to."""

    bar: Rollup
    by_price: list[Bucket]
    by_time: list[Bucket]
    largest: list[Row]
    volatility: float | None
    amended: int
    forming: int


def of_session(bars: Sequence[Row], buckets: int, bucket_minutes: int, largest: int) -> Session:
    """Ascending bars of one session and one interval, taken together."""
    bar = Rollup()
    for row in bars:
        bar = bar.then(rollup_of(row))
    return Session(
        bar=bar,
        by_price=volume_by_price(bars, buckets),
        by_time=volume_by_time(bars, bucket_minutes * MINUTE_US),
        largest=sorted(bars, key=lambda row: (-row["volume"], row["start"]))[:largest],
        volatility=realised_volatility(priced(bars)),
        amended=sum(row["rev"] > 1 for row in bars),
        forming=sum(row["state"] == "forming" for row in bars),
    )


def volume_by_price(bars: Sequence[Row], buckets: int) -> list[Bucket]:
    """Equal price ranges from the lowest to the highest VWAP of a bar; a bar's volume goes to where its VWAP lies.

    A bar does not say at which prices its trades were, only what they cost on average. Ranges without volume are there
    too, with none. One range where all bars have one VWAP, none where no bar has any.
    """
    known = [row for row in bars if row["vwap"] is not None]
    if not known:
        return []
    low, high = min(row["vwap"] for row in known), max(row["vwap"] for row in known)
    width = EXACT.divide(EXACT.subtract(high, low), Decimal(buckets))
    count = buckets if width else 1
    volumes, trades = [_ZERO] * count, [0] * count
    for row in known:
        place = min(count - 1, int(EXACT.divide(EXACT.subtract(row["vwap"], low), width))) if width else 0
        volumes[place] = EXACT.add(volumes[place], row["volume"])
        trades[place] += row["trade_count"]
    edges = [_rounded(EXACT.add(low, EXACT.multiply(width, Decimal(place)))) for place in range(count)] + [high]
    return [Bucket(*each) for each in zip(edges, edges[1:], volumes, trades, strict=False)]


def volume_by_time(bars: Sequence[Row], length_us: int) -> list[Bucket]:
    """Ranges of time that hold a bar, aligned to the epoch; `low` and `high` are epoch microseconds."""
    volumes: dict[int, Decimal] = {}
    trades: dict[int, int] = {}
    for row in bars:
        slot = row["start"] - row["start"] % length_us
        volumes[slot] = EXACT.add(volumes.get(slot, _ZERO), row["volume"])
        trades[slot] = trades.get(slot, 0) + row["trade_count"]
    return [Bucket(slot, slot + length_us, volumes[slot], trades[slot]) for slot in sorted(volumes)]


def _rounded(price: Decimal) -> Decimal:
    return price.quantize(Decimal("1e-8"), context=EXACT)
