"""A failover over two servers, as tests of feeds start it."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from core.records import Tick
from producers.feeds import Feed
from producers.live import MemoryGaps
from producers.live.failover import Failover
from tests.feed_server import SYMBOLS, FeedServer
from tests.feeds import settings_with_keys


class TwoFeeds:
    """A server for each of `kinds`, the preferred one first, and what a failover over them delivered.

    `deliver` is told as well; `options` are those of Failover, in the place of `usual`.
    """

    kinds: ClassVar[tuple[type[Feed], type[Feed]]]
    usual: ClassVar[Mapping[str, Any]]

    def __init__(
        self,
        first: FeedServer,
        second: FeedServer,
        deliver: Callable[[str, list[Tick]], None] = lambda _name, _ticks: None,
        **options: Any,
    ) -> None:
        self.servers = (first, second)
        self.ticks: list[Tick] = []
        self.gaps = MemoryGaps()
        self._also = deliver
        by_name = {kind.name: server for kind, server in zip(self.kinds, self.servers, strict=True)}
        given: dict[str, Any] = {
            "deliver": self._take,
            "gaps": self.gaps,
            "socket_urls": {name: server.socket_url for name, server in by_name.items()},
            "rest_urls": {name: server.rest_url for name, server in by_name.items()},
        }
        self.failover = Failover(self.kinds, SYMBOLS, settings_with_keys(), **(given | self.usual | options))

    @property
    def changes(self) -> Counter[tuple[str, str]]:
        """How often the failover went from one provider to another."""
        return Counter((change.before, change.after) for change in self.failover.changes)

    def _take(self, name: str, ticks: list[Tick]) -> None:
        self.ticks += ticks
        self._also(name, ticks)
