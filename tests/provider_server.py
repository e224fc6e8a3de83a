"""A provider's REST interface on the loopback: answers from a table of routes, and a record of what was asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlsplit

from core.clock import ManualClock
from producers.feeds import Feed, Quota
from producers.http import Http
from tests.feeds import encoded

T = TypeVar("T")
Answer = tuple[int, Mapping[str, str], bytes]
Route = Callable[[dict[str, str]], Answer]


def good(value: object) -> Answer:
    """A value as a JSON answer."""
    return 200, {"content-type": "application/json"}, encoded(value)


@dataclass
class ProviderServer:
    """Use as an async context manager and hand `url` to `Http(feed, base_url=…)`.

    A route gets the query parameters; a path without one is answered with 404. A route may also answer with what it
    sees in `asked`, the (path, parameters) of all requests so far, the present one included.
    """

    routes: Mapping[str, Route]
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    """Request headers by lower-case name, one for each of `asked`."""
    url: str = ""
    _server: asyncio.Server | None = None
    _open: dict[asyncio.StreamWriter, "asyncio.Task[None] | None"] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: Any) -> None:
        assert self._server is not None
        self._server.close()
        served = [task for task in self._open.values() if task]
        for writer in self._open:
            writer.close()
        await asyncio.gather(*served, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                writer.write(self._answer(head))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            del self._open[writer]

    def _answer(self, head: str) -> bytes:
        request, *lines = head.split("\r\n")
        target = urlsplit(request.split(" ")[1])
        params = dict(parse_qsl(target.query, keep_blank_values=True))
        self.asked.append((target.path, params))
        self.headers.append(
            {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        )
        route = self.routes.get(target.path)
        status, headers, body = route(params) if route else (404, {}, b"")
        named = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {status} -\r\n{named}content-length: {len(body)}\r\n\r\n".encode() + body


class FreeTurns:
    """A quota that never makes anyone wait."""

    async def take(self, provider: str, quota: Quota) -> None:
        """Always allowed."""


def ask(
    feed: Feed, routes: Mapping[str, Route], question: Callable[[Http], Awaitable[T]], now_us: int
) -> tuple[T, list[tuple[str, dict[str, str]]]]:
    """The answer to one question at a fixed time, and the requests that it took."""

    async def run() -> tuple[T, list[tuple[str, dict[str, str]]]]:
        async with (
            ProviderServer(routes) as server,
            Http(feed, FreeTurns(), server.url, ManualClock(now_us)) as http,
        ):
            return await question(http), server.asked

    return asyncio.run(run())


def ask_pages(
    feed: Feed, routes: Mapping[str, Route], question: Callable[[Http], AsyncIterator[list[T]]], now_us: int
) -> tuple[list[list[T]], list[tuple[str, dict[str, str]]]]:
    """All pages of one history at a fixed time, and the requests that they took."""

    async def pages(http: Http) -> list[list[T]]:
        return [page async for page in question(http)]

    return ask(feed, routes, pages, now_us)
