"""Heartbeats: a record per partition each second that moves event time when nobody trades."""

from core.intervals import SECOND_US
from core.records import Tick
from producers.publish import HEARTBEAT_SYMBOL, Publisher, encode


class Heartbeat:
    """One source's heartbeats, one record to every partition, so that each partition shows itself alive."""

    def __init__(self, publisher: Publisher, source: str, every_us: int = SECOND_US) -> None:
        self._publisher = publisher
        self._source = source
        self._every_us = every_us
        self._partitions = publisher.partitions()
        self._seq = 0
        self._due_us: int | None = None

    def beat(self, event_us: int, received_us: int) -> None:
        """Say that event time has reached `event_us`."""
        for partition in range(self._partitions):
            value = encode(heartbeat(self._source, event_us, received_us, self._seq))
            self._publisher.send_raw(HEARTBEAT_SYMBOL.encode(), value, partition=partition)
            self._seq += 1
        self._publisher.heartbeats += self._partitions

    def beat_if_due(self, event_us: int, now_us: int) -> bool:
        """Beat when the last one is `every_us` of wall time ago; tells whether it did."""
        if self._due_us is not None and now_us < self._due_us:
            return False
        self._due_us = now_us + self._every_us
        self.beat(event_us, now_us)
        return True


def heartbeat(source: str, event_us: int, received_us: int, seq: int = 0) -> Tick:
    """A heartbeat record; it belongs to no symbol, so it carries `HEARTBEAT_SYMBOL`."""
    return Tick(
        symbol=HEARTBEAT_SYMBOL,
        event_us=event_us,
        seq=seq,
        source=source,
        kind="heartbeat",
        received_us=received_us,
    )
