"""Which provider's trades count, symbol by symbol: one at a time, with a seam where they change over.

Pure: ticks in, ticks to publish out. Each moment of event time belongs to one provider. At a change the new one takes
over after the last trade published of the old one; what it had brought since then was kept and is published at once.
Providers of one tape report the same trades with stamps that differ a little: near the seam such a pair is one trade.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from core.intervals import SECOND_US
from core.records import Tick
from producers.live.published import Published
from producers.live.sequence import is_ahead


@dataclass(frozen=True, slots=True)
class Seams:
    """How lanes change over."""

    lag_seconds: float = 5.0
    """The active provider is stale when another one of its tape has trades so much newer; less than bars wait."""
    market_lag_seconds: float = 30.0
    """The same for another market, where trades may just be rarer."""
    steady_seconds: float = 30.0
    """How long a better provider must bring trades again before it is gone back to; one of another market that has
    brought none for `market_lag_seconds` starts anew."""
    overlap_seconds: float = 30.0
    """Before and after a change, where trades of one tape are told apart by price, size and time."""
    tolerance_seconds: float = 1.0
    """How far two providers' stamps of one trade may differ."""
    kept_seconds: float = 120.0
    """How long the trades of a provider that stands by are kept."""


@dataclass(slots=True)
class _Source:
    """One provider of a symbol."""

    name: str
    tape: str
    waiting: deque[Tick] = field(default_factory=deque)
    newest_us: int = 0
    heard_us: int = -1
    """When it last brought a trade, by the wall clock; -1 for never since it was last down."""
    steady_since_us: int | None = None
    down: bool = False


@dataclass(slots=True)
class Change:
    """A change of provider, for logs and the record of gaps."""

    symbol: str
    before: str
    after: str
    at_us: int
    """The event time after which `after` counts."""
    cause: str


