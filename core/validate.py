"""When a record is a tick, and the one word that says why it is not.

The limits are `core.records`'; `jobs/validate.py` states the same table in Spark SQL for whatever reaches the
topic, and a property test holds the two together. A reason is stable: it is what `ticks.dead` is queried by.
"""

import re

from core.errors import InvalidTick
from core.records import (
    KINDS,
    MAX_NOTIONAL_UNITS,
    MAX_SYMBOL_LENGTH,
    MAX_TEXT_LENGTH,
    MIN_EVENT_US,
    SEQ_LIMIT,
    TICK_VERSION,
    Tick,
)

PRICED = ("trade", "correct")
"""The kinds that have a price and a size; of others nobody judges them."""
AMENDING = ("correct", "cancel")
"""The kinds that name a trade."""
REASONS: dict[str, str] = {
    "empty": "the record has no value",
    "malformed": "the value is not a JSON object, or has none of a tick's fields",
    "version": f"v is not {TICK_VERSION}",
    "symbol": f"symbol is missing, empty, over {MAX_SYMBOL_LENGTH} characters, not printable ASCII without spaces,"
    " or an object or list",
    "unknown_symbol": "the symbol master is strict and does not list the symbol",
    "kind": f"kind is not one of {', '.join(KINDS)}",
    "event_time": "event_us is missing, not an integer or before 1980 (milliseconds sent as microseconds, usually)",
    "future": "event_us is further ahead of the broker's clock than the tolerance",
    "text": "source is missing or empty, or source, venue, trade_id and conditions together are over "
    f"{MAX_TEXT_LENGTH} characters or not printable ASCII",
    "received": "received_us is missing or not an integer",
    "seq": f"seq is not an integer between -{SEQ_LIMIT} and {SEQ_LIMIT}, exclusive",
    "price": "price is not a positive plain decimal below 10,000,000,000 with at most 8 decimals",
    "size": "size is not a non-negative plain decimal below 10,000,000,000 with at most 8 decimals",
    "notional": "price times size is 10,000,000,000,000 or more",
    "trade_ref": "a correct or cancel names no trade: trade_id is missing",
}

# Plain digits only: no sign, exponent, NaN or infinity can pass, and nothing is ever rounded.
# Patterns are unanchored: each side matches them against the whole text in its own way.
DECIMAL_PATTERN = r"[0-9]{1,10}(\.[0-9]{1,8})?"
# No bracket first: Spark reads a JSON object or list, where text is due, as its own text.
SYMBOL_PATTERN = rf"[!-Z\\^-z|}}~\]][!-~]{{0,{MAX_SYMBOL_LENGTH - 1}}}"
TEXT_PATTERN = rf"[ -~]{{1,{MAX_TEXT_LENGTH}}}"
_decimal = re.compile(DECIMAL_PATTERN)
_symbol = re.compile(SYMBOL_PATTERN)
_text = re.compile(TEXT_PATTERN)


def check(
    tick: Tick,
    *,
    now_us: int | None = None,
    future_tolerance_us: int = 0,
    known_symbols: frozenset[str] | None = None,
) -> None:
    """Raise InvalidTick with the first reason, in the order of `REASONS`, why this is no tick.

    `now_us` is the clock for the future check (None skips it); `known_symbols` makes the symbol master strict.
    """
    reason = _first_reason(tick, now_us, future_tolerance_us, known_symbols)
    if reason is not None:
        raise InvalidTick(reason, REASONS[reason])


def _first_reason(tick: Tick, now_us: int | None, tolerance_us: int, known: frozenset[str] | None) -> str | None:
    if tick.v != TICK_VERSION:
        return "version"
    if not _symbol.fullmatch(tick.symbol):
        return "symbol"
    if known is not None and tick.kind != "heartbeat" and tick.symbol not in known:
        return "unknown_symbol"
    if tick.kind not in KINDS:
        return "kind"
    if tick.event_us < MIN_EVENT_US:
        return "event_time"
    if now_us is not None and tick.event_us > now_us + tolerance_us:
        return "future"
    if not tick.source or not _text.fullmatch(_texts(tick)):
        return "text"
    if not -SEQ_LIMIT < tick.seq < SEQ_LIMIT:
        return "seq"
    number = _bad_number(tick) if tick.kind in PRICED else None
    if number is None and tick.kind in AMENDING and not tick.trade_id:
        return "trade_ref"
    return number


def _texts(tick: Tick) -> str:
    return tick.source + (tick.venue or "") + (tick.trade_id or "") + (tick.conditions or "")


def _bad_number(tick: Tick) -> str | None:
    if not _decimal.fullmatch(tick.price or "") or not tick.price.strip("0."):  # type: ignore[union-attr]
        return "price"
    if not _decimal.fullmatch(tick.size or ""):
        return "size"
    # Doubles suffice for a limit that only has to keep sums inside 64 bits; Spark compares doubles too.
    return "notional" if float(tick.price or 0) * float(tick.size or 0) >= MAX_NOTIONAL_UNITS else None
