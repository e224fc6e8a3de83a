"""What a stream carries: a published bar or event, and its update as a frame, made once for all who get it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from api.ws.frames import frame
from core.errors import InputError

BARS, INDICATORS = "bars", "indicators"
TICKS, PREDICTIONS, ANOMALIES = "ticks", "predictions", "anomalies"
FORMING, AMENDED = "forming", "amended"
_INDICATORS_KEY = b',"indicators":{'


class _BarHead(msgspec.Struct):
    """What is needed of a bar's JSON."""

    start: int
    end: int
    rev: int
    state: str
    seq: int = 0
    relayed_us: int | None = None
    last_offset: int | None = None
    close_us: int | None = None
    received_us: int | None = None
    processed_us: int | None = None


class _EventHead(msgspec.Struct):
    stream_seq: int
    event_us: int
    interval: str = ""
    received_us: int | None = None
    relayed_us: int | None = None


class _LastHead(msgspec.Struct):
    event_us: int
    interval: str


@dataclass(frozen=True, slots=True)
class Events:
    """A channel of events by symbol, published on the Redis channel `{prefix}:{symbol}`.

    `kept`: Redis has the last one of each interval under the key `{prefix}:{symbol}:{interval}`. `droppable`: when too
    many wait for a client, they are left out and counted.
    """

    prefix: str
    kept: bool = True
    droppable: bool = False


EVENTS: dict[str, Events] = {
    TICKS: Events("tick", kept=False, droppable=True),
    PREDICTIONS: Events("prediction"),
    ANOMALIES: Events("anomaly"),
}

_bar_head = msgspec.json.Decoder(_BarHead)
_event_head = msgspec.json.Decoder(_EventHead)
_last_head = msgspec.json.Decoder(_LastHead)


@dataclass(frozen=True, slots=True)
class Stream:
    """What one can subscribe to; `interval` is empty for events. `opening` is how each of its updates begins."""

    channel: str
    symbol: str
    interval: str
    opening: bytes
    droppable: bool

    @classmethod
    def of(cls, channel: str, symbol: str, interval: str) -> "Stream":
        named = {"type": "update", "channel": channel, "symbol": symbol}
        if interval:
            named["interval"] = interval
        opening = msgspec.json.encode(named)[:-1] + b',"seq":'
        return cls(channel, symbol, interval, opening, channel in EVENTS and EVENTS[channel].droppable)


class Item(Protocol):
    """One published message."""

    start: int
    seq: int
    size: int
    conflates: bool

    def update(self, stream: Stream, prev_seq: int, fresh: bool = False, dropped: int = 0) -> bytes: ...


