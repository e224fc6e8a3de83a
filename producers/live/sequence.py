"""What came before: repeats are known by it, and where ids are counted, so is what is missing."""

from bisect import bisect_right

from core.bars import identity
from core.records import Tick

MOST_HOLES = 10_000
RECENT = 5_000

Range = tuple[int, int]


class Ids:
    """The counted ids of one symbol: all from `first` to `last`, but for `holes`, both ends of each included.

    Bounded by the number of holes, not of ids; of more than MOST_HOLES the lowest are forgotten, as if they had come.

    >>> ids = Ids()
    >>> [ids.take(number) for number in (5, 6, 9, 6, 8, 8)]
    [True, True, True, False, True, False]
    >>> ids.holes
    [(7, 7)]
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.last = 0
        self.holes: list[Range] = []

    def jump(self, number: int) -> Range | None:
        """The ids that would be missing if this one came now."""
        return (self.last + 1, number - 1) if self.first is not None and number > self.last + 1 else None

    def take(self, number: int) -> bool:
        """Whether the id has not come before; it has come now."""
        if self.first is None:
            self.first = self.last = number
        elif number > self.last:
            if number > self.last + 1:
                self._lack(len(self.holes), (self.last + 1, number - 1))
            self.last = number
        elif number < self.first:  # older than the first we were given: nothing is missing for it
            if number < self.first - 1:
                self._lack(0, (number + 1, self.first - 1))
            self.first = number
        else:
            return self._close(number)
        return True

    def expect(self, first: int, last: int) -> None:
        """Count these ids as missing: an earlier process did not get them. Those in between count with them."""
        if self.first is None:
            self.first, self.last, self.holes = first, last, [(first, last)]
        elif first > self.last:
            self._lack(len(self.holes), (self.last + 1, last))
            self.last = last
        elif last < self.first:
            self._lack(0, (first, self.first - 1))
            self.first = first

    def lacking(self, first: int, last: int) -> list[Range]:
        """The holes within these ids, cut to them."""
        place = max(0, bisect_right(self.holes, first, key=lambda hole: hole[0]) - 1)
        found: list[Range] = []
        for low, high in self.holes[place:]:
            if low > last:
                break
            if high >= first:
                found.append((max(low, first), min(high, last)))
        return found

    def _lack(self, place: int, hole: Range) -> None:
        self.holes.insert(place, hole)
        if len(self.holes) > MOST_HOLES:
            del self.holes[0]

    def _close(self, number: int) -> bool:
        place = bisect_right(self.holes, number, key=lambda hole: hole[0]) - 1
        if place < 0 or self.holes[place][1] < number:
            return False
        low, high = self.holes[place]
        self.holes[place : place + 1] = [part for part in ((low, number - 1), (number + 1, high)) if part[0] <= part[1]]
        return True


class Recent:
    """The identities of the latest RECENT ticks of one symbol."""

    def __init__(self, most: int = RECENT) -> None:
        self._most = most
        self._seen: dict[tuple[object, ...], None] = {}

    def take(self, tick: Tick) -> bool:
        """Whether the tick is not among them; it is now."""
        own = identity(tick)
        if tick.kind != "trade":  # a trade may be corrected more than once
            own = (tick.kind, *own, tick.event_us, tick.price, tick.size)
        if own in self._seen:
            return False
        self._seen[own] = None
        if len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]
        return True


def is_ahead(tick: Tick, tolerance_us: int) -> bool:
    """Whether a tick is stamped in the future, as of when it came: it will be refused, and no time is told by it."""
    return tick.event_us > tick.received_us + tolerance_us


class Line:
    """What a stream knows of one symbol."""

    def __init__(self) -> None:
        self.ids = Ids()
        self.recent = Recent()
        self.last_us: int | None = None
        """Event time of the latest tick; of the highest id, where ids are counted."""
        self.interrupted = ""
        """Why the connection ended, until the symbol's next tick shows what that cost."""

    def reached(self, event_us: int) -> None:
        self.last_us = event_us if self.last_us is None else max(self.last_us, event_us)
