"""The numbers of the messages of each symbol and interval, as one writer expects them.

Redis has the last word (`stores.redis_script`), so that several writers agree. A series begins at the microsecond of
its first message, in this process and after every new connection: a Redis that lost its last second in a crash, or
everything, then never gives a number twice. Numbers stay below 2**53.
"""

Key = tuple[str, str]


class Sequences:
    """Expected numbers by (symbol, interval). Not exact under threads, and need not be: Redis corrects."""

    def __init__(self) -> None:
        self._last: dict[Key, int] = {}

    def take(self, key: Key, now_us: int) -> int:
        """The number that the next message should get."""
        last = self._last.get(key)
        seq = self._last[key] = now_us if last is None else last + 1
        return seq

    def learn(self, key: Key, seq: int) -> None:
        """The number that the last message did get."""
        self._last[key] = max(seq, self._last.get(key, 0))

    def forget(self) -> None:
        """Begin anew: who answers now may not know the numbers that were given."""
        self._last.clear()
