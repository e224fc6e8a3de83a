"""One socket: what it follows, and what waits for it while it is busy."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from api.ws.frames import encode
from api.ws.items import Item, Stream

SLOW = 1013
"""Close code for a slow consumer: it may come back, and resume."""
GOING_AWAY = 1001
POLICY = 1008


class Writer(Protocol):
    """The way out. `write` hands over whole frames; while `idle` is False they should rather wait."""

    idle: bool
    on_idle: Callable[[], None]
    on_lost: Callable[[], None]

    def write(self, frames: list[bytes]) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def abort(self) -> None: ...


@dataclass(slots=True, eq=False)
class Subscription:
    """A stream that a client follows; `seq` is the last one sent, `dropped` counts events that were not."""

    client: "Client"
    stream: Stream
    seq: int
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What may wait for one client, and for how long."""

    frames: int = 10_000
    bytes: int = 8_000_000
    stall_seconds: float = 30.0
    drain_seconds: float = 3.0


@dataclass(slots=True)
class Counters:
    """What happened to the clients of a worker."""

    sent: int = 0
    conflated: int = 0
    dropped: int = 0
    slow_closes: int = 0
    resyncs: int = 0
    refused: int = 0
    malformed: int = 0
    bytes: int = 0
    connections_total: int = 0


@dataclass(slots=True, eq=False)
class _Waiting:
    """What could not be sent at once, in order: a forming bar has one place, everything else one each."""

    entries: dict[object, tuple[Subscription | None, Any]] = field(default_factory=dict)
    bytes: int = 0


class Client:
    """Frames of a free socket go out with the batch that brought them; those of a busy one wait here."""

    def __init__(self, writer: Writer, limits: Limits, counters: Counters) -> None:
        self.subscriptions: dict[tuple[str, str, str], Subscription] = {}
        self.out: list[bytes] = []
        self.busy = False
        self.closing = False
        self.since = time.monotonic()
        self._writer = writer
        self._limits = limits
        self._counters = counters
        self._waiting = _Waiting()
        self._final_close: tuple[int, str] | None = None
        self._busy_since = 0.0
        writer.on_idle = self._on_idle
        writer.on_lost = self._on_lost

    @property
    def waiting(self) -> int:
        """How many frames wait."""
        return len(self._waiting.entries)

    async def room(self, most: int = 256_000) -> None:
        """Until no more than so many bytes wait, or the socket closes."""
        while self._waiting.bytes > most and not self.closing:
            await asyncio.sleep(0.02)

    def offer(self, subscription: Subscription, item: Item) -> None:
        """An item for a busy client."""
        if self.closing or self._final_close is not None:
            return
        entries = self._waiting.entries
        # A bar that waits while it is forming is replaced by what it has become, behind everything before.
        forming = (subscription, item.start)
        replaced = entries.pop(forming, None)
        if replaced is not None:
            self._counters.conflated += 1
            self._waiting.bytes -= replaced[1].size
        if not subscription.stream.droppable or len(entries) < self._limits.frames:
            entries[forming if item.conflates else object()] = (subscription, item)
            self._waiting.bytes += item.size
            self._check()
        else:
            subscription.dropped += 1
            self._counters.dropped += 1

    def flush_out(self) -> None:
        """Write what a batch has put into `out`."""
        out, self.out = self.out, []
        self._counters.sent += len(out)
        self._write(out)

    def send(self, framed: bytes) -> None:
        """A frame that is neither conflated nor dropped, behind all that waits."""
        if self.closing:
            return
        if self.busy:
            self._waiting.entries[object()] = (None, framed)
            self._waiting.bytes += len(framed)
            self._check()
        else:
            self._write([framed])

    def forget(self, subscription: Subscription) -> None:
        """Drop what waits of a subscription that ends."""
        entries = self._waiting.entries
        for key in [key for key, (owner, _) in entries.items() if owner is subscription]:
            self._waiting.bytes -= entries.pop(key)[1].size

    def finish(self, message: dict[str, Any], code: int, reason: str) -> None:
        """Say why, send what waits, close; after the deadline without waiting any longer."""
        if self.closing:
            return
        self.send(encode(message))
        if not self.busy:
            self._close(code, reason)
        elif not self.closing:
            self._final_close = (code, reason)

    def give_up(self) -> None:
        """The consumer is too slow: drop what waits, say so, close."""
        if self.closing:
            return
        waiting = len(self._waiting.entries)
        self._waiting = _Waiting()
        self._counters.slow_closes += 1
        text = "it did not read what it had subscribed to; connect again and resume, with since for what is older"
        self._writer.write([encode({"type": "slow_consumer", "message": text, "waiting": waiting})])
        self._close(SLOW, "slow consumer")

    def check_stall(self, now: float) -> None:
        """Give up on a client that has not read anything for too long."""
        if self.busy and not self.closing and now - self._busy_since > self._limits.stall_seconds:
            self.give_up()

    def abort_unless_closed(self) -> None:
        """The deadline of `finish` has passed."""
        if not self.closing:
            self.closing = True
            self._writer.abort()

    def _on_lost(self) -> None:
        self.closing = True

    def _check(self) -> None:
        if self._waiting.bytes > self._limits.bytes or len(self._waiting.entries) > 2 * self._limits.frames:
            self.give_up()

    def _close(self, code: int, reason: str) -> None:
        self.closing = True
        self._writer.close(code, reason)

    def _write(self, frames: list[bytes]) -> None:
        self._counters.bytes += sum(map(len, frames))
        self._writer.write(frames)
        if not self._writer.idle and not self.busy:
            self.busy, self._busy_since = True, time.monotonic()

    def _on_idle(self) -> None:
        """The socket has taken everything: what has waited goes out in one write."""
        self.busy = False
        if self.closing:
            return
        if self._waiting.entries:
            waiting, self._waiting = self._waiting, _Waiting()
            self._write(list(self._frames(waiting.entries.values())))
        if self._final_close is not None and not self.busy:
            self._close(*self._final_close)

    def _frames(self, entries: Iterable[tuple[Subscription | None, Any]]) -> Iterable[bytes]:
        for subscription, item in entries:
            if subscription is None:
                yield item
                continue
            self._counters.sent += 1
            # What was dropped is told where it is missing, behind what had waited before it.
            gap = item.seq > subscription.seq + 1
            yield item.update(subscription.stream, subscription.seq, True, subscription.dropped if gap else 0)
            subscription.dropped = 0 if gap else subscription.dropped
            subscription.seq = item.seq
