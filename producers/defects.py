"""Records that are no ticks, one or more for each reason of `core.validate`, for the simulator and for tests.

What a foreign client might write straight to the topic.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from core.records import MAX_TEXT_LENGTH


@dataclass(frozen=True, slots=True)
class Broken:
    """A way to be no tick: the reason it must be refused for, and its bytes at a given event time."""

    reason: str
    make: Callable[[int], bytes]


def _with(**changes: object) -> Callable[[int], bytes]:
    """A good tick with some fields changed; None takes a field away."""

    def make(event_us: int) -> bytes:
        tick: dict[str, object] = {
            "v": 1, "symbol": "AAPL", "event_us": event_us, "price": "190.00", "size": "100", "seq": 0,
            "source": "broken", "kind": "trade", "received_us": event_us,
        }  # fmt: skip
        merged = {name: value for name, value in (tick | changes).items() if value is not None}
        return msgspec.json.encode(merged)

    return make


def _truncated(event_us: int) -> bytes:
    return _with()(event_us)[:-20]


BROKEN: tuple[Broken, ...] = (
    Broken("empty", lambda _: b""),
    Broken("malformed", lambda _: b"not json at all"),
    Broken("malformed", _truncated),
    Broken("malformed", lambda _: b'["a","list"]'),
    Broken("malformed", lambda _: b"\xff\xfe\x00\x80"),
    Broken("version", _with(v=99)),
    Broken("symbol", _with(symbol="")),
    Broken("symbol", _with(symbol="A" * 33)),
    Broken("symbol", _with(symbol="A B")),
    Broken("symbol", _with(symbol=None)),
    Broken("kind", _with(kind="quote")),
    Broken("event_time", _with(event_us=None)),
    Broken("event_time", _with(event_us=1_700_000_000_000)),
    Broken("text", _with(source="")),
    Broken("text", _with(conditions="F" * (MAX_TEXT_LENGTH + 1))),
    Broken("text", _with(venue="B\u00f6rse")),
    Broken("received", _with(received_us=None)),
    Broken("seq", _with(seq=1 << 33)),
    Broken("price", _with(price="0")),
    Broken("price", _with(price="-1.5")),
    Broken("price", _with(price="NaN")),
    Broken("price", _with(price="1e5")),
    Broken("price", _with(price="1.123456789")),
    Broken("price", _with(price="99999999999")),
    Broken("price", _with(price=None)),
    Broken("size", _with(size="-3")),
    Broken("size", _with(size="lots")),
    Broken("notional", _with(price="9999999999", size="9999999999")),
    Broken("trade_ref", _with(kind="cancel")),
)
