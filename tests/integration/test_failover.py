"""Two providers of one tape, one of which dies: every trade once, and the bars right, through the switch and back.

Each has its own trade ids (venue and source are its name), so that nothing downstream could hide a trade counted twice.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from conf.settings import Settings
from conf.topics import TICKS
from core.records import Tick
from producers.feeds import Coinbase
from producers.live import NoRoute, State
from producers.live.feeder import Feeder
from producers.live.lanes import Seams
from producers.publish import Publisher
from tests.feed_server import SYMBOLS, FeedServer, Session, ticks_of
from tests.integration.test_live_stream import QUICK, until
from tests.oracles import oracle_bars
from tests.streaming import close_all, run_available
from tests.topics import read_ticks
from tests.two_feeds import TwoFeeds

SEAMS = Seams(lag_seconds=0.4, steady_seconds=0.5, overlap_seconds=60, tolerance_seconds=0.2, kept_seconds=600)


class One(Coinbase):
    """The preferred provider."""

    name, also, tape = "one", (), "test"


class Two(Coinbase):
    """Its backup."""

    name, also, tape = "two", (), "test"


class Market(TwoFeeds):
    """Two servers of the same market."""

    kinds = (One, Two)
    usual: ClassVar[dict[str, Any]] = {"patience": QUICK, "seams": SEAMS}

    def complete(self) -> bool:
        return Counter(map(content, self.ticks)) == Counter(map(content, self.servers[0].ticks))


def content(tick: Tick) -> tuple[Any, ...]:
    """What two providers of a tape agree on."""
    return tick.symbol, tick.event_us, tick.price, tick.size


@contextlib.asynccontextmanager
async def running(run: Any) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(run)
    try:
        yield task
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def in_step(session: Session, until_place: int) -> None:
    """Send what both servers have agreed to have happened, up to this place, a trade every few milliseconds."""
    for place in range(session.server.happened, until_place):
        await session.send(place, place + 1)
        await asyncio.sleep(0.005)


async def whole(session: Session) -> None:
    await in_step(session, len(session.server.market))
    await session.heartbeats()


def dies_after(place: int) -> Any:
    async def script(session: Session) -> None:
        await in_step(session, place)
        await session.abort()

    return script


async def stays_away(session: Session) -> None:
    """Connected again, but mute for as long as anybody waits."""
    await session.mute()


async def brings_no_trades(session: Session) -> None:
    """Frames come, the connection lives, and no trade is in them."""
    await in_step(session, 25)
    await session.heartbeats()


@pytest.mark.parametrize("first", [[dies_after(25), stays_away], [brings_no_trades]], ids=["dies", "silent"])
def test_every_trade_comes_once_when_the_preferred_one_fails(first: list[Any]) -> None:
    async def go() -> Market:
        async with FeedServer(first) as one, FeedServer([whole]) as two:
            market = Market(one, two)
            async with running(market.failover.run()):
                await until(market.complete, lambda: (market.changes, len(market.ticks)))
        return market

    market = asyncio.run(go())
    assert market.changes[("one", "two")] == len(SYMBOLS)
    assert {tick.source for tick in market.ticks} == {"one", "two"}
    switches = [gap for gap in market.gaps.gaps if gap.cause == "switch"]
    assert {gap.symbol for gap in switches} == set(SYMBOLS)


def test_goes_back_to_the_preferred_one_and_still_counts_every_trade_once() -> None:
    async def comes_back(session: Session) -> None:
        session.server.happened = max(session.server.happened, 45)
        await whole(session)

    async def go() -> Market:
        async with FeedServer([dies_after(20), comes_back]) as one, FeedServer([slowly]) as two:
            market = Market(one, two)
            async with running(market.failover.run()):
                await until(
                    lambda: market.complete() and market.changes[("two", "one")] == len(SYMBOLS),
                    lambda: (market.changes, len(market.ticks), market.failover.active),
                )
                assert set(market.failover.active.values()) == {"one"}
        return market

    async def slowly(session: Session) -> None:
        for place in range(len(session.server.market)):
            await session.send(place, place + 1)
            await asyncio.sleep(0.03)
        await session.heartbeats()

    market = asyncio.run(go())
    assert market.changes[("one", "two")] >= len(SYMBOLS)


def test_preferred_provider_that_cannot_be_reached_is_left_out() -> None:
    async def go() -> Market:
        async with FeedServer() as gone, FeedServer([whole]) as two:
            market = Market(gone, two, socket_urls={"one": "ws://127.0.0.1:1", "two": two.socket_url})
            async with running(market.failover.run()):
                await until(market.complete)
                assert market.failover.state is State.LIVE
        return market

    assert {tick.source for tick in asyncio.run(go()).ticks} == {"two"}


def test_nobody_to_be_reached_is_an_error() -> None:
    async def go() -> None:
        async with FeedServer() as one, FeedServer() as two:
            nowhere = {"one": "ws://127.0.0.1:1", "two": "ws://127.0.0.1:1"}
            await asyncio.wait_for(Market(one, two, socket_urls=nowhere).failover.run(), 10)

    with pytest.raises(NoRoute, match="cannot be reached"):
        asyncio.run(go())


@pytest.mark.spark
def test_bars_are_right_through_the_switch_and_back(settings: Settings, spark: Any) -> None:
    """The market through the whole pipeline: socket, failover, broker, the final query."""

    async def comes_back(session: Session) -> None:
        session.server.happened = max(session.server.happened, 45)
        await whole(session)

    async def go(feeder: Feeder) -> list[Tick]:
        async with FeedServer([dies_after(20), comes_back]) as one, FeedServer([whole]) as two:
            market = Market(one, two, deliver=feeder.deliver)
            async with running(market.failover.run()):
                await until(market.complete, lambda: (market.changes, len(market.ticks)))
            assert market.changes[("one", "two")] == len(SYMBOLS)
            return ticks_of(one.market)

    with Publisher(settings) as publisher:
        expected = asyncio.run(go(Feeder(publisher, "one")))
    sent = read_ticks(settings.kafka_bootstrap, settings.topic(TICKS))
    assert Counter(map(content, sent)) == Counter(map(content, expected))
    close_all(settings, max(tick.event_us for tick in expected) + 3600 * 1_000_000)
    found = {
        (row["symbol"], row["interval"], int(row["start"].timestamp() * 1_000_000)): row
        for row in run_available("final", spark, settings).bars.to_pylist()
    }
    wanted = oracle_bars([(tick, None, None) for tick in expected])
    assert found.keys() == wanted.keys()
    for key, bar in wanted.items():
        for name in ("open", "high", "low", "close", "volume", "notional", "vwap", "trade_count"):
            assert found[key][name] == bar[name], (key, name)
