"""A live stream whose provider misbehaves: complete and free of repeats afterwards, or the gap is on record."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from websockets.asyncio.server import ServerConnection, serve

from conf.settings import Settings
from conf.topics import TICKS
from core.errors import InputError, PublishError
from core.records import Tick
from producers.feeds import Can, Feed
from producers.feeds.coinbase import Coinbase
from producers.feeds.polygon import Polygon
from producers.live import Gap, MemoryGaps, NoRoute, Patience, State, Stream
from producers.live.feeder import Feeder
from producers.publish import Publisher
from stores.gaps import LastTrade, PostgresGaps, Switch
from stores.migrations import Retention, migrate
from tests.feed_server import SYMBOLS, FeedServer, Script, Session
from tests.feeds import settings_with_keys
from tests.topics import read_ticks, read_topic

QUICK = Patience(
    trade_silence_seconds=20,
    silence_seconds=1.0,  # longer than a busy machine pauses
    connect_seconds=2,
    ping_seconds=0.05,
    first_wait_seconds=0.02,
    longest_wait_seconds=0.2,
    refused_wait_seconds=0.1,
    steady_seconds=60,
    quiet_seconds=0.1,
    fill_delay_seconds=0.1,
    fill_wait_seconds=0.05,
    fill_longest_wait_seconds=0.1,
)
DEADLINE_SECONDS = 10.0
ROOT = Path(__file__).parents[2]


class Unhurried(Coinbase):
    quota = None  # it looks for a time by many requests


class Uncounted(Unhurried):
    """Coinbase as if its ids said nothing about what is missing."""

    can = Can(trades=True, live=True, history=("trades",), keyless=True)


class NoHistory(Coinbase):
    """Coinbase without REST."""

    can = Can(trades=True, live=True, keyless=True, counted_ids=True)

    trades_by_id = Feed.trades_by_id


class Watched:
    """A stream, what it delivered, and what it said."""

    def __init__(self, server: FeedServer, kind: type[Coinbase] = Coinbase, **options: Any) -> None:
        self.server = server
        self.ticks: list[Tick] = []
        self.states: list[State] = []
        self.gaps = MemoryGaps()
        given: dict[str, Any] = {
            "deliver": lambda _name, ticks: self.ticks.extend(ticks),
            "on_state": lambda _name, state: self.states.append(state),
            "gaps": self.gaps,
            "patience": QUICK,
            "socket_url": server.socket_url,
            "rest_url": server.rest_url,
        }
        settings = options.pop("settings", settings_with_keys())
        self.stream = Stream(kind, server.symbols, settings, **(given | options))

    @property
    def missing(self) -> list[tuple[str, str | None]]:
        return sorted(set(map(own, self.server.ticks)) - set(map(own, self.ticks)))

    @property
    def complete(self) -> bool:
        return not self.missing and not self.gaps.unsettled

    def assert_exact(self) -> None:
        """Every trade once, each with its own price, size and time."""
        assert [key for key, count in Counter(map(own, self.ticks)).items() if count > 1] == []
        assert sorted(map(content, self.ticks)) == sorted(map(content, self.server.ticks))
        for symbol in SYMBOLS:  # the stream's order, but for what was filled later
            assert {tick.source for tick in self.ticks if tick.symbol == symbol} == {"coinbase"}


def own(tick: Tick) -> tuple[str, str | None]:
    return tick.symbol, tick.trade_id


def content(tick: Tick) -> tuple[Any, ...]:
    return tick.symbol, tick.trade_id, tick.event_us, tick.price, tick.size, tick.seq, tick.venue


@contextlib.asynccontextmanager
async def running(stream: Stream) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(stream.run())
    try:
        yield task
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(
    reached: Callable[[], object], told: Callable[[], object] = lambda: "", seconds: float = DEADLINE_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not in time: {told()}"
        await asyncio.sleep(0.01)


def watch(
    *scripts: Script, kind: type[Coinbase] = Coinbase, server: dict[str, Any] | None = None, **options: Any
) -> Watched:
    """Run until every trade is there and no gap is open."""

    async def go() -> Watched:
        async with FeedServer(scripts, **(server or {})) as provider:
            watched = Watched(provider, kind, **options)
            async with running(watched.stream):
                await until(lambda: watched.complete, lambda: (watched.missing, watched.gaps.unsettled))
        return watched

    return asyncio.run(go())


# Scripts: what goes wrong after the first 20 trades, with 10 that nobody sends.


async def goes_mute(session: Session) -> None:
    await session.send(0, 20)
    session.happen(30)
    await session.mute()


async def closes_cleanly(session: Session) -> None:
    await session.send(0, 20)
    session.happen(30)
    await session.close()


async def closes_rudely(session: Session) -> None:
    await session.send(0, 20)
    session.happen(30)
    await session.abort()


async def sends_half_a_frame(session: Session) -> None:
    await session.send(0, 20)
    session.happen(30)
    await session.half_frame()


async def skips_numbers(session: Session) -> None:
    await session.send(0, 20)
    session.happen(30)
    await session.to_the_end()


async def repeats_trades(session: Session) -> None:
    await session.send(0, 20)
    await session.send(10, 20)
    await session.send(0, 30)
    await session.to_the_end()


async def sends_junk(session: Session) -> None:
    await session.send(0, 20)
    half = '{"type":"match","trade_id":15682'
    for message in (half, b"\x00\xff\xfe\x80", half, '{"type":"match","trade_id":1}', '"', "", "null"):
        await session.text(message)
    session.happen(21)  # the half one
    await session.to_the_end()


BREAKS = [goes_mute, closes_cleanly, closes_rudely, sends_half_a_frame]


@pytest.mark.parametrize("script", [*BREAKS, skips_numbers], ids=lambda script: script.__name__)
def test_counted_ids_show_what_is_missing_and_it_is_filled(script: Script) -> None:
    watched = watch(script)
    watched.assert_exact()
    assert {gap.cause for gap in watched.gaps.gaps} == {"ids"}
    expected = Counter(message["product_id"] for message in watched.server.market[20:30])
    missing = {gap.symbol: (gap.last_id or 0) - (gap.first_id or 0) + 1 for gap in watched.gaps.gaps}
    assert missing == expected
    assert [(one.state, one.filled) for one in watched.gaps.settled.values()] == [
        ("filled", missing[gap.symbol]) for gap in watched.gaps.gaps
    ]
    for gap in watched.gaps.gaps:
        assert (gap.start_us, gap.end_us) == around(watched.server, gap.symbol)


def around(server: FeedServer, symbol: str) -> tuple[int, int | None]:
    """Event times of the last trade before the break and of the first one after."""
    before = [tick.event_us for tick in server.ticks[:20] if tick.symbol == symbol]
    after = [tick.event_us for tick in server.ticks[30:] if tick.symbol == symbol]
    return before[-1], after[0] if after else None


@pytest.mark.parametrize("script", BREAKS, ids=lambda script: script.__name__)
def test_without_counted_ids_an_interruption_is_a_gap_by_time(script: Script) -> None:
    watched = watch(script, kind=Uncounted)
    watched.assert_exact()
    assert {gap.cause for gap in watched.gaps.gaps} == {"silence" if script is goes_mute else "disconnect"}
    assert {gap.first_id for gap in watched.gaps.gaps} == {None}
    seen = {tick.symbol for tick in watched.server.ticks[:20]}
    assert sorted(gap.symbol for gap in watched.gaps.gaps) == sorted(seen)
    filled = {gap.symbol: watched.gaps.settled[number].filled for number, gap in enumerate(watched.gaps.gaps)}
    assert +Counter(filled) == Counter(message["product_id"] for message in watched.server.market[20:30])
    for gap in watched.gaps.gaps:
        before, after = around(watched.server, gap.symbol)
        assert gap.start_us == before and (after is None or gap.end_us == after)


def test_gap_by_time_has_the_trades_at_the_very_times_of_its_ends() -> None:
    async def go() -> None:
        async with FeedServer([closes_rudely]) as server:
            ours = [place for place, message in enumerate(server.market) if message["product_id"] == SYMBOLS[0]]
            places = [place for place in ours if 20 <= place < 30]
            last, following = max(place for place in ours if place < 20), min(place for place in ours if place >= 30)
            server.market[places[0]]["time"] = server.market[last]["time"]
            server.market[places[-1]]["time"] = server.market[following]["time"]
            watched = Watched(server, Uncounted)
            async with running(watched.stream):
                await until(lambda: watched.complete, lambda: watched.missing)
            watched.assert_exact()

    asyncio.run(go())


@pytest.mark.parametrize("kind", [Coinbase, Uncounted])
def test_repeated_trades_are_delivered_once(kind: type[Coinbase]) -> None:
    watched = watch(repeats_trades, kind=kind)
    watched.assert_exact()
    assert watched.gaps.gaps == []
    assert watched.stream.repeats == 30
    assert list(map(content, watched.ticks)) == list(map(content, watched.server.ticks)), "in the order of arrival"


def test_junk_and_half_messages_are_counted_and_end_nothing() -> None:
    watched = watch(sends_junk)
    watched.assert_exact()
    assert watched.stream.connections == 1
    assert watched.stream.troubles.counts["match"] == 1
    assert sum(watched.stream.troubles.counts.values()) == 6
    assert [(gap.first_id, gap.last_id) for gap in watched.gaps.gaps] == [
        (watched.server.market[20]["trade_id"], watched.server.market[20]["trade_id"])
    ]


def test_mute_socket_that_answers_pings_is_left_in_time() -> None:
    started = time.monotonic()
    watched = watch(goes_mute)
    assert time.monotonic() - started < 5
    assert watched.server.mute == 1 and watched.stream.connections == 2
    assert watched.states == [State.CONNECTING, State.LIVE, State.MUTE, State.CONNECTING, State.LIVE]


def test_frames_without_trades_are_mute_after_their_own_deadline() -> None:
    async def no_trades(session: Session) -> None:
        await session.send(0, 20)
        await session.heartbeats()

    watched = watch(no_trades, no_trades, patience=dataclasses.replace(QUICK, trade_silence_seconds=0.4))
    watched.assert_exact()
    # No LIVE between: the second connection brings frames, but only repeats of what was there before.
    assert watched.states == [State.CONNECTING, State.LIVE, State.MUTE, State.LIVE]
    assert watched.stream.connections == 3


def test_stream_that_trades_is_left_alone() -> None:
    async def trickles(session: Session) -> None:
        for place in range(len(session.server.market)):
            await session.send(place, place + 1)
            await asyncio.sleep(0.02)
        await session.heartbeats()

    watched = watch(trickles, patience=dataclasses.replace(QUICK, trade_silence_seconds=0.5))
    watched.assert_exact()
    assert watched.states == [State.CONNECTING, State.LIVE], "1.5 s of trades, three deadlines long"


class Sunday:
    def now_us(self) -> int:
        return 1_709_432_400_000_000  # 2024-03-03T02:20Z


class Shares(Coinbase):
    """Coinbase as if it were an exchange of shares."""

    calendar = "XNYS"


def on_sunday(tmp_path: Path) -> dict[str, Any]:
    """Options of a stream whose symbols trade in New York's hours, on a Sunday, with short deadlines."""
    entries = [{"symbol": symbol, "asset_class": "stock", "calendar": "XNYS"} for symbol in SYMBOLS]
    file = tmp_path / "symbols.json"
    file.write_bytes(msgspec.json.encode({"version": 1, "symbols": entries}))
    patience = dataclasses.replace(QUICK, trade_silence_seconds=0.1, silence_seconds=0.1, ping_answer_seconds=0.3)
    return {"settings": settings_with_keys(symbol_file=file), "clock": Sunday(), "patience": patience}


