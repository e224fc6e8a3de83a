"""One job of a feed's REST half against a provider of the loopback range."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from core.clock import ManualClock
from producers.feeds import Feed, HistoryBar, Quota
from producers.http import Http
from tests.provider_server import ProviderServer, Route

T = TypeVar("T")
NOW_US = 1_760_000_000_000_000


class FreeTurns:
    """As many requests as are asked for."""

    async def take(self, provider: str, quota: Quota) -> None:
        pass


def asking(feed: Feed, routes: Mapping[str, Route], job: Callable[[Http], Awaitable[T]]) -> tuple[T, ProviderServer]:
    """What the job came to, and the server with the record of what it was asked."""

    async def run() -> tuple[T, ProviderServer]:
        server = ProviderServer(routes)
        async with server, Http(feed, FreeTurns(), server.url, ManualClock(NOW_US)) as http:
            return await job(http), server

    return asyncio.run(run())


def bars_from(
    feed: Feed, routes: Mapping[str, Route], symbol: str, interval: str, start_us: int, end_us: int
) -> tuple[list[HistoryBar], ProviderServer]:
    """All bars of a history, and the server."""

    async def job(http: Http) -> list[HistoryBar]:
        return [bar async for page in feed.bars(http, symbol, interval, start_us, end_us) for bar in page]

    return asking(feed, routes, job)
