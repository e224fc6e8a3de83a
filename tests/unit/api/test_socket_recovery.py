"""After a reconnection to Redis the database is asked for the final bars that were missed, until it answers."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from api.ws import hub as hubs
from api.ws.books import Book
from api.ws.client import Client, Limits, Subscription
from api.ws.frames import payload_of
from api.ws.hub import Hub
from api.ws.items import BARS, BarItem
from core.errors import StoreUnavailable
from stores.redis import live_rows
from tests.batches import make_bars
from tests.ws_bars import at, final

SECOND_LOOK_SECONDS = 0.2


class Writer:
    """A way out that is never busy, and keeps what was written."""

    def __init__(self) -> None:
        self.idle = True
        self.on_idle: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], None] = lambda: None
        self.messages: list[dict] = []

    def write(self, frames: list[bytes]) -> None:
        self.messages += [msgspec.json.decode(payload_of(each)) for each in frames]

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None: ...

    def on_shutdown(self, call: Callable[[], None]) -> None: ...


class Stores:
    """What `api.ws.history.History` says of one stream: Redis' tail and the bars of a database, which may be down."""

    def __init__(self, *minutes: int) -> None:
        self.seq, self.redis, self.tails = 100, list(minutes), 0
        self.stored = list(minutes)
        self.failures = 0
        self.looks = self.waiting = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def tail(self, book: Book) -> tuple[int, list[BarItem]]:  # noqa: ARG002
        self.tails += 1
        return self.seq, [bar(minute, self.seq) for minute in self.redis]

    async def since(self, book: Book, channel: str, start: int) -> AsyncIterator[list[BarItem]]:  # noqa: ARG002
        self.looks += 1
        self.waiting += 1
        await self.answers.wait()
        self.waiting -= 1
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("timescale", "no answer within 2 s")
        yield [bar(minute) for minute in self.stored if at(minute) >= start]


def bar(minute: int, seq: int = 0) -> BarItem:
    return BarItem(published(minute, seq) if seq else live_rows(make_bars(final(minute)))[0].payload)


def published(minute: int, seq: int) -> bytes:
    return b'{"seq":%d,"relayed_us":1,%b' % (seq, live_rows(make_bars(final(minute)))[0].payload[1:])


def shown(writer: Writer) -> list[int]:
    """The starts that were sent, in order."""
    rows = [each["data"] if each["type"] == "snapshot" else [each["data"]] for each in writer.messages]
    return [row["start"] for each in rows for row in each]


async def passed(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def opened(hub: Hub, writer: Writer) -> tuple[Book, Client]:
    """A followed book."""
    with hub.pinned(BARS, "AAPL", "1m") as book:
        assert isinstance(book, Book)
        hub._on_subscribed(book.redis_channel)
        await book.opened.wait()
        client = hub.join(writer)  # type: ignore[arg-type]
        subscription = Subscription(client, book.streams[BARS], book.last_seq)
        client.subscriptions[BARS, "AAPL", "1m"] = book.followers[BARS][client] = subscription
    return book, client


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(hubs, "SECOND_LOOK_SECONDS", SECOND_LOOK_SECONDS)


def hub_of(stores: Stores) -> Hub:
    return Hub("redis://127.0.0.1:1", stores, Limits())  # type: ignore[arg-type]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("failures", [0, 1, 5])
def test_database_that_does_not_answer_is_asked_again_and_later_once_more(failures: int) -> None:
    async def scenario() -> None:
        stores, writer = Stores(0), Writer()
        hub = hub_of(stores)
        book, _ = await opened(hub, writer)
        stores.redis, stores.stored, stores.failures = [], [0, 1, 2], failures
        hub._on_subscribed(book.redis_channel)
        await passed(lambda: shown(writer) == [at(1), at(2)])
        stores.stored.append(3)  # the database is a little behind
        await passed(lambda: shown(writer) == [at(1), at(2), at(3)])
        assert stores.looks == failures + 2
        await hub.close()

    asyncio.run(scenario())


def test_many_reconnections_are_one_look_at_a_time_that_shows_all_that_was_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hubs, "SECOND_LOOK_SECONDS", 600.0)

    async def scenario() -> None:
        stores, writer = Stores(0), Writer()
        hub = hub_of(stores)
        book, _ = await opened(hub, writer)
        stores.redis, stores.stored = [], [0, 1, 2, 3]
        stores.answers.clear()
        for turn in range(50):
            tails = stores.tails
            hub._on_subscribed(book.redis_channel)
            if turn == 0:  # as far as it knows by now, nothing before that is missing
                hub._on_messages([(book.redis_channel, published(3, 101))])
            await passed(lambda tails=tails: stores.tails > tails and bool(stores.waiting))
        assert (stores.looks, stores.waiting) == (1, 1)
        stores.answers.set()
        await passed(lambda: shown(writer) == [at(3), at(1), at(2)])
        await passed(lambda: stores.looks == 2)  # who came meanwhile may have missed more than the first look could see
        stores.stored.append(4)
        hub._on_subscribed(book.redis_channel)
        await passed(lambda: shown(writer)[3:] == [at(4)])  # at once, and not when it is time for the second look
        assert stores.looks == 3
        await hub.close()

    asyncio.run(scenario())


@pytest.mark.usefixtures("quick")
def test_bar_that_comes_meanwhile_does_not_hide_those_before_it() -> None:
    async def scenario() -> None:
        stores, writer = Stores(0), Writer()
        hub = hub_of(stores)
        book, _ = await opened(hub, writer)
        stores.redis, stores.stored, stores.failures = [], [0, 1, 2, 3], 5
        hub._on_subscribed(book.redis_channel)
        hub._on_messages([(book.redis_channel, published(3, 101))])
        await passed(lambda: shown(writer) == [at(3), at(1), at(2)])
        await hub.close()

    asyncio.run(scenario())


@pytest.mark.usefixtures("quick")
def test_nobody_resumes_behind_bars_that_were_found_while_nobody_followed() -> None:
    async def scenario() -> None:
        stores, writer = Stores(0), Writer()
        hub = hub_of(stores)
        book, client = await opened(hub, writer)
        left = book.last_seq
        assert book.since_seq(left) == []
        stores.redis, stores.stored, stores.failures = [], [0, 1, 2], 5
        hub._on_subscribed(book.redis_channel)
        hub.leave(client)
        await passed(lambda: at(2) in book.newest)
        assert book.since_seq(left) is None
        await hub.close()

    asyncio.run(scenario())
