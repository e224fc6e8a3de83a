"""The WebSocket on a real Redis and database: what a client is shown, and that nothing is lost or told twice."""

import asyncio
import time
from typing import Any

import pyarrow as pa
import pytest
import redis
from pydantic import SecretStr

from api.ws import history
from api.ws.books import Book
from api.ws.client import Limits
from api.ws.hub import Hub
from api.ws.items import BarItem
from conf.settings import Settings
from stores.redis import RedisReader, RedisStore
from stores.timescale import TimescaleStore
from stores.timescale_reads import TimescaleReader
from tests import conformance_socket
from tests.batches import make_bars
from tests.factories import indicators, indicators_table
from tests.ws_bars import Writer, at, final, forming
from tests.ws_client import SocketClient, run, socket_server

NOBODY = SecretStr("postgresql://postgres@127.0.0.1:1/postgres")


def minutes(bars: list[dict[str, Any]]) -> list[int]:
    return [(bar["start"] - at(0)) // 60_000_000 for bar in bars]


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "send"])
def test_snapshot_and_updates_leave_no_gap_and_repeat_nothing(
    socket_settings: Settings, live: RedisStore, raw: bool
) -> None:
    async def follow(url: str, writer: Writer) -> None:
        clients = [SocketClient(url) for _ in range(12)]
        for client in clients:
            async with client:
                await client.subscribe("AAPL", snapshot=3)
                begun = writer.minute
                await client.until(lambda c=client, b=begun: max(minutes(list(c.held().values()))) > b + 2)
                assert client.gaps == []
                snapshot = client.of("snapshot")[0]
                assert snapshot["mode"] == "fresh"
                assert all(each["seq"] > snapshot["seq"] for each in client.of("update"))
                shown = [(s, r) for _, s, r in client.finals]
                assert len(shown) == len(set(shown))
                closed = sorted(start for start, _ in shown)
                assert closed == list(range(closed[0], closed[-1] + 1, 60_000_000))
                states = [each["data"]["trade_count"] for each in client.of("update") if each["state"] == "forming"]
                assert len(states) > 20

    with socket_server(socket_settings, raw=raw) as url, Writer(live) as writer:
        while writer.minute < 4:
            time.sleep(0.01)
        run(follow(url, writer))