def test_silence_outside_of_a_session_is_normal(tmp_path: Path) -> None:
    async def go() -> None:
        async with FeedServer([goes_mute]) as server:
            watched = Watched(server, Shares, **on_sunday(tmp_path))
            async with running(watched.stream):
                await until(lambda: server.mute)
                await asyncio.sleep(0.8)  # eight deadlines of data long, and two of pings: nothing may happen
            assert watched.stream.connections == 1
            assert State.MUTE not in watched.states

    asyncio.run(go())


def test_connection_that_died_outside_of_a_session_is_opened_anew(tmp_path: Path) -> None:
    """Nobody would see it before the open otherwise: no data is due, and no goodbye came."""

    async def stops_reading(session: Session) -> None:
        await session.send(0, 20)
        session.socket.transport.pause_reading()  # pings arrive and nobody takes them
        await session.mute()

    watched = watch(stops_reading, kind=Shares, **on_sunday(tmp_path))
    watched.assert_exact()
    assert watched.stream.connections == 2


def test_market_of_the_symbols_decides_and_not_the_providers_usual_one() -> None:
    watched = watch(goes_mute, kind=Shares, clock=Sunday())  # pairs, which trade on a Sunday
    watched.assert_exact()
    assert watched.stream.connections == 2 and State.MUTE in watched.states


