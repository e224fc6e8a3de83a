"""What a feed says afterwards of trades that it sent: corrections, corrections of those, cancels, some of it twice."""

import heapq
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from core.intervals import MINUTE_US, SECOND_US, Interval
from core.records import Tick
from producers.market import PRICE_SCALE, SIZE_SCALE

Key = tuple[str, str, int]
DELAY_US = (1 * SECOND_US, 300 * SECOND_US)
AGAIN, TWICE, AFTER_ALL = 0.3, 0.1, 0.2
# Of a minute so many trades stay for each that is cancelled, so that a bar is never left without one.
STAY = 3


class Amendments:
    """Draws what is to be said; what was said is noted, and nothing else. Times in epoch microseconds."""

    def __init__(self, seed: int, corrected: float, cancelled: float) -> None:
        self._rng = random.Random(seed)
        self._corrected, self._cancelled = corrected, cancelled
        self._waiting: list[tuple[int, int, Tick]] = []
        self._number = 0
        self._of_minute: Counter[tuple[str, int]] = Counter()
        self._taken: Counter[tuple[str, int]] = Counter()
        self._said: dict[tuple[str, str | None], Tick] = {}
        self._gone: set[tuple[str, str | None]] = set()
        self.counts: Counter[str] = Counter()
        """Records by kind, repeats among them."""
        self.distinct = 0
        """Those that were no repeat."""

    def sent(self, tick: Tick, now_us: int) -> None:
        """A trade was sent; perhaps something will be said of it."""
        minute = tick.symbol, tick.event_us // MINUTE_US
        self._of_minute[minute] += 1
        drawn = self._rng.random()
        if drawn < self._corrected:
            self._correct(tick, now_us)
        elif drawn < self._corrected + self._cancelled and (self._of_minute[minute] > STAY * (self._taken[minute] + 1)):
            self._taken[minute] += 1
            self._cancel(tick, now_us)

    def due(self, now_us: int) -> Iterator[Tick]:
        """What is to be said by now, in order; each counts as said once it was taken."""
        while self._waiting and self._waiting[0][0] <= now_us:
            _, _, record = heapq.heappop(self._waiting)
            self._note(record)
            yield record

    def applied(self, ticks: Iterable[Tick]) -> list[Tick]:
        """Trades as they stand after all that was said."""
        left = (tick for tick in ticks if _named(tick) not in self._gone)
        return [self._told(tick) for tick in left]

    def bars(self, ticks: Iterable[Tick], intervals: Sequence[Interval]) -> dict[str, set[Key]]:
        """By reason, the bars in which a trade was cancelled or corrected; `must`: those that cannot be final ones.

        A corrected trade is in its bar with the first price, or was late; a cancelled one may have been late.
        """
        found: dict[str, set[Key]] = {"cancel": set(), "correction": set(), "must": set()}
        for tick in ticks:
            named = _named(tick)
            keys = {(tick.symbol, each.name, tick.event_us - tick.event_us % each.us) for each in intervals}
            if named in self._gone:
                found["cancel"] |= keys
            if named in self._said:
                found["correction"] |= keys
                found["must"] |= keys if named not in self._gone else set()
        return found

    def _correct(self, tick: Tick, now_us: int) -> None:
        at_us = self._plan(self._correction(tick), now_us)
        if self._rng.random() < AGAIN:
            self._plan(self._correction(tick), at_us)

    def _cancel(self, tick: Tick, now_us: int) -> None:
        at_us = self._plan(msgspec.structs.replace(tick, kind="cancel", price=None, size=None), now_us)
        if self._rng.random() < AFTER_ALL:
            self._plan(self._correction(tick), at_us)  # a cancel holds whatever else is said

    def _correction(self, tick: Tick) -> Tick:
        """Another price and size, in the steps of the simulator."""
        price = round(float(tick.price or 0) * PRICE_SCALE) + self._rng.randint(1, 500)
        size = round(float(tick.size or 0) * SIZE_SCALE) + self._rng.randint(0, 500)
        return msgspec.structs.replace(
            tick, kind="correct", price=f"{price / PRICE_SCALE:.2f}", size=f"{size / SIZE_SCALE:.4f}"
        )

    def _plan(self, record: Tick, after_us: int) -> int:
        at_us = after_us + self._rng.randint(*DELAY_US)
        placed = msgspec.structs.replace(record, event_us=at_us, received_us=at_us)
        self._push(at_us, placed)
        if self._rng.random() < TWICE:
            self._push(at_us + self._rng.randint(*DELAY_US), placed)
        return at_us

    def _push(self, at_us: int, record: Tick) -> None:
        self._number += 1
        heapq.heappush(self._waiting, (at_us, self._number, record))

    def _note(self, record: Tick) -> None:
        self.counts[record.kind] += 1
        named = _named(record)
        if record.kind == "cancel":
            self.distinct += named not in self._gone
            self._gone.add(named)
            return
        known = self._said.get(named)
        if known is None or known.received_us < record.received_us:
            self._said[named] = record
            self.distinct += 1

    def _told(self, tick: Tick) -> Tick:
        said = self._said.get(_named(tick))
        return tick if said is None else msgspec.structs.replace(tick, price=said.price, size=said.size)


def _named(tick: Tick) -> tuple[str, str | None]:
    return tick.symbol, tick.trade_id
