"""What a worker knows of one stream: the newest bars or events, and a bounded ring to resume from."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from api.ws.items import AMENDED, BARS, EVENTS, INDICATORS, BarItem, EventItem, LastEvent, Stream

if TYPE_CHECKING:
    from api.ws.client import Client, Subscription

NEWEST_BARS = 32
RING_ITEMS = 256
RING_EVENTS = 1_000


class Book:
    """Of bars. `last_seq` is that of the newest message, 0 for none.

    It is `opened` once the tail was read; what comes before waits.
    """

    channels: tuple[str, ...] = (BARS, INDICATORS)

    def __init__(self, symbol: str, interval: str) -> None:
        self.symbol, self.interval = symbol, interval
        self.streams = {name: Stream.of(name, symbol, interval) for name in self.channels}
        self.followers: dict[str, dict[Client, Subscription]] = {name: {} for name in self.channels}
        self.last_seq = 0
        self.opened = asyncio.Event()
        self.newest: dict[int, BarItem] = {}
        # From this start on none is missing. An amended bar can be older, with others missing behind it.
        self._unbroken: int | None = None
        # By channel the start from which the database was read too; what was evicted since is known no more.
        self._complete: dict[str, int] = {}
        self._evicted = -1
        self._waiting: list[bytes] = []
        self._ring: deque[BarItem] = deque()
        self._floor = 0

    @property
    def redis_channel(self) -> bytes:
        return f"bar:{self.symbol}:{self.interval}".encode()

    @property
    def followed(self) -> bool:
        return any(self.followers.values())

    def take(self, payload: bytes) -> tuple[BarItem | None, bool]:
        """A published message: the item to send on, None when it is no news, and whether others were missed."""
        if not self.opened.is_set():
            self._waiting.append(payload)
            return None, False
        item = BarItem(payload)
        if item.seq <= self.last_seq:
            return None, False
        missed = self.last_seq > 0 and item.seq > self.last_seq + 1
        self.last_seq = item.seq
        held = self.newest.get(item.start)
        item.restated = item.restates(held)
        if not (item.restated or item.newer_than(held)):
            return None, missed  # a Redis that lost its last second is told again what it knew
        self._keep(item)
        return item, missed

    def begin(self, seq: int, bars: Iterable[BarItem]) -> list[bytes]:
        """Start from the tail as of `seq`; the messages that came meanwhile, to be taken now."""
        self.last_seq = self._floor = max(seq, self.last_seq)
        self.add(bars)
        self.opened.set()
        waiting, self._waiting = self._waiting, []
        return waiting

    def add(self, bars: Iterable[BarItem]) -> list[BarItem]:
        """Bars from a store; those that were not known, by start. What was sent meanwhile stays newer."""
        fresh = []
        for bar in sorted(bars, key=lambda each: each.start):
            held = self.newest.get(bar.start)
            if bar.newer_than(held) or bar.restates(held):
                fresh.append(bar)
                self._keep(bar, ring=False)
            elif held is not None and held.rev == bar.rev and held.indicators is None and bar.indicators is not None:
                held.indicators = bar.indicators
        return fresh

    def recover(self, seq: int, bars: Iterable[BarItem]) -> list[BarItem]:
        """The tail as of `seq` after messages may have been missed; the bars of it that were not known."""
        missed = self.add(bars)
        self.last_seq = max(seq, self.last_seq)
        return self._beside_the_ring(missed)

    def wanted(self, channel: str) -> str:
        """The channel to read the database for: with indicators where somebody follows them, for all may be told."""
        return INDICATORS if self.followers[INDICATORS] else channel

    def learn(self, bars: Sequence[BarItem]) -> list[BarItem]:
        """What a snapshot has read of the database, ascending up to the newest; the bars of it that followers may lack.

        Where the database was ahead of Redis, the message that is to come will be no news here.
        """
        oldest = 0 if self._unbroken is None else self._unbroken
        late = [bar for bar in self.add(bars) if bar.start >= oldest and self.newest.get(bar.start) is bar]
        if bars:
            self._reach_back(bars[0].start)
        return self._beside_the_ring(late)

    def since_seq(self, seq: int) -> list[BarItem] | None:
        """What came after `seq`, as far as it is not superseded; None when the ring does not reach back."""
        if not self._floor <= seq <= self.last_seq:
            return None
        found = [item for item in self._ring if item.seq > seq]
        return found + [item for item in self.newest.values() if item.conflates and item.seq > seq]

    def last(self, count: int, channel: str = BARS) -> list[BarItem] | None:
        """The last `count` bars that are closed and what is forming after them; None when it knows too few.

        Or too little of them: bars that the database was read for may have come without their indicators.
        """
        bars = self.unbroken()
        closed = [place for place, bar in enumerate(bars) if not bar.conflates]
        if len(closed) < count:
            return None
        found = bars[closed[-count] :] if count else [bar for bar in bars[-1:] if bar.conflates]
        if channel == INDICATORS and any(not bar.seq and bar.indicators is None for bar in found):
            return None
        return found

    def last_closed(self) -> int | None:
        """The newest start that is closed, or else the oldest one it knows."""
        closed = [start for start, bar in self.newest.items() if not bar.conflates]
        return max(closed) if closed else min(self.newest, default=None)

    def unbroken(self) -> list[BarItem]:
        """The bars that it knows up to the newest, without one missing between them."""
        return [] if self._unbroken is None else self.since(self._unbroken)

    def since(self, start: int) -> list[BarItem]:
        """The bars that it knows from this start on."""
        return [self.newest[each] for each in sorted(self.newest) if each >= start]

    def completed(self, channel: str, start: int) -> None:
        """All bars of the database from this start on were added."""
        self._complete[channel] = min(start, self._complete.get(channel, start))
        self._reach_back(start)

    def doubt(self) -> None:
        """Messages may have been missed: what was complete may be so no more."""
        self._complete.clear()

    def reaches(self, start: int, channel: str) -> bool:
        """Whether it knows all bars from this start on."""
        return channel in self._complete and start >= self._complete[channel] and start > self._evicted

    def _reach_back(self, start: int) -> None:
        """No bar from this start on is missing."""
        self._unbroken = start if self._unbroken is None else min(start, self._unbroken)

    def _beside_the_ring(self, bars: list[BarItem]) -> list[BarItem]:
        """Bars that came without a number: who is away while the others are told must not resume behind them."""
        if bars:
            self._ring.clear()
            self._floor = self.last_seq + 1
        return bars

    def _keep(self, item: BarItem, ring: bool = True) -> None:
        self.newest[item.start] = item
        if self._unbroken is None and item.state != AMENDED:
            self._unbroken = item.start
        while len(self.newest) > NEWEST_BARS:
            oldest = min(self.newest)
            del self.newest[oldest]
            self._evicted = max(self._evicted, oldest)  # an amended bar can be older than what went before
        if ring and not item.conflates:
            self._ring.append(item)
            if len(self._ring) > RING_ITEMS:
                self._floor = self._ring.popleft().seq


class EventBook:
    """Of events: the ring, and where Redis keeps it, the last one of each interval. `opened` once that was read."""

    interval = ""

    def __init__(self, channel: str, symbol: str) -> None:
        self.channel, self.symbol = channel, symbol
        self.kind = EVENTS[channel]
        self.streams = {channel: Stream.of(channel, symbol, "")}
        self.followers: dict[str, dict[Client, Subscription]] = {channel: {}}
        self.last_seq = 0
        self.opened = asyncio.Event()
        self.newest: dict[str, EventItem | LastEvent] = {}
        self._ring: deque[EventItem] = deque()
        self._floor = 0

    @property
    def redis_channel(self) -> bytes:
        return f"{self.kind.prefix}:{self.symbol}".encode()

    @property
    def followed(self) -> bool:
        return any(self.followers.values())

    def take(self, payload: bytes) -> tuple[EventItem | None, bool]:
        """As `Book.take`; the first message says what the numbers begin with."""
        item = EventItem(payload)
        if item.seq <= self.last_seq:
            return None, False
        missed = self.last_seq > 0 and item.seq > self.last_seq + 1
        if missed or not self.last_seq:
            self._ring.clear()
            self._floor = item.seq - 1
        self.last_seq = item.seq
        self._ring.append(item)
        if len(self._ring) > RING_EVENTS:
            self._floor = self._ring.popleft().seq
        if self.kind.kept:
            self.newest[item.interval] = item
        return item, missed

    def add(self, held: Iterable[LastEvent]) -> list[LastEvent]:
        """The last events as Redis has them; those that no message has brought. What was published stays newer."""
        fresh = []
        for event in held:
            known = self.newest.get(event.interval)
            if known is None or (event.event_us >= known.event_us and event.text != known.text):
                self.newest[event.interval] = event
                fresh.append(event)
        return fresh

    def last(self) -> list[EventItem | LastEvent]:
        """The last event of each interval, the shortest interval first."""
        return sorted(self.newest.values(), key=lambda event: (len(event.interval), event.interval))

    def since_seq(self, seq: int) -> list[EventItem] | None:
        if not self.last_seq or not self._floor <= seq <= self.last_seq:
            return None
        return [item for item in self._ring if item.seq > seq]


AnyBook = Book | EventBook