class Lane:
    """The providers of one symbol, the preferred one first, each with its tape ("" for a market of its own)."""

    def __init__(
        self,
        symbol: str,
        providers: Sequence[tuple[str, str]],
        seams: Seams = Seams(),
        *,
        tolerance_us: int = 5 * SECOND_US,
    ) -> None:
        """`tolerance_us`: a tick stamped so far ahead of its receipt is none, and moves nothing here."""
        if not providers:
            raise ValueError(f"{symbol}: no provider")
        self.symbol = symbol
        self._tolerance_us = tolerance_us
        self.changes: list[Change] = []
        self._seams = seams
        self._sources = {name: _Source(name, tape) for name, tape in providers}
        self._order = [name for name, _ in providers]
        self._active = self._order[0]
        # From this event time on, exclusive, the provider counts; the newest last.
        self._spans: deque[tuple[int, str]] = deque([(-1, self._active)], maxlen=256)
        self._published = Published(self._us(seams.kept_seconds))
        self._high_us = -1
        self._started_us: int | None = None

    @property
    def active(self) -> str:
        """The provider whose trades count now."""
        return self._active

    def begin_after(self, changes: Sequence[tuple[int, str, str]], last_us: int, last: str) -> None:
        """Whose time the past was: an earlier process changed over at these moments of event time, from one provider
        to another, and came to a trade of `last` at `last_us`. Only before the first tick."""
        known = [change for change in changes if change[1] in self._sources and change[2] in self._sources]
        spans = [(-1, known[0][1] if known else last), *((at_us, after) for at_us, _, after in known)]
        if spans[-1][1] != self._active:
            spans.append((max(last_us, spans[-1][0]), self._active))
        self._spans.clear()
        self._spans.extend(spans)
        self._high_us = last_us

    def take(self, provider: str, ticks: Sequence[Tick], now_us: int, *, live: bool = True) -> list[Tick]:
        """What of these ticks, in order of arrival, is to be published now.

        Those that are not `live` came over REST while the provider's connection is not well: no sign that it is.
        """
        source = self._sources[provider]
        out: list[Tick] = []
        for tick in ticks:
            if is_ahead(tick, self._tolerance_us):
                out += [tick] if provider == self._active else []  # to be refused, once, where all are judged
                continue
            if live and tick.kind == "trade":
                self._hear(source, tick, now_us)
            if self._counts(source, tick):
                out.append(self._publish(tick))
        return out + self._change_if_due(now_us)

    def mark_down(self, provider: str, down: bool, now_us: int) -> list[Tick]:
        """A provider's connection was lost, or is there again; what is to be published because of it."""
        source = self._sources[provider]
        source.down = down
        if down:
            source.steady_since_us, source.heard_us = None, -1
        return self._change_if_due(now_us)

    def check(self, now_us: int) -> list[Tick]:
        """Call it now and then: silence brings no tick that could trigger a change."""
        return self._change_if_due(now_us)

    def _hear(self, source: _Source, tick: Tick, now_us: int) -> None:
        source.down = False
        source.heard_us = now_us
        source.newest_us = max(source.newest_us, tick.event_us)

    def _counts(self, source: _Source, tick: Tick) -> bool:
        """Whether a tick is published; one of a provider that stands by is kept where it may be needed."""
        owner, seam_us = self._owner(tick.event_us)
        if owner == source.name:
            at_a_seam = self._near(tick, seam_us) or self._near(tick, self._next_seam(tick))
            return not (at_a_seam and self._taken(source, tick))
        if source.name != self._active and owner == self._active and tick.event_us > self._needed_from(source):
            self._keep(source, tick)
            return False
        # Around a seam, a trade of the same tape that the other one did not bring is a trade all the same.
        return (
            self._same_tape(source, owner) and self._near(tick, self._next_seam(tick)) and not self._taken(source, tick)
        )

    def _needed_from(self, source: _Source) -> int:
        """What a provider that stands by brought after this moment is wanted if it takes over now."""
        overlap = self._us(self._seams.overlap_seconds) if self._same_tape(source, self._active) else 0
        return self._high_us - overlap

    def _keep(self, source: _Source, tick: Tick) -> None:
        source.waiting.append(tick)
        oldest = tick.event_us - self._us(self._seams.kept_seconds)
        while source.waiting and source.waiting[0].event_us < oldest:
            source.waiting.popleft()

    def _publish(self, tick: Tick) -> Tick:
        self._published.add(tick)
        self._high_us = max(self._high_us, tick.event_us)
        return tick

    def _taken(self, source: _Source, tick: Tick) -> bool:
        """Whether another provider of the tape has brought this trade already; each one stands for one."""

        def counts(other: Tick) -> bool:
            return other.source != source.name and self._same_tape(source, other.source)

        return self._published.take(tick, self._us(self._seams.tolerance_seconds), counts)

    def _change_if_due(self, now_us: int) -> list[Tick]:
        self._started_us = now_us if self._started_us is None else self._started_us
        self._judge(now_us)
        wanted, cause = self._wanted(now_us)
        if wanted == self._active:
            return []
        self.changes.append(Change(self.symbol, self._active, wanted, self._high_us, cause))
        self._active = wanted
        self._spans.append((self._high_us, wanted))
        source = self._sources[wanted]
        waiting, source.waiting = list(source.waiting), deque()
        return [self._publish(tick) for tick in waiting if self._counts(source, tick)]

    def _judge(self, now_us: int) -> None:
        """Note since when each provider has kept up: trades since it was down, and as new as what is published."""
        for source in self._sources.values():
            keeps_up = not source.down and source.heard_us >= 0
            if keeps_up and source.name != self._active:
                keeps_up = self._is_current(source, now_us)
            if not keeps_up:
                source.steady_since_us = None
            elif source.steady_since_us is None:
                source.steady_since_us = now_us

    def _is_current(self, source: _Source, now_us: int) -> bool:
        """Whether a provider that stands by has trades as new as those published, or of another market new ones."""
        if self._same_tape(source, self._active):
            return source.newest_us >= self._high_us - self._us(self._seams.lag_seconds)
        return now_us - source.heard_us <= self._us(self._seams.market_lag_seconds)

    def _wanted(self, now_us: int) -> tuple[str, str]:
        """The provider to follow now, and why."""
        active, place = self._sources[self._active], self._order.index(self._active)
        steady = self._us(self._seams.steady_seconds)
        for name in self._order[:place]:
            since = self._sources[name].steady_since_us
            if since is not None and now_us - since >= steady:
                return name, "healthy again"
        others = [self._sources[name] for name in self._order if name != self._active]
        if active.down:
            return next(((other.name, "connection lost") for other in others if not other.down), (self._active, ""))
        stale = (other for other in others if not other.down and self._is_behind(active, other, now_us))
        return next(((other.name, "stale") for other in stale), (self._active, ""))

    def _is_behind(self, active: _Source, other: _Source, now_us: int) -> bool:
        seams = self._seams
        lag = self._us(seams.lag_seconds if self._same_tape(active, other.name) else seams.market_lag_seconds)
        silent_since = max(active.heard_us, self._started_us or 0)
        return other.newest_us > max(self._high_us, 0) + lag and now_us - silent_since > lag

    def _owner(self, event_us: int) -> tuple[str, int]:
        """Whose moment this is, and where that provider's time began."""
        for begin_us, name in reversed(self._spans):
            if event_us > begin_us:
                return name, begin_us
        return self._spans[0][1], self._spans[0][0]

    def _next_seam(self, tick: Tick) -> int:
        """The first seam at or after a tick, -1 for none."""
        return next((begin_us for begin_us, _ in self._spans if begin_us >= tick.event_us), -1)

    def _near(self, tick: Tick, seam_us: int) -> bool:
        return seam_us >= 0 and abs(tick.event_us - seam_us) <= self._us(self._seams.overlap_seconds)

    def _same_tape(self, source: _Source, other: str) -> bool:
        return bool(source.tape) and source.tape == self._sources[other].tape

    @staticmethod
    def _us(seconds: float) -> int:
        return int(seconds * SECOND_US)
