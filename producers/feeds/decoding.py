"""What several wire formats share: exact numbers, times, the order of trades without ids, and clear schema errors."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from core.records import SEQ_LIMIT
from producers.feeds.base import Parsed, SchemaChanged

T = TypeVar("T")
_KEPT_US = 60_000_000
_LEAST_KEPT, _MOST_KEPT = 64, 65_536
_MOST_DIGITS = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decode(decoder: "msgspec.json.Decoder[T]", message: bytes, provider: str, kind: str) -> T:
    """The message as the decoder's type. Raises SchemaChanged naming the field that is missing or of another type."""
    try:
        return decoder.decode(message)
    except msgspec.ValidationError as error:
        raise SchemaChanged(provider, kind, str(error)) from None
    except msgspec.DecodeError as error:
        raise SchemaChanged(provider, kind, f"not JSON: {error}") from None


def peek(decoder: "msgspec.json.Decoder[T]", message: bytes, provider: str) -> T | None:
    """What tells the types of messages apart; None for JSON of another shape, which is no message that we know.

    Raises SchemaChanged for what is not JSON: half a message, for instance.
    """
    try:
        return decoder.decode(message)
    except msgspec.ValidationError:
        return None
    except msgspec.DecodeError as error:
        raise SchemaChanged(provider, "unnamed", f"not JSON: {error}") from None


def take_each(parts: "Sequence[T]", take: Callable[[T, Parsed], None]) -> Parsed:
    """What the parts of a message say together. One that is not as documented is told of and costs no other.

    Raises SchemaChanged, that of the first, when none is as documented.
    """
    parsed = Parsed()
    for part in parts:
        try:
            take(part, parsed)
        except SchemaChanged as problem:
            parsed.problems.append(problem)
    if parts and len(parsed.problems) == len(parts):
        raise parsed.problems[0]
    return parsed


def plain(number: Decimal | str) -> str:
    """A number as plain decimal text: no exponent, no zeros at its end.

    One beyond all use keeps its exponent, and is refused with the tick: written out it could fill the memory.

    >>> plain(Decimal("1E-7")), plain("0.00200000"), plain(Decimal("100"))
    ('0.0000001', '0.002', '100')
    """
    text = number if isinstance(number, str) and "e" not in number and "E" not in number else _written_out(number)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _written_out(number: Decimal | str) -> str:
    value = Decimal(number)
    return f"{value:f}" if abs(value.adjusted()) <= _MOST_DIGITS else str(value)


def iso_us(text: str) -> int:
    """RFC 3339 as epoch microseconds; digits below the microsecond are cut off.

    >>> iso_us("1970-01-01T00:00:01.0000015Z")
    1000001
    """
    parsed = datetime.fromisoformat(text)
    since = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def time_us(text: str, provider: str, kind: str, field: str) -> int:
    """RFC 3339 of a message's field as epoch microseconds. Raises SchemaChanged for text that is no time."""
    try:
        return iso_us(text)
    except ValueError:
        raise SchemaChanged(provider, kind, f"`{field}` is no time: {text[:40]!r}") from None


def order_of(number: int) -> int:
    """A trade id or sequence number as `Tick.seq`: its low 33 bits, which order the trades of one microsecond."""
    return number % SEQ_LIMIT


class Ordinals:
    """`Tick.seq` where a provider numbers nothing: the place of a trade among those of its symbol and time.

    The same messages after a reconnect get the same numbers again, so that a repeat is known as one.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Counts] = {}

    def next(self, symbol: str, event_us: int) -> int:
        """Unique among the ticks of one source, symbol and time; over two hours and a half it also goes up."""
        count = self._seen.setdefault(symbol, _Counts()).take(event_us)
        return (event_us // 1000 % (1 << 23)) * 1024 + count % 1024


class _Counts:
    """How many trades one symbol had at each of its newest times."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._most = _LEAST_KEPT

    def take(self, event_us: int) -> int:
        count = self._counts.get(event_us, 0)
        self._counts[event_us] = count + 1
        if len(self._counts) > self._most:
            self._forget(event_us)
        return count

    def _forget(self, now_taken: int) -> None:
        """Forget what is older than late trades are; never the time that was just counted."""
        oldest = max(self._counts) - _KEPT_US
        newest = sorted((at for at in self._counts if at >= oldest), reverse=True)[:_MOST_KEPT]
        self._counts = {at: self._counts[at] for at in {*newest, now_taken}}
        self._most = max(_LEAST_KEPT, 2 * len(self._counts))


def parts_of(value: Any) -> list[Any]:
    """A message that may be one event or a list of them, as a list."""
    return value if isinstance(value, list) else [value]
