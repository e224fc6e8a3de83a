"""What was published of late, found by price and size."""

from collections import deque
from collections.abc import Callable

from core.records import Tick

Key = tuple[str | None, str | None]


class Published:
    """Published ticks of one symbol, of the last `kept_us` microseconds of event time."""

    def __init__(self, kept_us: int) -> None:
        self._kept_us = kept_us
        self._newest_us = -1
        self._order: deque[Tick] = deque()
        self._alike: dict[Key, deque[Tick]] = {}  # without those that were taken; each in order of publication

    def __len__(self) -> int:
        return sum(map(len, self._alike.values()))

    def add(self, tick: Tick) -> None:
        """The next one; those that are too old by it are forgotten."""
        self._order.append(tick)
        self._alike.setdefault(_key(tick), deque()).append(tick)
        self._newest_us = max(self._newest_us, tick.event_us)
        while self._order[0].event_us < self._newest_us - self._kept_us:
            self._forget(self._order.popleft())
            if not self._order:
                return

    def take(self, tick: Tick, reach_us: int, counts: Callable[[Tick], bool]) -> bool:
        """Take away the nearest in time of the same price and size, within reach, for which `counts`.

        Whether there was one. Of two equally near the one published first.
        """
        alike = self._alike.get(_key(tick), ())
        near = ((abs(one.event_us - tick.event_us), place) for place, one in enumerate(alike) if counts(one))
        distance, place = min(near, default=(reach_us + 1, -1))
        if distance > reach_us:
            return False
        self._drop(_key(tick), place)
        return True

    def _forget(self, tick: Tick) -> None:
        alike = self._alike.get(_key(tick))
        if alike and alike[0] is tick:  # else it was taken
            self._drop(_key(tick), 0)

    def _drop(self, key: Key, place: int) -> None:
        alike = self._alike[key]
        del alike[place]
        if not alike:
            del self._alike[key]


def _key(tick: Tick) -> Key:
    return tick.price, tick.size
