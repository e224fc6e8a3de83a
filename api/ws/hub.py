"""The fan-out of one worker: from one connection of Redis to all its sockets."""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import structlog

from api.ws.books import AnyBook, Book, EventBook
from api.ws.client import GOING_AWAY, Client, Counters, Limits
from api.ws.frames import encode
from api.ws.history import History
from api.ws.items import BARS, EVENTS, BarItem, Item, LastEvent, Snapshot
from api.ws.searches import Search
from api.ws.writers import RawWriter, SendWriter
from core.errors import InputError, StoreUnavailable
from stores.redis_listen import Messages, RedisListener

LANES = 10  # heartbeats go out in turns: a thousand at once would hold up everything else
LINGER_SECONDS = 60.0  # a book outlives its last follower for so long, for those who come back
RETRY_SECONDS = 0.5
SECOND_LOOK_SECONDS = 10.0  # a final bar can be in the database a little later than Redis had it
CLOSING = {"type": "closing", "message": "the server stops; connect again and resume"}
_log = structlog.get_logger(__name__)


class Hub:
    """Books, clients, and what goes between them. For one event loop, from `open` to `close`."""

    def __init__(self, redis_url: str, history: History, limits: Limits) -> None:
        self.history = history
        self.limits = limits
        self.counters = Counters()
        self._listener = RedisListener(redis_url, self._on_messages, self._on_subscribed)
        self._books: dict[bytes, AnyBook] = {}
        self._unused: dict[bytes, float] = {}
        self._pinned: dict[bytes, int] = {}
        self._lanes: list[set[Client]] = [set() for _ in range(LANES)]
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Semaphore(8)
        self._recovering: set[bytes] = set()
        self._searches: dict[Book, Search] = {}
        self._stopping = False

    async def open(self) -> None:
        self._listener.start()
        self._spawn(self._beat())

    async def close(self) -> None:
        """Say goodbye to whoever is still there, and stop."""
        for client in self.clients():
            self.dismiss(client)
        deadline = time.monotonic() + self.limits.drain_seconds
        while any(not client.closing for client in self.clients()) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.close()

    def clients(self) -> list[Client]:
        return [client for lane in self._lanes for client in lane]

    def join(self, writer: RawWriter | SendWriter) -> Client:
        """A new client; it is served until `leave`."""
        client = Client(writer, self.limits, self.counters)
        writer.on_shutdown(lambda: self.dismiss(client))
        self.counters.connections_total += 1
        self._lanes[next(self._numbers) % LANES].add(client)
        return client

    def leave(self, client: Client) -> None:
        client.closing = True
        for lane in self._lanes:
            lane.discard(client)
        for key in list(client.subscriptions):
            self.drop(client, key)

    def dismiss(self, client: Client) -> None:
        """The server stops: what waits is sent within the deadline, then the socket closes."""
        client.finish(CLOSING, GOING_AWAY, "server stops")
        if not client.closing:
            asyncio.get_running_loop().call_later(self.limits.drain_seconds, client.abort_unless_closed)

    def drop(self, client: Client, key: tuple[str, str, str]) -> bool:
        """End a subscription; whether there was one."""
        subscription = client.subscriptions.pop(key, None)
        if subscription is None:
            return False
        client.forget(subscription)
        book = self._books.get(_redis_channel(*key))
        if book is not None:
            book.followers[key[0]].pop(client, None)
            self._note_use(book)
        return True

    @contextlib.contextmanager
    def pinned(self, channel: str, symbol: str, interval: str) -> Iterator[AnyBook]:
        """The book of a stream, followed from now on; it stays while the block runs, and while it has followers."""
        name = _redis_channel(channel, symbol, interval)
        book = self._books.get(name)
        if book is None:
            book = self._books[name] = _new_book(channel, symbol, interval)
            self._listener.subscribe([name])
        self._pinned[name] = self._pinned.get(name, 0) + 1
        self._unused.pop(name, None)
        try:
            yield book
        finally:
            self._pinned[name] -= 1
            if not self._pinned[name]:
                del self._pinned[name]
            self._note_use(book)

    async def opened(self, book: AnyBook, deadline: float) -> None:
        """Wait until the book is current. Raises StoreUnavailable when Redis has not made it so by the loop's time."""
        if not book.opened.is_set():
            try:
                async with asyncio.timeout_at(deadline):
                    await book.opened.wait()
            except TimeoutError:
                raise StoreUnavailable("redis", "does not answer in time", 2.0) from None

    def learn(self, book: Book, rows: list[BarItem]) -> None:
        """Keep what a snapshot has read of the database, and tell who follows already what is news to them."""
        self._tell(book, book.learn(rows))

    def stats(self) -> dict[str, Any]:
        """Counts since the start of this worker, and what there is now."""
        clients = self.clients()
        counters = self.counters
        return {
            "worker": os.getpid(),
            "connections": len(clients),
            "connections_total": counters.connections_total,
            "subscriptions": sum(len(client.subscriptions) for client in clients),
            "streams": len(self._books),
            "waiting": sum(client.waiting for client in clients),
            "busy": sum(client.busy for client in clients),
            "sent": counters.sent,
            "conflated": counters.conflated,
            "dropped": counters.dropped,
            "slow_closes": counters.slow_closes,
            "resyncs": counters.resyncs,
            "refused": counters.refused,
            "malformed": counters.malformed,
            "redis_connected": self._listener.connected,
            "redis_connections": self._listener.connections,
        }

    def _on_messages(self, messages: Messages) -> None:
        """One batch: every client gets its share in one write."""
        books, dirty = self._books, list[Client]()
        for channel, payload in messages:
            book = books.get(channel)
            if book is None:
                continue
            try:
                item, missed = book.take(payload)
            except InputError as error:
                self.counters.malformed += 1
                _log.warning("message passed over", channel=channel.decode(errors="replace"), error=str(error))
                continue
            if missed:
                self._recover(book)
            if item is not None:
                fan_out(book, item, dirty)
        for client in dirty:
            client.flush_out()

    def _on_subscribed(self, channel: bytes) -> None:
        book = self._books.get(channel)
        if book is None:
            return
        if not book.opened.is_set():
            self._spawn(self._begin(book))
        else:
            self._recover(book, thorough=True)

    async def _begin(self, book: AnyBook) -> None:
        if isinstance(book, EventBook):
            book.add(await self._last_events(book))
            book.opened.set()
            return
        seq, bars = await self._insist(book, lambda: self.history.tail(book))
        for payload in book.begin(seq, bars):
            self._on_messages([(book.redis_channel, payload)])

    def _recover(self, book: AnyBook, thorough: bool = False) -> None:
        """Messages were missed: look for them, once at a time; `thorough` asks the database too."""
        name = book.redis_channel
        if not book.followed and isinstance(book, EventBook):
            return
        if name not in self._recovering or thorough:
            self._recovering.add(name)
            known = book.last_closed() if isinstance(book, Book) else None  # before a later one hides what is missing
            self._spawn(self._recovered(book, thorough, known))

    async def _recovered(self, book: AnyBook, thorough: bool, known: int | None) -> None:
        try:
            if isinstance(book, EventBook):
                missed = book.add(await self._last_events(book))
                self._push(book, Snapshot(book.last_seq, missed, "resync"))
                return
            seq, bars = await self._insist(book, lambda: self.history.tail(book))
            self._tell(book, book.recover(seq, bars))
        finally:
            self._recovering.discard(book.redis_channel)
        if thorough:
            book.doubt()
            await self._search(book, known)

    async def _search(self, book: Book, known: int | None) -> None:
        """Look behind this start; where somebody is looking already, that one does it."""
        running = self._searches.get(book)
        search = running or Search(SECOND_LOOK_SECONDS)
        search.begin(known)
        if running is not None:
            return
        self._searches[book] = search
        try:
            async for _ in search.turns():
                await self._look_up(book, search)
        finally:
            del self._searches[book]

    async def _look_up(self, book: Book, search: Search) -> None:
        """The final bars that neither Redis nor a message has shown, with indicators where somebody follows these.

        From a start on, as soon as the database answers. Without followers too: who comes back may resume.
        """
        while self._books.get(book.redis_channel) is book:
            start = book.last_closed() if search.start is None else search.start
            if start is None:
                return
            try:
                pages = [page async for page in self.history.since(book, book.wanted(BARS), start)]
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                bars = [bar for page in pages for bar in page]
                self._tell(book, book.recover(book.last_seq, bars))
                return

    async def _last_events(self, book: EventBook) -> list[LastEvent]:
        if not book.kind.kept:
            return []
        found: list[LastEvent] = await self._insist(book, lambda: self.history.last_events(book))
        return found

    async def _insist(self, book: AnyBook, read: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of a store, however long it takes, while anybody needs the book."""
        while True:
            try:
                async with self._reading:
                    return await read()
            except StoreUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            if self._books.get(book.redis_channel) is not book:
                raise asyncio.CancelledError

    def _tell(self, book: Book, missed: list[BarItem]) -> None:
        if missed and book.followed:
            self._push(book, Snapshot(book.last_seq, missed, "resync"))

    def _push(self, book: AnyBook, item: Item) -> None:
        self.counters.resyncs += 1
        dirty: list[Client] = []
        fan_out(book, item, dirty)
        for client in dirty:
            client.flush_out()

    async def _beat(self) -> None:
        """A heartbeat to each client each second, and a look at those that do not read and at unused books."""
        for turn in itertools.count():
            await asyncio.sleep(1 / LANES)
            now = time.monotonic()
            beat = encode({"type": "heartbeat", "counter": turn // LANES, "time_us": time.time_ns() // 1000})
            for client in list(self._lanes[turn % LANES]):
                client.check_stall(now)
                if not client.busy:
                    client.send(beat)
            if turn % (LANES * 5) == 0:
                self._sweep(now)

    def _note_use(self, book: AnyBook) -> None:
        name = book.redis_channel
        if not book.followed and name not in self._pinned:
            self._unused.setdefault(name, time.monotonic())
        else:
            self._unused.pop(name, None)

    def _sweep(self, now: float) -> None:
        gone = [name for name, since in self._unused.items() if now - since > LINGER_SECONDS]
        for name in gone:
            del self._unused[name]
            self._books.pop(name, None)
        self._listener.unsubscribe(gone)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("socket task failed", error=f"{type(error).__name__}: {error}")


def fan_out(book: AnyBook, item: Item, dirty: list[Client]) -> None:
    """Give an item to all followers: into `out` of those that are free, which are added to `dirty`."""
    for channel, followers in book.followers.items():
        if not followers or (isinstance(item, BarItem) and not item.concerns(channel)):
            continue
        stream = book.streams[channel]
        for client, subscription in followers.items():
            if client.busy:
                client.offer(subscription, item)
            elif not client.closing:
                out = client.out
                if not out:
                    dirty.append(client)
                if subscription.dropped:
                    out.append(item.update(stream, subscription.seq, dropped=subscription.dropped))
                    subscription.dropped = 0
                else:
                    out.append(item.update(stream, subscription.seq))
                subscription.seq = item.seq


def _new_book(channel: str, symbol: str, interval: str) -> AnyBook:
    return EventBook(channel, symbol) if channel in EVENTS else Book(symbol, interval)


def _redis_channel(channel: str, symbol: str, interval: str) -> bytes:
    return (f"{EVENTS[channel].prefix}:{symbol}" if channel in EVENTS else f"bar:{symbol}:{interval}").encode()
