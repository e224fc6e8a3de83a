"""A record of the topic `ticks` read without Spark, as `jobs.ticks` reads it. A property test holds the two together.

A text field may hold what is no text: a number is then read as Spark writes it, so 101.50 is "101.5" and 1e3 "1000.0",
an object or list as compact JSON. A field of integers that holds none counts as missing.
Not held to: what Spark reads although it is no JSON (a record behind the record, single quotes, bytes that are no
UTF-8, half of a surrogate pair) is malformed here; a number of over 1,000 digits in a field that no tick has is
malformed there; and of several reasons another one may be named.
"""

import re
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from core.errors import InvalidTick
from core.records import SEQ_LIMIT, Kind, Tick
from core.validate import check

_Long = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_NULL = msgspec.Raw(b"null")
_INTEGER = re.compile(rb"-?[0-9]+")
_PLAIN_FROM, _PLAIN_BELOW = 1e-3, 1e7
_NUMBERS = ("v", "event_us", "seq", "reported_us", "received_us")
# What a tick cannot lack, as something that `check` refuses for that reason.
_MISSING = {"v": 0, "symbol": "", "event_us": 0, "seq": SEQ_LIMIT, "source": "", "kind": ""}


class _Usual(Tick, frozen=True, kw_only=True):
    """A tick as producers write it: each field of its type, and none left out that has to be there."""

    v: int
    event_us: _Long
    seq: int
    kind: Kind
    reported_us: _Long | None = None
    received_us: _Long


_Fields = msgspec.defstruct("_Fields", [(name, msgspec.Raw, _NULL) for name in Tick.__struct_fields__])
_usual = msgspec.json.Decoder(_Usual)
_fields = msgspec.json.Decoder(_Fields)


def read(value: bytes | None, *, now_us: int, future_tolerance_us: int, known_symbols: frozenset[str] | None) -> Tick:
    """The tick that a record is. Raises InvalidTick with a reason of `core.validate.REASONS`, as `check` does."""
    if not value:
        raise InvalidTick("empty")
    try:
        tick = _read(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the last where lists lie too deep in lists
        raise InvalidTick("malformed") from None
    check(tick, now_us=now_us, future_tolerance_us=future_tolerance_us, known_symbols=known_symbols)
    if tick.received_us is None:
        raise InvalidTick("received")
    return tick


def is_usual(tick: Tick) -> bool:
    """Whether the record that `read` gave has each field in its type."""
    return isinstance(tick, _Usual)


def _read(value: bytes) -> Tick:
    try:
        return _usual.decode(value)
    except msgspec.ValidationError:
        raw = msgspec.structs.asdict(_fields.decode(value))
    found: dict[str, Any] = {
        name: _number(bytes(each), name) if name in _NUMBERS else _text(bytes(each)) for name, each in raw.items()
    }
    if all(each is None for each in found.values()):
        raise msgspec.DecodeError
    return Tick(**found | {name: each for name, each in _MISSING.items() if found[name] is None})


def _number(raw: bytes, name: str) -> int | None:
    bits = 32 if name == "v" else 64
    number = int(raw) if len(raw) <= 20 and _INTEGER.fullmatch(raw) else None
    return number if number is not None and -(1 << bits - 1) <= number < 1 << bits - 1 else None


def _text(raw: bytes) -> str | None:
    value = msgspec.json.decode(raw)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return _double(value)
    return msgspec.json.format(raw, indent=-1).decode() if raw != b"-0" else "0"


def _double(value: float) -> str:
    """Java's Double.toString: plain from 0.001 to 10,000,000, else with an exponent."""
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return format(Decimal(repr(value)), "f")
    digits, _, exponent = f"{Decimal(repr(value)).normalize():E}".partition("E")
    return f"{digits if '.' in digits else digits + '.0'}E{int(exponent)}"
