"""One text for a bar and for a tick, and the hash of many: equal hashes are equal bars, to the last digit.

A line is a compact JSON array; a hash is the SHA-256 of the lines, each with a line break, under the scheme's name.
Amounts are plain decimals without trailing zeros, times epoch microseconds, absent values null.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from core.records import BAR_COLUMNS, BAR_DELIVERY, BAR_PROVENANCE, Tick

SCHEME = "tickstream-1"
BAR_VALUES: tuple[str, ...] = tuple(name for name in BAR_COLUMNS if name not in BAR_PROVENANCE | BAR_DELIVERY)
"""What makes a bar that bar, whoever delivered its ticks and however often it was computed."""
_TICK_VALUES = ("symbol", "event_us", "seq", "trade_id", "source", "venue", "conditions", "kind")


def amount_text(value: Decimal | str | None) -> str | None:
    """A plain decimal without trailing zeros.

    >>> amount_text(Decimal("167.41000000")), amount_text("100"), amount_text(None)
    ('167.41', '100', None)
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def bar_values(bar: Mapping[str, Any]) -> dict[str, Any]:
    """BAR_VALUES of a bar with `start` and `end` in microseconds, amounts as text."""
    return {name: amount_text(bar[name]) if isinstance(bar[name], Decimal) else bar[name] for name in BAR_VALUES}


def bar_line(bar: Mapping[str, Any], indicators: Mapping[str, float | None] | None = None) -> bytes:
    """A bar, and beside it its indicators where there are any."""
    return _encode([*bar_values(bar).values(), None if indicators is None else indicator_values(indicators)])


def indicator_values(indicators: Mapping[str, float | None]) -> dict[str, float | None]:
    """Values by column in alphabetic order; what is not finite is null, and zero has no sign."""
    return {name: _number(indicators[name]) for name in sorted(indicators)}


def tick_line(tick: Tick) -> bytes:
    """A tick as the feed told it, without where and when it was received."""
    return _encode([*(getattr(tick, name) for name in _TICK_VALUES), amount_text(tick.price), amount_text(tick.size)])


def digest(lines: Iterable[bytes]) -> str:
    """The hash of lines in the order given, 64 hexadecimal digits."""
    found = hashlib.sha256(SCHEME.encode() + b"\n")
    for line in lines:
        found.update(line + b"\n")
    return found.hexdigest()


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value + 0.0


_encode = msgspec.json.Encoder().encode
