"""Live streams in rarer trouble: wrong clocks, a history without its socket, a provider that comes late."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, ClassVar

from local.server import free_port
from producers.feeds import Coinbase
from producers.live.lanes import Seams
from tests.feed_server import SYMBOLS, FeedServer, Session
from tests.integration.test_live_stream import QUICK, Uncounted, running, until, watch
from tests.two_feeds import TwoFeeds


class First(Coinbase):
    """The preferred provider, a market of its own."""

    name, also = "first", ()


class Second(Coinbase):
    """Its backup."""

    name, also = "second", ()


PATIENT = replace(QUICK, connect_seconds=10)  # a busy machine is no lost provider
SEAMS = Seams(market_lag_seconds=8, steady_seconds=0.3, kept_seconds=600)


class Market(TwoFeeds):
    """Two servers of the same trades."""

    kinds = (First, Second)
    usual: ClassVar[dict[str, Any]] = {"patience": PATIENT, "seams": SEAMS}

    def count(self, source: str) -> int:
        return sum(tick.source == source for tick in self.ticks)

    @property
    def filled(self) -> int:
        """How many trades came of history."""
        return sum(settled.filled for settled in self.gaps.settled.values())


async def slowly(session: Session) -> None:
    for place in range(session.server.happened, len(session.server.market)):
        await session.send(place, place + 1)
        await asyncio.sleep(0.03)
    await session.heartbeats()


def test_trade_stamped_in_the_future_hides_no_gap_after_it() -> None:
    """It is refused where it is published; the trades that a lost connection cost are asked for all the same."""

    async def has_a_wrong_clock(session: Session) -> None:
        await session.send(0, 20)
        for number, symbol in enumerate(SYMBOLS):
            ahead = session.server.market[0] | {"product_id": symbol, "time": "2099-01-01T00:00:00Z"}
            await session.text(json.dumps(ahead | {"trade_id": 9_000_000 + number}))
        session.happen(30)
        await session.abort()

    watched = watch(has_a_wrong_clock, kind=Uncounted)
    assert {gap.cause for gap in watched.gaps.gaps} == {"disconnect"}
    assert sum(tick.event_us > 4_000_000_000_000_000 for tick in watched.ticks) == len(SYMBOLS)


def test_history_of_a_provider_whose_socket_is_gone_does_not_bring_it_back() -> None:
    """The first one is lost, comes back for a moment, tells of a gap, and is gone for good; REST still answers."""

    async def dies(session: Session) -> None:
        await session.send(0, 20)
        await session.abort()

    async def comes_for_a_moment(session: Session) -> None:
        session.server.refusals += [(503, {"Retry-After": "60"})] * 100
        await session.send(40, 41)
        await session.abort()

    async def go() -> Market:
        async with FeedServer([dies, comes_for_a_moment]) as one, FeedServer([slowly]) as two:
            market = Market(one, two)
            async with running(market.failover):
                await until(lambda: market.filled, lambda: market.gaps.gaps)
                await until(lambda: two.happened == len(two.market), lambda: (two.happened, market.changes))
                await until(lambda: market.count("second") >= 55, lambda: (market.changes, len(market.ticks)), 3)
            return market

    market = asyncio.run(go())
    assert market.changes == {("first", "second"): len(SYMBOLS)}


def test_provider_that_cannot_be_reached_at_first_counts_once_it_can() -> None:
    """As after a start while its name server was away: the backup must not serve until the next start."""

    async def go() -> None:
        port = free_port()
        nowhere = f"ws://127.0.0.1:{port}"
        async with FeedServer([slowly]) as one, FeedServer([slowly]) as two:
            addresses = {"first": nowhere, "second": two.socket_url}
            patience = replace(PATIENT, longest_wait_seconds=0.1)
            market = Market(one, two, socket_urls=addresses, patience=patience)
            async with running(market.failover):
                await until(lambda: set(market.failover.active.values()) == {"second"}, lambda: market.changes)
                assert one.handshakes == []
                async with forwarded(port, one.port):
                    await until(lambda: market.failover.active[SYMBOLS[0]] == "first", lambda: market.changes)
                    await until(lambda: market.count("first") > 0)

    asyncio.run(go())


@contextlib.asynccontextmanager
async def forwarded(port: int, to: int) -> AsyncIterator[None]:
    """Whoever connects to the one port speaks to the other."""
    writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65_536):
                writer.write(part)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)
        writers.extend((writer, far_writer))
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for writer in writers:
            writer.close()