class _Framed:
    """Updates with the frame remembered that nearly all clients get: those that got the message before."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], bytes] = {}

    def update(self, stream: Stream, prev_seq: int, fresh: bool = False, dropped: int = 0) -> bytes:
        """The frame for a client whose last seq of this stream was `prev_seq`; `fresh` stamps it with now."""
        if fresh or dropped:
            return self._make(stream, prev_seq, dropped)
        key = (stream.channel, prev_seq)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._make(stream, prev_seq, 0)
        return found

    def _make(self, stream: Stream, prev_seq: int, dropped: int) -> bytes:
        raise NotImplementedError


class BarItem(_Framed):
    """A bar as it was published or stored; `seq` 0 where it came from the database alone.

    `restated`: of what was known only its indicators are new.
    """

    __slots__ = ("bar", "conflates", "end", "indicators", "offset", "restated", "rev", "seq", "size", "stamps",
                 "start", "state")  # fmt: skip

    def __init__(self, payload: bytes) -> None:
        super().__init__()
        try:
            head = _bar_head.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"not a published bar: {error}") from None
        self.seq, self.start, self.end, self.rev, self.state = head.seq, head.start, head.end, head.rev, head.state
        self.offset = -1 if head.last_offset is None else head.last_offset
        self.conflates = head.state == FORMING
        self.restated = False
        self.size = len(payload)
        self.bar, self.indicators = _parts(payload, head.seq)
        self.stamps = b'{"event_us":%b,"received_us":%b,"processed_us":%b,"relayed_us":%b' % (
            _number(head.close_us),
            _number(head.received_us),
            _number(head.processed_us),
            _number(head.relayed_us),
        )

    def newer_than(self, other: "BarItem | None") -> bool:
        """As Redis compares two rows of one start."""
        return other is None or (self.rev, self.offset) > (other.rev, other.offset)

    def restates(self, other: "BarItem | None") -> bool:
        """Whether it is that very row, published again with other indicators (docs/decisions/0008)."""
        if other is None or self.seq <= other.seq or self.indicators is None:
            return False
        return (self.rev, self.offset) == (other.rev, other.offset) and self.indicators != other.indicators

    def concerns(self, channel: str) -> bool:
        """Whether it tells the followers of a channel anything."""
        return not self.restated if channel == BARS else self.indicators is not None

    def shown(self, channel: str) -> bytes | None:
        """The JSON that a channel shows of it; None where there is nothing to show."""
        if channel == BARS:
            return self.bar
        if self.indicators is None:
            return None
        return b'{"start":%d,"end":%d,"rev":%d,"state":"%b","values":%b}' % (
            self.start,
            self.end,
            self.rev,
            self.state.encode(),
            self.indicators,
        )

    def _make(self, stream: Stream, prev_seq: int, dropped: int) -> bytes:
        return frame(
            b'%b%d,"prev_seq":%d%b,"rev":%d,"state":"%b","data":%b,"stamps":%b,"sent_us":%d}}'
            % (
                stream.opening,
                self.seq,
                prev_seq,
                _dropped(dropped),
                self.rev,
                self.state.encode(),
                self.shown(stream.channel) or b"null",
                self.stamps,
                time.time_ns() // 1000,
            )
        )


class LastEvent:
    """The last event of an interval as Redis keeps it, without a number."""

    __slots__ = ("event_us", "interval", "size", "text")

    def __init__(self, payload: bytes) -> None:
        try:
            head = _last_head.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"not an event: {error}") from None
        self.event_us, self.interval, self.size, self.text = head.event_us, head.interval, len(payload), payload

    def shown(self, channel: str) -> bytes | None:  # noqa: ARG002
        return self.text


class EventItem(_Framed):
    """An event as it was published. Never conflated."""

    __slots__ = ("conflates", "event_us", "interval", "seq", "size", "stamps", "start", "text")

    def __init__(self, payload: bytes) -> None:
        super().__init__()
        try:
            head = _event_head.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"not a published event: {error}") from None
        self.seq, self.conflates, self.size = head.stream_seq, False, len(payload)
        self.start = -1
        self.event_us, self.interval = head.event_us, head.interval
        self.text = _bare(payload)
        self.stamps = b'{"event_us":%d,"received_us":%b,"processed_us":null,"relayed_us":%b' % (
            head.event_us,
            _number(head.received_us),
            _number(head.relayed_us),
        )

    def shown(self, channel: str) -> bytes | None:  # noqa: ARG002
        return self.text

    def _make(self, stream: Stream, prev_seq: int, dropped: int) -> bytes:
        return frame(
            b'%b%d,"prev_seq":%d%b,"data":%b,"stamps":%b,"sent_us":%d}}'
            % (
                stream.opening,
                self.seq,
                prev_seq,
                _dropped(dropped),
                self.text,
                self.stamps,
                time.time_ns() // 1000,
            )
        )


Shown = BarItem | EventItem | LastEvent
"""What a snapshot can hold."""


class Snapshot:
    """Bars or events that a stream shows at once, as of `seq`, in place of updates; `mode` says why.

    `fresh`: what was asked for; `resume`: what came since the client's seq; `resync`: what the server itself missed.
    """

    conflates = False
    start = -1

    def __init__(self, seq: int, bars: Sequence[Shown], mode: str, **more: Any) -> None:
        self.seq = seq
        self.size = 100 + sum(bar.size for bar in bars)
        self._bars, self._mode, self._more = bars, mode, more

    def update(self, stream: Stream, prev_seq: int, fresh: bool = False, dropped: int = 0) -> bytes:  # noqa: ARG002
        named = {"type": "snapshot", "channel": stream.channel, "symbol": stream.symbol}
        if stream.interval:
            named["interval"] = stream.interval
        said = {**named, **self._more, "mode": self._mode, "seq": self.seq}
        shown = (bar.shown(stream.channel) for bar in self._bars)
        data = b",".join(text for text in shown if text is not None)
        return frame(b'%b,"data":[%b]}' % (msgspec.json.encode(said)[:-1], data))


def _parts(payload: bytes, seq: int) -> tuple[bytes, bytes | None]:
    """The bar, and its indicators, which are the last key where there are any."""
    text = _bare(payload) if seq else payload
    # Inside a JSON string the quotes would be escaped, so this is the key and nothing else.
    bar, key, values = text.rpartition(_INDICATORS_KEY)
    return (bar + b"}", b"{" + values[:-1]) if key else (text, None)


def _bare(payload: bytes) -> bytes:
    """Without the number and `relayed_us`, which are the first keys of what is published."""
    return b"{" + payload[payload.index(b",", payload.index(b",") + 1) + 1 :]


def _number(value: int | None) -> bytes:
    return b"null" if value is None else b"%d" % value


def _dropped(count: int) -> bytes:
    return b',"dropped":%d' % count if count else b""
