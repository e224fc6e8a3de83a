"""From a request to a followed stream: is it known, what is shown first, from where on do updates count."""

import asyncio
import contextlib
import time
from typing import Any

from api.ws.books import AnyBook, Book, EventBook
from api.ws.client import Client, Subscription
from api.ws.frames import encode
from api.ws.hub import Hub
from api.ws.items import EVENTS, BarItem, Snapshot
from api.ws.requests import Refusal, Request
from api.ws.symbols import KnownSymbols
from core.errors import StoreUnavailable
from core.intervals import INTERVALS

OPEN_SECONDS = 3.0
PREFETCH_BARS = 32  # what one read of the database brings, so that the next client needs none


class Subscribing:
    """Carries out `subscribe` and `unsubscribe`."""

    def __init__(self, hub: Hub, symbols: KnownSymbols, max_subscriptions: int, max_bars: int) -> None:
        self._hub = hub
        self._symbols = symbols
        self._max_subscriptions = max_subscriptions
        self._max_bars = max_bars

    async def subscribe(self, client: Client, request: Request) -> None:
        """Acknowledge, then show each symbol's snapshot, or an error that names it. Raises Refusal."""
        await self._check(client, request)
        ack = {"type": "ack", "id": request.id, "action": "subscribe", **_named(request)}
        client.send(encode(ack))
        with contextlib.ExitStack() as pins:
            books = [
                pins.enter_context(self._hub.pinned(request.channel, symbol, request.interval))
                for symbol in request.symbols
            ]
            deadline = asyncio.get_running_loop().time() + OPEN_SECONDS
            for book in books:
                try:
                    await self._hub.opened(book, deadline)
                    await self._open(client, request, book)
                except StoreUnavailable as error:
                    self._say_down(client, request, book, error)

    def _say_down(self, client: Client, request: Request, book: AnyBook, error: StoreUnavailable) -> None:
        said: dict[str, Any] = {"code": "unavailable", "message": str(error), "store": error.store}
        said |= {"symbol": book.symbol, "retry_after": error.retry_after}
        client.send(encode({"type": "error", "id": request.id, **said}))

    def unsubscribe(self, client: Client, request: Request) -> None:
        """Raises Refusal, and ends none, when one of the streams is not followed."""
        strange = [symbol for symbol in request.symbols if request.key(symbol) not in client.subscriptions]
        if strange:
            raise Refusal("not_subscribed", "not subscribed to this", "symbols", symbols=strange)
        for symbol in request.symbols:
            self._hub.drop(client, request.key(symbol))
        client.send(encode({"type": "ack", "id": request.id, "action": "unsubscribe", **_named(request)}))

    async def _check(self, client: Client, request: Request) -> None:
        new = [symbol for symbol in request.symbols if request.key(symbol) not in client.subscriptions]
        limit = self._max_subscriptions
        if len(client.subscriptions) + len(new) > limit:
            raise Refusal("too_many_subscriptions", f"at most {limit} on one socket", "symbols", limit=limit)
        self._check_since(request)
        try:
            unknown = await self._symbols.unknown(new)
        except StoreUnavailable as error:
            raise Refusal("unavailable", str(error), store=error.store, retry_after=error.retry_after) from None
        if unknown:
            text = f"unknown: {', '.join(unknown[:5])}; GET /api/v1/symbols lists the known ones"
            raise Refusal("unknown_symbol", text, "symbols", symbols=unknown)

    def _check_since(self, request: Request) -> None:
        if request.since is None or request.channel in EVENTS:
            return
        length = INTERVALS[request.interval].us
        if any(time.time_ns() // 1000 - start > self._max_bars * length for start in request.since.values()):
            text = f"at most {self._max_bars} bars back; GET /api/v1/bars has older ones"
            raise Refusal("since_too_old", text, "since", limit=self._max_bars)

    async def _open(self, client: Client, request: Request, book: AnyBook) -> None:
        seq = (request.resume or {}).get(book.symbol)
        since = (request.since or {}).get(book.symbol)
        resumed = None if seq is None else book.since_seq(seq)
        if resumed is not None:
            self._join(client, request, book, resumed, "resume")
        elif isinstance(book, EventBook):
            self._join(client, request, book, book.last() if request.snapshot else [], "fresh")
        elif since is not None:
            await self._since(client, request, book, since)
        else:
            await self._last(client, request, book)

    async def _last(self, client: Client, request: Request, book: Book) -> None:
        """The last bars: from memory where it has them, else from the database too; without it what there is."""
        count, more = request.snapshot, dict[str, Any]()
        if book.last(count, request.channel) is None and not book.reaches(0, request.channel):
            try:
                asked = max(count, PREFETCH_BARS)
                rows = await self._hub.history.last(book, book.wanted(request.channel), asked)
                self._hub.learn(book, rows)
                if len(rows) < asked:
                    book.completed(request.channel, 0)
                self._join(client, request, book, _last_of(rows, book, count), "fresh")
                return
            except StoreUnavailable:
                more["history"] = "unavailable"
        found = book.last(count)
        self._join(client, request, book, book.unbroken() if found is None else found, "fresh", **more)

    async def _since(self, client: Client, request: Request, book: Book, since: int) -> None:
        """Every bar from there on: pages of the database, then what the book has beyond them."""
        sent: dict[int, BarItem] = {}
        if not book.reaches(since, request.channel):
            page: list[BarItem] = []
            channel = book.wanted(request.channel)
            async for following in self._hub.history.since(book, channel, since):
                if page:
                    self._show(client, request, book, page, "fresh", more=True)
                    sent |= {bar.start: bar for bar in page}
                    await client.room()
                page = following
            self._hub.learn(book, page)
            book.completed(request.channel, page[0].start if sent else since)
            bars = _merged(page, book.since(since))
        else:
            bars = book.since(since)
        self._join(client, request, book, [bar for bar in bars if bar.newer_than(sent.get(bar.start))], "fresh")

    def _join(self, client: Client, request: Request, book: AnyBook, bars: list[Any], mode: str, **more: Any) -> None:
        """Show the snapshot and follow: nothing can come between the two."""
        if client.closing:
            return
        key = request.key(book.symbol)
        held = client.subscriptions.get(key)
        if held is not None:
            client.forget(held)
        self._show(client, request, book, bars, mode, **more)
        subscription = Subscription(client, book.streams[request.channel], book.last_seq)
        client.subscriptions[key] = book.followers[request.channel][client] = subscription

    def _show(self, client: Client, request: Request, book: AnyBook, bars: list[Any], mode: str, **more: Any) -> None:
        snapshot = Snapshot(book.last_seq, bars, mode, id=request.id, **more)
        client.send(snapshot.update(book.streams[request.channel], 0))


def _last_of(rows: list[BarItem], book: Book, count: int) -> list[BarItem]:
    """The last `count` closed bars of both, and what is forming after them."""
    bars = _merged(rows, book.since(0))
    closed = [place for place, bar in enumerate(bars) if not bar.conflates]
    return bars[closed[-count] :] if 0 < count < len(closed) else bars


def _merged(rows: list[BarItem], newest: list[BarItem]) -> list[BarItem]:
    """Each start once, ascending; what is newer wins."""
    found = {bar.start: bar for bar in rows}
    for bar in newest:
        if bar.newer_than(found.get(bar.start)):
            found[bar.start] = bar
    return [found[start] for start in sorted(found)]


def _named(request: Request) -> dict[str, Any]:
    named: dict[str, Any] = {"channel": request.channel, "symbols": request.symbols}
    return named | ({"interval": request.interval} if request.interval else {})
