"""The two records of the system, Tick and Bar, and the exact numbers they are made of.

Times are integer microseconds since the epoch, UTC. A price, size or volume is exact: decimal text in
JSON, and inside the code an integer count of 1e-8 units ("scaled"). A notional is price times size, an
integer count of 1e-16 units, so that no sum depends on the order of its terms.
"""

import re
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Literal

import msgspec

TICK_VERSION = 1
SCALE = 100_000_000
DECIMALS = 8
NOTIONAL_DECIMALS = 2 * DECIMALS

MAX_UNITS = 10_000_000_000  # price and size stay below this: decimal(18,8), a scaled 64-bit integer
MAX_NOTIONAL_UNITS = 10_000_000_000_000  # one trade stays below this, so that a bar's sums stay in 64 bits
MAX_SYMBOL_LENGTH = 32
MAX_TEXT_LENGTH = 256  # source, venue, trade_id and conditions together
SEQ_LIMIT = 1 << 33  # |seq| stays below this: what an order key has room for beside 15 minutes of microseconds
MIN_EVENT_US = 315_532_800_000_000  # 1980-01-01: no tick is older; catches milliseconds sent as microseconds

Kind = Literal["trade", "correct", "cancel", "heartbeat"]
KINDS: tuple[str, ...] = ("trade", "correct", "cancel", "heartbeat")


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """One record of topic `ticks`, key = symbol.

    `event_us` places the tick in its bar; where a ruleset moved it, `reported_us` keeps the venue's own stamp.
    `seq` breaks ties at one `event_us`; with it and `source` it names a tick that has no `trade_id`.
    """

    v: int = TICK_VERSION
    symbol: str
    event_us: int
    price: str | None = None
    size: str | None = None
    trade_id: str | None = None
    seq: int = 0
    source: str
    venue: str | None = None
    conditions: str | None = None
    kind: Kind = "trade"
    reported_us: int | None = None
    received_us: int


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of `[start, end)`; the columns of every store, topic and file, in this order.

    Prices are None in a bar whose trades may touch no price (a lone derivatively priced print, say):
    it keeps its volume, so that 5 m and 15 m stay the roll-up of 1 m.
    """

    symbol: str
    interval: str
    start: int
    end: int
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    close: Decimal | None
    volume: Decimal
    notional: Decimal
    vwap: Decimal | None
    trade_count: int
    open_us: int | None
    close_us: int | None
    first_trade_id: str | None
    last_trade_id: str | None
    kafka_partition: int | None
    first_offset: int | None
    last_offset: int | None
    rev: int
    state: Literal["forming", "final", "amended"]
    reason: str | None
    ruleset: str
    received_us: int
    processed_us: int | None


BAR_COLUMNS: tuple[str, ...] = Bar.__struct_fields__
BAR_KEY: tuple[str, ...] = ("symbol", "interval", "start")
# What may differ between two computations of one bar: everything else is the bar.
BAR_PROVENANCE: frozenset[str] = frozenset({"rev", "state", "reason", "processed_us"})
# How a bar's ticks came to us. A bar that differs in nothing else is the same bar.
BAR_DELIVERY: frozenset[str] = frozenset({"kafka_partition", "first_offset", "last_offset", "received_us"})


def to_scaled(text: str) -> int:
    """Decimal text as a count of 1e-8 units, rounded half up at the eighth decimal.

    >>> to_scaled("167.41")
    16741000000
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"not a number: {text!r}") from None
    if not value.is_finite():
        raise ValueError(f"not finite: {text!r}")
    return int((value * SCALE).to_integral_value(ROUND_HALF_UP))


# The default context keeps 28 digits, fewer than a notional may have: it would round the last ones away.
_EXACT = Context(prec=80)


def from_scaled(units: int, decimals: int = DECIMALS) -> Decimal:
    """A count of 10**-decimals units as a Decimal with exactly that many places."""
    return Decimal(units).scaleb(-decimals, _EXACT)


def bar_trade_id(trade_id: str | None) -> str | None:
    """The id as a bar can carry it: text of up to 23 characters, a UUID, or None for an empty one and anything longer.

    Inside Spark an id travels as three 64-bit words, because one text column in the aggregate costs it
    three quarters of its speed (docs/decisions/0001). A longer id stays in the tick, which the bar's offsets point to.
    """
    if trade_id and (len(trade_id) <= TRADE_ID_LENGTH or _UUID.fullmatch(trade_id)):
        return trade_id
    return None


TRADE_ID_LENGTH = 23
UUID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID = re.compile(UUID_PATTERN)


def order_key(event_us: int, seq: int, start_us: int) -> int:
    """(event_us, seq) inside a bar as one signed 64-bit number: earlier is smaller, ties go to the smaller seq.

    Bars are at most 15 minutes, so the centred offset needs 30 bits and leaves 34 for a signed seq.
    """
    return (event_us - start_us - ORDER_CENTRE_US) * ORDER_SPAN + seq


ORDER_CENTRE_US = 450_000_000
ORDER_SPAN = 1 << 34


def vwap_scaled(notional_units: int, volume_units: int) -> int | None:
    """notional / volume as a count of 1e-8 units, rounded half up; None without volume.

    `notional_units` counts 1e-16, `volume_units` counts 1e-8.
    """
    if volume_units == 0:
        return None
    return (2 * notional_units + volume_units) // (2 * volume_units)