def test_update_carries_the_bar_as_stored_and_every_stage(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            snapshot = await client.subscribe("AAPL")
            assert (minutes(snapshot["data"]), snapshot["seq"] < 1 << 53) == ([0, 1], True)
            before = time.time_ns() // 1000
            await asyncio.to_thread(live.write_live, [forming(1, 7, b'{"x":1.5}', processed_us=before)])
            update = await client.find(lambda each: each["type"] == "update")
            data, stamps = update["data"], update["stamps"]
            assert (data["close"], data["volume"], data["trade_count"]) == ("7.00000000", "1200.50000000", 7)
            assert "indicators" not in data and "seq" not in data and "relayed_us" not in data
            assert (update["rev"], update["state"], update["prev_seq"]) == (0, "forming", snapshot["seq"])
            assert stamps["event_us"] == data["close_us"] and stamps["received_us"] == data["received_us"]
            assert stamps["processed_us"] == before <= stamps["relayed_us"] <= stamps["sent_us"]

    live.write_bars(make_bars(final(0)))
    live.write_live([forming(1, 5)])
    with socket_server(socket_settings) as url:
        run(follow(url))


def test_indicators_have_a_stream_of_their_own(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            snapshot = await client.subscribe("AAPL", channel="indicators")
            assert [row["values"] for row in snapshot["data"]] == [{"sma_5": 1.25}]
            rows = [forming(1, 1), forming(1, 2, b'{"sma_5":null}'), forming(1, 3), forming(1, 4, b'{"sma_5":2}')]
            await asyncio.to_thread(lambda: [live.write_live([row]) for row in rows])
            await client.until(lambda: len(client.of("update")) == 2)
            assert [each["data"]["values"] for each in client.of("update")] == [{"sma_5": None}, {"sma_5": 2}]
            assert client.gaps == []

    bar = final(0)
    live.write_bars(make_bars(bar), indicators_table(indicators(bar, {"sma_5": 1.25})))
    with socket_server(socket_settings) as url:
        run(follow(url))


def test_indicators_computed_anew_reach_who_follows_them(socket_settings: Settings, live: RedisStore) -> None:
    bars = [final(0), final(1)]

    def shown(value: float) -> pa.Table:
        return indicators_table(*(indicators(bar, {"sma_5": value}) for bar in bars))

    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            await client.subscribe("AAPL", channel="indicators", snapshot=2)
            await client.subscribe("AAPL", snapshot=2)
            held = client.held(channel="indicators")
            assert [row["values"] for row in held.values()] == [{"sma_5": 1.25}] * 2
            await asyncio.to_thread(live.write_again, make_bars(*bars), shown(2.5))
            await client.until(lambda: all(row["values"] == {"sma_5": 2.5} for row in held.values()))
            await asyncio.to_thread(live.write_live, [forming(2, 1)])
            await client.until(lambda: at(2) in client.held())
            assert [each["channel"] for each in client.of("update")] == ["indicators", "indicators", "bars"]
            assert client.gaps == []

    live.write_bars(make_bars(*bars), shown(1.25))
    with socket_server(socket_settings) as url:
        run(follow(url))


def test_intervals_and_symbols_are_streams_apart_and_unsubscribe_ends_one(
    socket_settings: Settings, live: RedisStore
) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            await client.subscribe("AAPL", "XRP/ETH")
            await client.subscribe("AAPL", interval="5m")
            await client.ask({"type": "unsubscribe", "channel": "bars", "symbols": ["AAPL"]})
            both = [forming(1, 9), forming(1, 9, symbol="XRP/ETH"), forming(1, 9, interval="5m")]
            await asyncio.to_thread(live.write_live, both)
            await client.until(lambda: len(client.of("update")) == 2)
            assert {(each["symbol"], each["interval"]) for each in client.of("update")} == {
                ("XRP/ETH", "1m"),
                ("AAPL", "5m"),
            }
            again = await client.ask({"type": "unsubscribe", "channel": "bars", "symbols": ["AAPL"]})
            assert (again["code"], again["symbols"]) == ("not_subscribed", ["AAPL"])
        async with SocketClient(f"{url}/stocks/XRP/ETH") as client:
            await client.find(lambda each: each["type"] == "snapshot" and each["symbol"] == "XRP/ETH")

    live.write_bars(make_bars(final(0), final(0, interval="5m"), final(0, symbol="XRP/ETH")))
    with socket_server(socket_settings) as url:
        run(follow(url))


class BusyHistory(history.History):
    """Lets a bar be published between the reading of the tail and its arrival."""

    def __init__(self, live: RedisReader, stored: TimescaleReader, store: RedisStore) -> None:
        super().__init__(live, stored)
        self._store = store

    async def tail(self, book: Book) -> tuple[int, list[BarItem]]:
        found = await super().tail(book)
        await asyncio.to_thread(self._store.write_live, [forming(1, 7), forming(1, 8)])
        await asyncio.sleep(0.1)
        return found


def test_bars_published_while_the_tail_is_read_are_not_lost(redis_url: str, live: RedisStore) -> None:
    async def follow() -> None:
        reader = RedisReader(redis_url)
        hub = Hub(redis_url, BusyHistory(reader, TimescaleReader(NOBODY.get_secret_value()), live), Limits())
        await hub.open()
        with hub.pinned("bars", "AAPL", "1m") as book:
            await hub.opened(book, asyncio.get_running_loop().time() + 10)
            assert isinstance(book, Book)
            assert {start: bar.offset for start, bar in book.newest.items()} == {at(0): 1000, at(1): 8}
            assert book.last_seq == (await reader.numbered_tail("AAPL", "1m"))[0]
        await hub.close()
        await reader.close()

    live.write_bars(make_bars(final(0)))
    run(follow())


# Coming back


def test_resume_replays_the_ring_and_says_when_it_cannot(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as stays:
            await stays.subscribe("AAPL")
            async with SocketClient(url) as client:
                left = (await client.subscribe("AAPL"))["seq"]
            await asyncio.to_thread(live.write_bars, make_bars(final(1), final(1, rev=2, state="amended"), final(2)))
            await asyncio.to_thread(live.write_live, [forming(3, 1), forming(3, 2)])
            await stays.until(lambda: stays.held().get(at(3), {}).get("trade_count") == 2)
            async with SocketClient(url) as client:
                replay = await client.subscribe("AAPL", resume={"AAPL": left})
                assert replay["mode"] == "resume" and replay["seq"] == stays.seqs["bars", "AAPL", "1m"]
                assert [(bar["rev"], minutes([bar])[0]) for bar in replay["data"]] == [(1, 1), (2, 1), (1, 2), (0, 3)]
                nothing = await client.subscribe("AAPL", resume={"AAPL": replay["seq"]}, id="b")
                assert (nothing["mode"], nothing["data"]) == ("resume", [])
                for seq in (left - 1, replay["seq"] + 1, 0):
                    again = await client.subscribe("AAPL", resume={"AAPL": seq}, snapshot=2)
                    assert (again["mode"], minutes(again["data"])) == ("fresh", [1, 2, 3])

    live.write_bars(make_bars(final(0)))
    with socket_server(socket_settings) as url:
        run(follow(url))


def test_since_brings_every_final_bar_from_the_database(
    socket_settings: Settings,
    live: RedisStore,
    database: TimescaleStore,
    postgres_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "PAGE_BARS", 30)

    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            await client.subscribe("AAPL", since=at(20), resume={"AAPL": 5})
            parts = client.of("snapshot")
            assert [part.get("more") for part in parts] == [True] * 9 + [None]
            shown = [bar for part in parts for bar in part["data"]]
            assert minutes(shown) == list(range(20, 301))
            assert (shown[-2]["rev"], shown[-1]["state"]) == (2, "forming")
            before = len(client.messages)
            known = await client.subscribe("AAPL", since={"AAPL": at(298)}, id="again")
            assert minutes(known["data"]) == [298, 299, 300]
            assert len(client.messages) == before + 2
            before = len(client.of("snapshot"))
            await client.subscribe("AAPL", since=at(20), id="far again")
            shown = [bar for part in client.of("snapshot")[before:] for bar in part["data"]]
            assert minutes(shown) == list(range(20, 301)), "what others asked for is not all in memory"
            deep = await client.subscribe("AAPL", snapshot=100)
            assert minutes(deep["data"]) == list(range(200, 301))
            old = await client.subscribe("AAPL", since="2020-01-01T00:00:00Z")
            assert (old["code"], old["field"], old["limit"]) == ("since_too_old", "since", 10_000)

    database.write_bars(make_bars(*(final(n) for n in range(300))))
    live.write_bars(make_bars(*(final(n) for n in range(272, 299)), final(299, rev=2, state="amended")))
    live.write_live([forming(300, 1)])
    settings = socket_settings.model_copy(update={"postgres_dsn": SecretStr(postgres_dsn)})
    with socket_server(settings) as url:
        run(follow(url))


def test_bar_that_the_database_has_before_redis_reaches_everybody_once(
    socket_settings: Settings, live: RedisStore, database: TimescaleStore, postgres_dsn: str
) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client, SocketClient(url) as other, SocketClient(url) as back:
            left = (await client.subscribe("AAPL"))["seq"]
            await asyncio.to_thread(database.write_bars, make_bars(final(2)))
            await other.subscribe("AAPL", snapshot=100)
            late = await client.find(lambda each: each.get("mode") == "resync")
            assert (minutes(late["data"]), late["seq"]) == ([2], left)
            missed = await back.subscribe("AAPL", resume={"AAPL": left}, since=at(1))
            assert (missed["mode"], minutes(missed["data"])) == ("fresh", [1, 2])
            await asyncio.to_thread(live.write_bars, make_bars(final(2), final(3)))
            for each, first in ((client, 1), (other, 0), (back, 1)):
                await each.find(lambda told: told["type"] == "update" and told["data"]["start"] == at(3))
                assert [start for _, start, _ in each.finals] == [at(n) for n in range(first, 4)]
                assert each.gaps == []

    for store in (database, live):
        store.write_bars(make_bars(final(0), final(1)))
    settings = socket_settings.model_copy(update={"postgres_dsn": SecretStr(postgres_dsn)})
    with socket_server(settings) as url:
        run(follow(url))


def test_indicators_are_all_shown_though_bars_were_read_before(
    socket_settings: Settings, live: RedisStore, database: TimescaleStore, postgres_dsn: str
) -> None:
    bars = [final(n) for n in range(10)]
    values = indicators_table(*(indicators(bar, {"sma_5": 1.25}) for bar in bars))

    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            assert minutes((await client.subscribe("AAPL", snapshot=9))["data"]) == list(range(1, 10))
            shown = await client.subscribe("AAPL", channel="indicators", snapshot=9)
            assert minutes(shown["data"]) == list(range(1, 10))
            assert all(row["values"] == {"sma_5": 1.25} for row in shown["data"])

    database.write_bars(make_bars(*bars), values)
    live.write_bars(make_bars(*bars[8:]), indicators_table(*(indicators(bar, {"sma_5": 1.25}) for bar in bars[8:])))
    settings = socket_settings.model_copy(update={"postgres_dsn": SecretStr(postgres_dsn)})
    with socket_server(settings) as url:
        run(follow(url))


def test_without_the_database_the_tail_is_shown_and_since_is_refused(
    socket_settings: Settings, live: RedisStore
) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            few = await client.subscribe("AAPL", snapshot=10)
            assert (few["history"], minutes(few["data"])) == ("unavailable", [0, 1])
            refused = await client.subscribe("AAPL", since=at(0), id="s")
            assert (refused["code"], refused["store"], refused["symbol"]) == ("unavailable", "timescale", "AAPL")
            assert refused["retry_after"] > 0

    live.write_bars(make_bars(final(0), final(1)))
    with socket_server(socket_settings) as url:
        run(follow(url))


def test_amended_bar_older_than_the_tail_is_told(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            await client.subscribe("AAPL")
            await asyncio.to_thread(live.write_bars, make_bars(final(1, rev=2, state="amended")))
            update = await client.find(lambda each: each["type"] == "update")
            assert (update["state"], minutes([update["data"]])) == ("amended", [1])

    live.write_bars(make_bars(*(final(n) for n in range(40))))
    with socket_server(socket_settings) as url:
        run(follow(url))


def test_keys_that_went_away_start_higher(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            await client.subscribe("AAPL")
            with redis.Redis.from_url(socket_settings.redis_url.get_secret_value()) as wipe:
                wipe.flushdb()
            other = RedisStore(socket_settings.redis_url.get_secret_value())
            await asyncio.to_thread(other.write_live, [forming(1, 5)])
            await client.until(lambda: at(1) in client.held())
            assert client.gaps == []
            other.close()

    live.write_bars(make_bars(final(0)))
    with socket_server(socket_settings) as url:
        run(follow(url))


def test_own_server_conforms(
    socket_settings: Settings, live: RedisStore, database: TimescaleStore, postgres_dsn: str
) -> None:
    bars = make_bars(final(0))
    database.write_bars(bars)
    live.write_bars(bars)
    settings = socket_settings.model_copy(update={"postgres_dsn": SecretStr(postgres_dsn)})
    with socket_server(settings) as url, Writer(live):
        base = url.replace("ws://", "http://").removesuffix("/ws")
        assert conformance_socket.first_symbol(base, None) == "AAPL"
        assert run(conformance_socket.run_all(base, "AAPL")) == []
