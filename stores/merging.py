"""Records of several partitions in one order, as they would be without a backlog."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from confluent_kafka import Consumer, TopicPartition

T = TypeVar("T")
Place = tuple[str, int]
"""Topic and partition."""


class Read(NamedTuple, Generic[T]):
    """What was read: where, its offset, the moment it belongs to, and what it is."""

    place: Place
    offset: int
    moment: int
    record: T


class Merge(Generic[T]):
    """Puts the records of partitions into the order of a moment of theirs, each partition's own being that order.

    A symbol's bars are spread over the partitions, so a backlog that is read unevenly would mix them up: while one
    partition has more to give, what the others gave beyond it waits here. Where none has, nothing waits.
    """

    def __init__(self) -> None:
        self._queues: dict[Place, deque[Read[T]]] = {}
        self._next: dict[Place, int] = {}
        self._goal: dict[Place, int] = {}

    def __contains__(self, place: Place) -> bool:
        return place in self._queues

    def __bool__(self) -> bool:
        """Whether there are partitions to read."""
        return bool(self._queues)

    @property
    def places(self) -> dict[Place, int]:
        """Of each partition the offset that is read next."""
        return dict(self._next)

    @property
    def behind(self) -> bool:
        """Whether records wait, here or in a partition, that there were when one last looked."""
        return any(self._open(place) or queue for place, queue in self._queues.items())

    def begin(self, place: Place, offset: int, end: int) -> None:
        """Read a partition, too, from an offset; `end` as of `reaches`."""
        self._queues[place] = deque()
        self._next[place] = offset
        self._goal[place] = end

    def look_ahead(self, consumer: Consumer, timeout_seconds: float) -> None:
        """Ask the broker how far each partition goes. Raises KafkaException."""
        for topic, number in self._next:
            end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=timeout_seconds)[1]
            self.reaches((topic, number), end)

    def reaches(self, place: Place, end: int) -> None:
        """A partition was seen to have records up to this offset, which is not among them."""
        self._goal[place] = max(self._goal[place], end)

    def put(self, place: Place, offset: int, moment: int, record: T) -> None:
        """A record was read."""
        self._queues[place].append(Read(place, offset, moment, record))
        self._next[place] = offset + 1

    def ready(self) -> Iterator[Read[T]]:
        """What may be taken, in order: everything up to where the first partition ends that has more to give."""
        while heads := [queue[0] for queue in self._queues.values() if queue]:
            if any(not queue and self._open(place) for place, queue in self._queues.items()):
                return
            head = min(heads, key=lambda read: (read.moment, read.place))
            yield self._queues[head.place].popleft()

    def _open(self, place: Place) -> bool:
        return self._next[place] < self._goal[place]
