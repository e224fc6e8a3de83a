"""What a client may say. Whatever is wrong is refused with a code, the field and the limit; the socket stays open."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from api.times import parse_time
from api.ws.items import BARS, EVENTS, INDICATORS
from core.intervals import INTERVALS
from core.records import MIN_EVENT_US

CHANNELS = (BARS, INDICATORS, *EVENTS)
TYPES = ("subscribe", "unsubscribe", "ping", "auth")
MAX_ID_LENGTH = 64
MAX_SNAPSHOT = 1_000
_FIELDS = {
    "subscribe": {"type", "id", "channel", "symbols", "interval", "snapshot", "resume", "since"},
    "unsubscribe": {"type", "id", "channel", "symbols", "interval"},
    "ping": None,
    "auth": None,
}
Id = str | int | None


class Refusal(Exception):
    """A message that is not obeyed: its `id`, and what the answer says."""

    def __init__(self, code: str, message: str, field: str | None = None, **more: Any) -> None:
        super().__init__(message)
        self.id: Id = None
        self.said = {"code": code, "message": message} | ({"field": field} if field else {}) | more


@dataclass(frozen=True, slots=True)
class Request:
    """A message that makes sense. `since` and `resume` are by symbol; times are epoch microseconds."""

    type: str
    id: Id = None
    channel: str = ""
    symbols: tuple[str, ...] = ()
    interval: str = ""
    snapshot: int = 1
    resume: Mapping[str, int] | None = None
    since: Mapping[str, int] | None = None

    def key(self, symbol: str) -> tuple[str, str, str]:
        return self.channel, symbol, self.interval


def parse(text: str | bytes, max_bytes: int, max_symbols: int) -> Request:
    """The request. Raises Refusal."""
    size = len(text if isinstance(text, bytes) else text.encode())
    if size > max_bytes:
        raise Refusal("message_too_large", f"a message is at most {max_bytes} bytes", limit=max_bytes)
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Refusal("invalid_json", "not JSON") from None
    if not isinstance(message, dict):
        raise Refusal("invalid_message", "a message is a JSON object")
    asked = message.get("id")
    try:
        return _request(message, _id(asked), max_symbols)
    except Refusal as refusal:
        refusal.id = asked if isinstance(asked, str | int) and len(str(asked)) <= MAX_ID_LENGTH else None
        raise


def _request(message: dict[str, Any], asked: Id, max_symbols: int) -> Request:
    kind = message.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        raise Refusal("unknown_type", f"unknown type of message; known: {', '.join(TYPES)}", "type", known=TYPES)
    known = _FIELDS[kind]
    if known is None:
        return Request(kind, asked)
    extra = sorted(set(message) - known)
    if extra:
        raise Refusal("unknown_field", f"no such field; known: {', '.join(sorted(known))}", extra[0][:MAX_ID_LENGTH])
    channel = _channel(message.get("channel"))
    symbols = _symbols(message.get("symbols"), max_symbols)
    interval = "" if channel in EVENTS else _interval(message.get("interval", "1m"))
    if kind == "unsubscribe":
        return Request(kind, asked, channel, symbols, interval)
    return Request(
        kind,
        asked,
        channel,
        symbols,
        interval,
        _count(message.get("snapshot", 1)),
        _by_symbol(message.get("resume"), "resume", symbols, _seq),
        _by_symbol(message.get("since"), "since", symbols, _time),
    )


def _id(value: Any) -> Id:
    if value is None or (isinstance(value, str | int) and len(str(value)) <= MAX_ID_LENGTH):
        return value
    raise Refusal(
        "invalid_field", f"id is text or a number of at most {MAX_ID_LENGTH} characters", "id", limit=MAX_ID_LENGTH
    )


def _channel(value: Any) -> str:
    if not isinstance(value, str) or value not in CHANNELS:
        text = f"unknown channel; known: {', '.join(CHANNELS)}"
        raise Refusal("unknown_channel", text, "channel", known=CHANNELS)
    return value


def _symbols(value: Any, most: int) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise Refusal("invalid_field", "symbols is a list of one or more symbols", "symbols")
    if len(value) > most:
        raise Refusal("too_many_symbols", f"at most {most} symbols", "symbols", limit=most)
    return tuple(dict.fromkeys(value))


def _interval(value: Any) -> str:
    if not isinstance(value, str) or value not in INTERVALS:
        known = tuple(INTERVALS)
        raise Refusal("unknown_interval", f"unknown interval; known: {', '.join(known)}", "interval", known=known)
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_SNAPSHOT:
        raise Refusal(
            "invalid_field", f"snapshot is a whole number from 0 to {MAX_SNAPSHOT}", "snapshot", limit=MAX_SNAPSHOT
        )
    return value


def _by_symbol(value: Any, field: str, symbols: tuple[str, ...], convert: Any) -> dict[str, int] | None:
    """A value for each symbol, or, where it makes sense, one for all."""
    if value is None:
        return None
    if not isinstance(value, dict):
        if field == "resume":
            raise Refusal("invalid_field", "resume is an object, symbol to seq", field)
        return dict.fromkeys(symbols, convert(value))
    strange = next((name for name in value if name not in symbols), None)
    if strange is not None:
        raise Refusal("invalid_field", f"{field} names a symbol that is not in symbols", field)
    return {name: convert(each) for name, each in value.items()}


def _seq(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise Refusal("invalid_field", "a seq is a whole number from 0 to 2^53 - 1", "resume", limit=(1 << 53) - 1)
    return value


def _time(value: Any) -> int:
    if type(value) is int and value >= MIN_EVENT_US:
        return value
    if isinstance(value, str):
        try:
            return parse_time(value)
        except ValueError as error:
            raise Refusal("invalid_field", f"since: {error}", "since") from None
    raise Refusal("invalid_field", "since is RFC 3339 text, or a bar's start in microseconds", "since")