def test_symbol_that_brings_nothing_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Some providers take a subscription to what they do not have, and say nothing."""

    async def go() -> None:
        async with FeedServer([Session.to_the_end]) as server:
            patience = dataclasses.replace(QUICK, trade_silence_seconds=0.3, longest_wait_seconds=0.02)
            server.symbols = (*SYMBOLS, "NO-SUCH")
            watched = Watched(server, patience=patience)
            async with running(watched.stream):
                await until(lambda: watched.stream.connections > 2)  # silence of all follows, and others after it
            watched.assert_exact()

    asyncio.run(go())
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "no trade yet" in line]
    assert "NO-SUCH" in line and not any(symbol in line for symbol in SYMBOLS)


def test_login_is_accepted_before_anything_is_subscribed_to() -> None:
    said: list[str] = []
    headers: list[str] = []

    async def polygon(socket: ServerConnection) -> None:
        headers.append(str(socket.request and socket.request.headers))
        await socket.send('[{"ev":"status","status":"connected","message":"Connected Successfully"}]')
        said.append(json.loads(await socket.recv())["action"])
        with contextlib.suppress(TimeoutError):
            said.append("too early: " + str(await asyncio.wait_for(socket.recv(), 0.2)))
        await socket.send('[{"ev":"status","status":"auth_success","message":"authenticated"}]')
        said.append(json.loads(await socket.recv())["action"])
        await socket.send('[{"ev":"T","sym":"AAPL","x":4,"i":"1","p":1.5,"s":9,"t":1709562600000,"q":7}]')
        await socket.wait_closed()

    async def go() -> list[Tick]:
        ticks: list[Tick] = []
        async with serve(polygon, "127.0.0.1", 0) as server:
            stream = Stream(
                Polygon,
                ["AAPL"],
                settings_with_keys(),
                deliver=lambda _name, fresh: ticks.extend(fresh),
                gaps=MemoryGaps(),
                patience=dataclasses.replace(QUICK, silence_seconds=DEADLINE_SECONDS),  # one login, however busy we are
                socket_url=f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}",
            )
            async with running(stream):
                await until(lambda: ticks, lambda: said)
        return ticks

    assert [tick.trade_id for tick in asyncio.run(go())] == ["20240304-1"]
    assert said == ["auth", "subscribe"]
    assert "-in-tests" not in "".join(headers), "no key where proxies log it"


def test_every_connection_subscribes_again() -> None:
    watched = watch(closes_cleanly, goes_mute, closes_rudely)
    assert len(watched.server.hellos) == watched.stream.connections == 4
    assert {tuple(hello["product_ids"]) for hello in watched.server.hellos} == {SYMBOLS}


def test_retry_after_of_the_handshake_is_honoured() -> None:
    watched = watch(server={"refusals": [(429, {"Retry-After": "1"}), (503, {})]})
    watched.assert_exact()
    first, second, third = watched.server.handshakes
    assert 1.0 <= second - first < 3
    assert third - second < 0.5
    assert State.REFUSED not in watched.states


def test_refused_credentials_are_asked_again_after_the_long_pause(capsys: pytest.CaptureFixture[str]) -> None:
    async def says_no(session: Session) -> None:
        await session.text('{"type":"error","message":"Authentication Failed","reason":"polygon_api_key-in-tests"}')
        await session.heartbeats()

    patience = dataclasses.replace(QUICK, refused_wait_seconds=0.4, longest_wait_seconds=0.02)
    watched = watch(says_no, server={"refusals": [(401, {}), (403, {})]}, patience=patience)
    watched.assert_exact()
    assert watched.states.count(State.REFUSED) == 3
    times = watched.server.handshakes
    assert all(later - earlier >= 0.4 for earlier, later in itertools.pairwise(times))
    logged = capsys.readouterr().out
    assert "credentials not accepted" in logged and "Authentication Failed" in logged
    assert "-in-tests" not in logged


def test_other_complaints_are_counted_and_end_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async def complains(session: Session) -> None:
        for _ in range(3):
            await session.text('{"type":"error","message":"No such product","reason":"finnhub_api_key-in-tests"}')
        await session.to_the_end()

    watched = watch(complains)
    watched.assert_exact()
    assert watched.states == [State.CONNECTING, State.LIVE]
    assert watched.stream.troubles.counts == {"No such product ***": 3}
    assert "-in-tests" not in capsys.readouterr().out


def test_trades_out_of_order_fill_their_gap_without_rest() -> None:
    async def out_of_order(session: Session) -> None:
        await session.send(0, 20)
        session.happen(30)
        await session.send(25, 30)
        await session.send(20, 25)
        await session.to_the_end()

    watched = watch(out_of_order)
    watched.assert_exact()
    assert watched.gaps.gaps != []
    assert {one.state for one in watched.gaps.settled.values()} == {"filled"}
    assert watched.server.rest_requests == []


def test_gap_after_trades_out_of_order_starts_with_the_newest() -> None:
    async def out_of_order(session: Session) -> None:
        await session.send(0, 20)
        session.happen(30)
        await session.send(25, 30)
        await session.send(20, 25)
        session.happen(40)
        await session.to_the_end()

    watched = watch(out_of_order)
    watched.assert_exact()
    symbol = SYMBOLS[0]
    gap = [gap for gap in watched.gaps.gaps if gap.symbol == symbol][-1]
    before = [tick for tick in watched.server.ticks[:30] if tick.symbol == symbol][-1]
    assert (gap.start_us, gap.first_id) == (before.event_us, int(before.trade_id or 0) + 1)


@pytest.mark.parametrize("status", [403, 404])
def test_gap_that_rest_refuses_is_on_record_as_lost(status: int) -> None:
    async def go() -> Watched:
        async with FeedServer([skips_numbers], rest_status=status) as server:
            watched = Watched(server)
            async with running(watched.stream):
                await until(lambda: len(watched.ticks) == len(server.market) - 10 and not watched.gaps.unsettled)
        return watched

    watched = asyncio.run(go())
    noted = {
        (gap.symbol, str(number))
        for gap in watched.gaps.gaps
        if gap.cause == "ids"  # a machine that is slow may notice a silence besides
        for number in range(gap.first_id or 0, (gap.last_id or 0) + 1)
    }
    assert noted == {own(tick) for tick in watched.server.ticks[20:30]}
    assert {(one.state, one.filled) for one in watched.gaps.settled.values()} == {("lost", 0)}
    assert all(f"HTTP {status}" in one.detail for one in watched.gaps.settled.values())


def test_gap_that_the_history_does_not_have_is_lost_with_its_count() -> None:
    async def forgets(session: Session) -> None:
        await session.send(0, 20)
        del session.server.market[25]  # never told to anyone
        session.happen(29)
        await session.to_the_end()

    async def go() -> Watched:
        async with FeedServer([forgets]) as server:
            watched = Watched(server)
            async with running(watched.stream):
                await until(lambda: not watched.missing and watched.gaps.gaps and not watched.gaps.unsettled)
        return watched

    watched = asyncio.run(go())
    lost = [one for one in watched.gaps.settled.values() if one.state == "lost"]
    assert len(lost) == 1 and lost[0].detail.startswith("1 trades")
    assert sum(one.filled for one in watched.gaps.settled.values()) == 9
    assert len(watched.server.rest_requests) >= QUICK.fill_attempts


def test_gap_of_a_provider_without_history_is_lost_at_once() -> None:
    async def go() -> Watched:
        async with FeedServer([skips_numbers]) as server:
            watched = Watched(server, NoHistory)
            async with running(watched.stream):
                await until(lambda: watched.gaps.gaps and not watched.gaps.unsettled)
        return watched

    watched = asyncio.run(go())
    assert {one.state for one in watched.gaps.settled.values()} == {"lost"}
    assert {one.detail for one in watched.gaps.settled.values()} == {"coinbase cannot be asked for trades by id"}


def test_rest_that_is_busy_is_asked_again() -> None:
    watched = watch(skips_numbers, server={"rest_refusals": [503, 429]})
    watched.assert_exact()
    assert {one.state for one in watched.gaps.settled.values()} == {"filled"}
    assert len(watched.server.rest_requests) >= 3


def test_stream_goes_on_while_rest_hangs() -> None:
    """Filling is beside the stream: its trades come while REST has not answered."""

    class Stuck(Coinbase):
        async def trades_by_id(self, *_: Any) -> AsyncIterator[list[Tick]]:
            await asyncio.sleep(3600)
            yield []

    async def go() -> None:
        async with FeedServer([skips_numbers]) as server:
            watched = Watched(server, Stuck)
            async with running(watched.stream):
                await until(lambda: len(watched.ticks) == len(server.market) - 10)
            assert watched.gaps.unsettled == watched.gaps.gaps != []

    asyncio.run(go())


def test_symbol_that_stays_quiet_after_a_reconnect_is_asked_for() -> None:
    """What was missed of it does not wait for its next trade."""

    async def then_silent(session: Session) -> None:
        session.happen(len(session.server.market))
        await session.heartbeats()

    watched = watch(closes_rudely, then_silent, kind=Unhurried)
    watched.assert_exact()
    assert {gap.cause for gap in watched.gaps.gaps} == {"disconnect"}


def test_interruption_that_a_stop_cuts_short_is_on_record() -> None:
    async def then_not_again(session: Session) -> None:
        session.server.refusals += [(503, {})] * 1000
        await closes_rudely(session)

    async def go() -> MemoryGaps:
        async with FeedServer([then_not_again]) as server:
            watched = Watched(server, Uncounted)
            async with running(watched.stream):
                await until(lambda: len(server.handshakes) > 3)
            return watched.gaps

    gaps = asyncio.run(go())
    assert {gap.cause for gap in gaps.gaps} == {"disconnect"} and gaps.settled == {}


def test_first_connection_to_nobody_ends_and_a_later_one_is_retried() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"ws://127.0.0.1:{free.getsockname()[1]}"

    async def nobody() -> None:
        async with FeedServer() as server:
            await Watched(server, socket_url=nowhere).stream.run()

    with pytest.raises(NoRoute, match="coinbase cannot be reached: is this machine on the internet"):
        asyncio.run(nobody())

    async def gone_later() -> None:
        async with FeedServer([closes_cleanly]) as server:
            watched = Watched(server)
            async with running(watched.stream) as task:
                await until(lambda: len(watched.ticks) >= 20)
                await server.__aexit__(None, None, None)
                reached = watched.stream.connections
                await until(lambda: watched.stream.connections > reached + 2)
                assert not task.done()

    asyncio.run(gone_later())


def test_address_that_is_none_is_told_without_the_key_in_it() -> None:
    async def go() -> None:
        async with FeedServer() as server:
            await Watched(server, socket_url="https://127.0.0.1/?token=secret").stream.run()

    with pytest.raises(InputError, match="coinbase: the address of its socket is no ws:// or wss:// URL") as caught:
        asyncio.run(go())
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_what_deliver_raises_ends_the_stream_and_loses_no_gap() -> None:
    def full(_name: str, _ticks: list[Tick]) -> None:
        raise PublishError("no broker")

    async def go() -> None:
        async with FeedServer() as server:
            await asyncio.wait_for(Watched(server, deliver=full).stream.run(), DEADLINE_SECONDS)

    with pytest.raises(PublishError, match="no broker"):
        asyncio.run(go())


def test_gap_that_an_earlier_process_left_open_is_filled() -> None:
    async def go() -> Watched:
        async with FeedServer([]) as server:
            first = server.ticks[0]
            left = Gap("coinbase", first.symbol, "ids", 0, 0, int(first.trade_id or 0), int(first.trade_id or 0) + 3)
            server.happened = 40
            watched = Watched(server)
            number = watched.gaps.open(left)
            async with running(watched.stream):
                watched.stream.resume([(number, left)])
                await until(lambda: not watched.gaps.unsettled)
        assert watched.gaps.settled[number].filled == 4
        return watched

    asyncio.run(go())


@pytest.mark.parametrize("kind", [Coinbase, Uncounted])
def test_trades_between_two_processes_are_asked_for(kind: type[Coinbase]) -> None:
    """The earlier one was killed: it could put nothing on record."""

    async def was_away(session: Session) -> None:
        session.happen(30)
        await session.to_the_end()

    async def go() -> Watched:
        async with FeedServer([was_away]) as server:
            watched = Watched(server, kind)
            watched.ticks += server.ticks[:20]
            for tick in {tick.symbol: tick for tick in server.ticks[:20]}.values():
                watched.stream.continue_after(tick.symbol, tick.event_us, tick.trade_id)
            async with running(watched.stream):
                await until(lambda: watched.complete, lambda: (watched.missing, watched.gaps.unsettled))
        return watched

    watched = asyncio.run(go())
    assert watched.gaps.gaps and {one.state for one in watched.gaps.settled.values()} == {"filled"}
    if kind is Coinbase:
        watched.assert_exact()
    else:  # by time, the last trade of the earlier process comes once more; the log knows it
        again = Counter(map(own, watched.ticks)) - Counter(map(own, watched.server.ticks))
        assert set(again) <= set({tick.symbol: own(tick) for tick in watched.server.ticks[:20]}.values())


# With the real servers


def migrated(settings: Settings) -> Settings:
    with psycopg.connect(settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        migrate(connection, Retention())
    return settings


def rows(settings: Settings) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        query = (
            "SELECT source, symbol, cause, first_id, last_id, state, filled, settled_at IS NULL FROM gaps ORDER BY id"
        )
        return connection.execute(query).fetchall()


def test_ticks_reach_the_topic_and_gaps_the_table(settings: Settings) -> None:
    migrated(settings)
    gaps = PostgresGaps(settings.postgres_dsn.get_secret_value(), retry_seconds=5)

    async def go() -> FeedServer:
        async with FeedServer([skips_numbers]) as server:
            stream = Stream(
                Coinbase, server.symbols, settings, deliver=feeder.deliver, gaps=gaps, patience=QUICK,
                socket_url=server.socket_url, rest_url=server.rest_url,
            )  # fmt: skip
            feeding = asyncio.create_task(feeder.run([stream]))
            await until(lambda: sum(feeder.ticks.values()) == len(server.market) and not stream.filler.open)
            assert stream.filler.filled > 0
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            return server

    with contextlib.closing(gaps), Publisher(settings) as publisher:
        feeder = Feeder(publisher, "coinbase")
        server = asyncio.run(go())
        publisher.flush()
    records = read_topic(settings.kafka_bootstrap, settings.topic(TICKS))
    decoded = [(record, msgspec.json.decode(record.value, type=Tick)) for record in records]
    ticks = [(record, tick) for record, tick in decoded if tick.kind == "trade"]
    assert sorted(content(tick) for _, tick in ticks) == sorted(map(content, server.ticks))
    assert all(record.key == tick.symbol.encode() for record, tick in ticks)
    assert len(records) > len(ticks), "heartbeats"
    found = rows(settings)
    assert found and {row[:3] for row in found} <= {("coinbase", symbol, "ids") for symbol in SYMBOLS}
    assert sum(row[4] - row[3] + 1 for row in found) == sum(row[6] for row in found) == 10
    assert {row[5:6] + row[7:] for row in found} == {("filled", False)}


COMMAND = """
import sys
from producers.feeds.coinbase import Coinbase
Coinbase.socket_url, Coinbase.rest_url = sys.argv[1:3]
from producers.__main__ import main
sys.exit(main(["live", *sys.argv[3:]]))
"""


def test_command_streams_until_it_is_told_to_stop_and_says_what_it_did(settings: Settings) -> None:
    migrated(settings)
    first = FeedServer().ticks[20:30]
    with contextlib.closing(PostgresGaps(settings.postgres_dsn.get_secret_value())) as gaps:
        for symbol in SYMBOLS:  # as if an earlier process had been killed
            ids = [int(tick.trade_id or 0) for tick in first if tick.symbol == symbol]
            if ids:
                gaps.open(Gap("coinbase", symbol, "ids", first[0].event_us, first[-1].event_us, min(ids), max(ids)))

    async def go() -> str:
        async with FeedServer([sends_the_rest]) as server:
            command = [sys.executable, "-c", COMMAND, server.socket_url, server.rest_url, "coinbase", ",".join(SYMBOLS)]
            process = await asyncio.create_subprocess_exec(
                *command, env=environment(settings), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            try:
                await until(lambda: rows(settings) and not any(row[-1] for row in rows(settings)), seconds=60)
                process.terminate()
                out, errors = await asyncio.wait_for(process.communicate(), 30)
            finally:
                if process.returncode is None:
                    process.kill()
            assert process.returncode == 0, errors.decode()
            return out.decode()

    out = asyncio.run(go())
    assert out.startswith("stopped: coinbase live: ")
    assert f"{len(FeedServer().market):,} ticks, 0 repeats dropped, 1 connections" in out
    ticks = read_ticks(settings.kafka_bootstrap, settings.topic(TICKS))
    assert sorted(map(content, ticks)) == sorted(map(content, FeedServer().ticks))


async def sends_the_rest(session: Session) -> None:
    session.happen(30)
    await session.send(0, 20)
    await session.to_the_end()


def environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TICKSTREAM_")}
    return kept | {
        "KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "POSTGRES_DSN": settings.postgres_dsn.get_secret_value(),
        "TICKSTREAM_TOPIC_PREFIX": settings.topic_prefix,
    }


def test_heartbeats_go_on_while_the_provider_is_away(settings: Settings) -> None:
    async def go() -> None:
        async with FeedServer([goes_mute] * 50) as server:
            stream = Stream(
                Coinbase, server.symbols, settings, deliver=feeder.deliver, gaps=MemoryGaps(),
                patience=QUICK, socket_url=server.socket_url, rest_url=server.rest_url,
            )  # fmt: skip
            await feeder.run([stream], seconds=2.5)

    before = time.time_ns() // 1000
    with Publisher(settings) as publisher:
        feeder = Feeder(publisher, "coinbase")
        asyncio.run(go())
    records = read_topic(settings.kafka_bootstrap, settings.topic(TICKS))
    beats = [msgspec.json.decode(record.value, type=Tick) for record in records if b'"heartbeat"' in record.value]
    assert len(beats) >= 2 * settings.ticks_partitions
    assert all(before <= beat.event_us <= time.time_ns() // 1000 for beat in beats)


@pytest.fixture
def away(settings: Settings) -> Iterator[tuple[str, Callable[[], None]]]:
    """The DSN of a database that is down, and how to bring it up: a listener that hands bytes through."""
    real = psycopg.conninfo.conninfo_to_dict(settings.postgres_dsn.get_secret_value())
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    ends: list[socket.socket] = [listener]

    def pipe(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((str(real["host"]), int(real["port"] or 0)))
                ends.extend((client, server))
                threading.Thread(target=pipe, args=(client, server), daemon=True).start()
                threading.Thread(target=pipe, args=(server, client), daemon=True).start()

    def bring_up() -> None:
        listener.listen()
        threading.Thread(target=accept, daemon=True).start()

    yield psycopg.conninfo.make_conninfo(**real | {"port": listener.getsockname()[1]}), bring_up
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def test_database_that_is_down_holds_up_nothing_and_gets_the_gaps_later(
    settings: Settings, away: tuple[str, Callable[[], None]]
) -> None:
    migrated(settings)
    dsn, bring_up = away
    gaps = PostgresGaps(dsn, retry_seconds=0.1, pause_seconds=0.05)
    with contextlib.closing(gaps):
        started = time.monotonic()
        watched = watch_with(gaps)
        assert time.monotonic() - started < DEADLINE_SECONDS
        watched.assert_exact()
        assert rows(settings) == []
        bring_up()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (found := rows(settings)) or any(row[-1] for row in found):
            assert time.monotonic() < deadline, f"not written in time: {found}"
            time.sleep(0.05)
    assert sum(row[6] for row in rows(settings)) == 10


def watch_with(gaps: PostgresGaps) -> Watched:
    async def go() -> Watched:
        async with FeedServer([skips_numbers]) as server:
            watched = Watched(server, gaps=gaps)
            async with running(watched.stream):
                await until(lambda: not watched.missing and not watched.stream.filler.open)
        return watched

    return asyncio.run(go())


def test_newest_trade_of_each_symbol_is_found_whichever_source_brought_it(settings: Settings) -> None:
    migrated(settings)
    at = datetime(2024, 3, 4, 12, tzinfo=UTC)
    ticks = [
        ("BTC-USD", 0, "coinbase", "trade", "5"),
        ("BTC-USD", 9, "coinbase", "trade", "6"),
        ("BTC-USD", 20, "other", "trade", "7"),
        ("BTC-USD", 30, "coinbase", "cancel", "5"),
        ("ETH-USD", 1, "coinbase", "trade", "1"),
        ("ETH-USD", 2, "kraken", "trade", None),
        ("SOL-USD", -1, "coinbase", "trade", "1"),
    ]
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        for symbol, seconds, source, kind, number in ticks:
            connection.execute(
                "INSERT INTO ticks (symbol, event_time, source, kind, trade_id, seq, received_us, identity)"
                " VALUES (%s, %s, %s, %s, %s, 0, 0, %s)",
                (symbol, at + timedelta(seconds=seconds), source, kind, number, f"{source} {kind} {number}"),
            )
    at_us = int(at.timestamp()) * 1_000_000
    with contextlib.closing(PostgresGaps(settings.postgres_dsn.get_secret_value())) as gaps:
        found = gaps.last_trades(["coinbase", "kraken"], ["BTC-USD", "ETH-USD", "SOL-USD", "NEW"], at_us)
    assert sorted(found, key=lambda each: each.symbol) == [
        LastTrade("BTC-USD", "coinbase", at_us + 9_000_000, "6"),
        LastTrade("ETH-USD", "kraken", at_us + 2_000_000, None),
    ]


def test_changes_of_provider_are_found_again(settings: Settings) -> None:
    migrated(settings)
    dsn = settings.postgres_dsn.get_secret_value()
    with contextlib.closing(PostgresGaps(dsn)) as gaps:
        for symbol, at_us, before, after in (
            ("X", 7, "a", "b"),
            ("X", 5, "b", "a"),
            ("Y", 6, "a", "b"),
            ("X", 1, "a", "b"),
        ):
            number = gaps.open(Gap(before, symbol, "switch", at_us, at_us + 1))
            gaps.settle(number, "filled", 0, f"to {after}: connection lost")
        gaps.open(Gap("a", "X", "silence", 8, 9))
    with contextlib.closing(PostgresGaps(dsn)) as gaps:
        assert gaps.switches(["X"], 5) == [Switch("X", "b", "a", 5), Switch("X", "a", "b", 7)]


def test_gaps_noticed_twice_are_one_row_and_open_ones_are_found_again(settings: Settings) -> None:
    migrated(settings)
    dsn = settings.postgres_dsn.get_secret_value()
    gap = Gap("coinbase", "BTC-USD", "disconnect", 1_000_000, 2_000_000)
    with contextlib.closing(PostgresGaps(dsn)) as gaps:
        gaps.open(gap)
        gaps.open(dataclasses.replace(gap, end_us=3_000_000))
        gaps.open(Gap("coinbase", "ETH-USD", "ids", 1_000_000, 2_000_000, 5, 7))
        gaps.open(dataclasses.replace(gap, source="kraken"))
    with contextlib.closing(PostgresGaps(dsn)) as gaps:
        left = gaps.left_open("coinbase", ["BTC-USD", "ETH-USD"])
        assert [one for _, one in left] == [
            dataclasses.replace(gap, end_us=3_000_000),
            Gap("coinbase", "ETH-USD", "ids", 1_000_000, 2_000_000, 5, 7),
        ]
        gaps.settle(left[0][0], "lost", 2, "gone")
    with contextlib.closing(PostgresGaps(dsn)) as gaps:
        assert [one.symbol for _, one in gaps.left_open("coinbase", ["BTC-USD", "ETH-USD"])] == ["ETH-USD"]
    assert [row[5:] for row in rows(settings)] == [("lost", 2, False), ("open", 0, True), ("open", 0, True)]
