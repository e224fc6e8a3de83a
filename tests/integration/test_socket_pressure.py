"""Clients that do not read, bad messages, limits, and an orderly end."""

import asyncio
import time
from typing import Any

import httpx
import psutil
import pytest
from pydantic import SecretStr

from conf.settings import Settings
from stores.redis import RedisStore
from tests.batches import make_bars
from tests.ws_bars import Writer, at, final, forming
from tests.ws_client import SocketClient, run, socket_server

# So that a socket is full after a few frames and not after megabytes.
SMALL = {"max_queue": 1}


def changed(settings: Settings, **fields: Any) -> Settings:
    return settings.model_copy(update=fields)


async def stats(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        page = url.replace("ws://", "http://").removesuffix("/ws") + "/api/v1/metrics/sockets"
        return dict((await client.get(page)).json())


async def fill(client: SocketClient, live: RedisStore, url: str, first: int = 1, padding: int = 0) -> int:
    """Write forming bars of minute 50 until the worker has a client that is busy; the next offset."""
    client.stall()
    more = b'{"x":1' + b"".join(b',"c%d":%d' % (n, n) for n in range(padding)) + b"}"
    offset = first
    deadline = time.monotonic() + 20
    while True:
        rows = [forming(50, offset + n, more, symbol="PAD") for n in range(200)]
        await asyncio.to_thread(live.write_live, rows)
        offset += 200
        if (await stats(url))["busy"]:
            return offset
        assert time.monotonic() < deadline


def test_stalled_reader_gets_every_final_and_only_the_newest_forming(
    socket_settings: Settings, live: RedisStore
) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url, **SMALL) as slow, SocketClient(url) as quick:
            for client in (slow, quick):
                await client.subscribe("AAPL", "PAD")
            await quick.ask({"type": "unsubscribe", "channel": "bars", "symbols": ["PAD"]})
            await fill(slow, live, url)
            delays = []
            for minute in range(1, 40):
                for offset in range(1, 11):
                    began = time.monotonic()
                    await asyncio.to_thread(live.write_live, [forming(minute, offset)])
                    await quick.until(lambda o=offset, m=minute: quick.held().get(at(m), {}).get("trade_count", 0) >= o)
                    delays.append(time.monotonic() - began)
                await asyncio.to_thread(live.write_bars, make_bars(final(minute)))
            await asyncio.to_thread(live.write_live, [forming(40, 3)])
            found = await stats(url)
            assert found["conflated"] >= 300 and found["waiting"] <= 45 and found["slow_closes"] == 0
            slow.go_on()
            await slow.until(lambda: slow.held().get(at(40), {}).get("trade_count") == 3)
            assert [start for symbol, start, _ in slow.finals if symbol == "AAPL"] == [at(n) for n in range(40)]
            told = [each for each in slow.of("update") if each["symbol"] == "AAPL" and each["state"] == "forming"]
            assert 1 <= len(told) < 60
            assert slow.gaps == [] and quick.gaps == []
            assert len([each for each in quick.of("update") if each["state"] == "forming"]) >= 391
            assert sorted(delays)[len(delays) * 9 // 10] < 0.1  # a stalled neighbour is not waited for

    live.write_bars(make_bars(final(0), final(0, symbol="PAD")))
    with socket_server(socket_settings) as url:
        run(follow(url))


def test_slow_consumer_is_told_and_closed_without_growing(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url, **SMALL) as slow, SocketClient(url) as quick:
            await slow.subscribe("AAPL", "PAD")
            await quick.subscribe("AAPL")
            await fill(slow, live, url, padding=50)
            memory = psutil.Process().memory_info().rss
            for minute in range(1, 120):
                await asyncio.to_thread(live.write_bars, make_bars(final(minute)))
            await quick.until(lambda: at(119) in quick.held())
            found = await stats(url)
            assert (found["slow_closes"], found["waiting"]) == (1, 0)
            assert psutil.Process().memory_info().rss - memory < 30_000_000
            slow.go_on()
            await slow.until(lambda: slow.closed is not None)
            assert slow.closed == (1013, "slow consumer")
            assert [each["type"] for each in slow.messages[-1:]] == ["slow_consumer"]
            assert len(quick.finals) == 120 and quick.gaps == []

    live.write_bars(make_bars(final(0), final(0, symbol="PAD")))
    with socket_server(changed(socket_settings, api_socket_queue_frames=50, api_socket_queue_bytes=60_000)) as url:
        run(follow(url))


def test_client_that_reads_nothing_at_all_is_closed_after_a_while(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url, **SMALL) as slow:
            await slow.subscribe("PAD")
            await fill(slow, live, url)
            deadline = time.monotonic() + 60
            while (await stats(url))["connections"]:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert (await stats(url))["slow_closes"] == 1

    live.write_bars(make_bars(final(0, symbol="PAD")))
    with socket_server(changed(socket_settings, api_socket_stall_seconds=0.5)) as url:
        run(follow(url))


BAD: list[tuple[Any, str, str | None]] = [
    ("{", "invalid_json", None),
    (b"\xff\x00", "invalid_json", None),
    ("[1]", "invalid_message", None),
    ({"type": "subscrib"}, "unknown_type", "type"),
    ({"type": ["subscribe"]}, "unknown_type", "type"),
    ({}, "unknown_type", "type"),
    ({"type": "subscribe", "channel": "trades", "symbols": ["AAPL"]}, "unknown_channel", "channel"),
    ({"type": "subscribe", "channel": {}, "symbols": ["AAPL"]}, "unknown_channel", "channel"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "interval": "1h"}, "unknown_interval", "interval"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "interval": []}, "unknown_interval", "interval"),
    ({"type": "subscribe", "channel": "bars", "symbols": []}, "invalid_field", "symbols"),
    ({"type": "subscribe", "channel": "bars", "symbols": "AAPL"}, "invalid_field", "symbols"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL", 1]}, "invalid_field", "symbols"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["*"]}, "unknown_symbol", "symbols"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL", "NOPE"]}, "unknown_symbol", "symbols"),
    ({"type": "subscribe", "channel": "bars", "symbols": list("abcdef")}, "too_many_symbols", "symbols"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "snapshot": -1}, "invalid_field", "snapshot"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "snapshot": True}, "invalid_field", "snapshot"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "snapshot": 10**9}, "invalid_field", "snapshot"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "resume": 5}, "invalid_field", "resume"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "resume": {"B": 5}}, "invalid_field", "resume"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["A"], "resume": {"A": 1 << 53}}, "invalid_field", "resume"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "since": "soon"}, "invalid_field", "since"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "since": 5}, "invalid_field", "since"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "since": "2020-01"}, "invalid_field", "since"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "since": 10**15}, "since_too_old", "since"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "symbol": "AAPL"}, "unknown_field", "symbol"),
    ({"type": "subscribe", "channel": "bars", "symbols": ["AAPL"], "id": "x" * 65}, "invalid_field", "id"),
    ({"type": "ping", "id": [1]}, "invalid_field", "id"),
    ({"type": "unsubscribe", "channel": "bars", "symbols": ["AAPL"]}, "not_subscribed", "symbols"),
    ({"type": "ping", "pad": "x" * 70_000}, "message_too_large", None),
]  # fmt: skip


def test_bad_message_is_refused_by_name_and_the_socket_goes_on(
    socket_settings: Settings, live: RedisStore, postgres_dsn: str
) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            for number, (message, code, field) in enumerate(BAD):
                before = len(client.messages)
                await client.send(message)
                answer = await client.find(lambda each: each["type"] == "error", before)
                assert (answer["code"], answer.get("field")) == (code, field), message
                if isinstance(message, dict) and message.get("id") is None:
                    assert answer["id"] is None
                assert (await client.ask({"type": "ping", "id": number}))["type"] == "pong"
            assert (await client.ask({"type": "auth", "key": "whatever"}))["action"] == "auth"
            assert (await client.subscribe("AAPL"))["type"] == "snapshot"
            found = await stats(url)
            assert (found["connections"], found["refused"], found["streams"]) == (1, len(BAD), 1)
            limit = await client.ask({"type": "subscribe", "channel": "bars", "symbols": list("abcdefg")})
            assert (limit["code"], limit["limit"]) == ("too_many_symbols", 5)
            for _ in range(20):
                await client.send("{")
            await client.until(lambda: client.closed is not None)
            assert client.closed == (1008, "too many errors")

    live.write_bars(make_bars(final(0)))
    settings = changed(socket_settings, api_socket_subscriptions=5, postgres_dsn=SecretStr(postgres_dsn))
    with socket_server(settings) as url:
        run(follow(url))


def test_limits_of_subscriptions_connections_and_messages(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client, SocketClient(url):
            await client.subscribe("S0", "S1")
            over = await client.subscribe("S1", "S2", "S3")
            assert (over["code"], over["limit"], over["field"]) == ("too_many_subscriptions", 3, "symbols")
            assert (await client.subscribe("S1", "S2", id="fits"))["type"] == "snapshot"
            with pytest.raises(Exception, match=r"HTTP 4\d\d|1013|1008"):
                async with SocketClient(url) as third:
                    await third.until(lambda: third.closed is not None)
                    raise AssertionError(str(third.closed))
            for _ in range(60):
                await client.send({"type": "ping"})
            limited = await client.find(lambda each: each.get("code") == "rate_limited")
            assert limited["retry_after"] > 0

    live.write_bars(make_bars(*(final(0, symbol=f"S{n}") for n in range(4))))
    settings = changed(socket_settings, api_socket_subscriptions=3, api_sockets_per_address=2, api_socket_rate=5.0)
    with socket_server(settings) as url:
        run(follow(url))


def test_heartbeat_comes_each_second_and_counts(socket_settings: Settings) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            await client.until(lambda: len(client.of("heartbeat")) == 3)
            counters = [each["counter"] for each in client.of("heartbeat")]
            assert counters == list(range(counters[0], counters[0] + 3))
            times = [at for at, each in zip(client.arrivals, client.messages, strict=True)]
            assert 1.5 < times[-1] - times[0] < 3

    with socket_server(socket_settings) as url:
        run(follow(url))


def test_shutdown_says_goodbye_and_sends_what_waits(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str, leave: Any, writer: Writer) -> list[SocketClient]:
        clients = [SocketClient(url) for _ in range(5)]
        stalled = SocketClient(url, **SMALL)
        for client in (*clients, stalled):
            await client.__aenter__()
            await client.subscribe("AAPL", "PAD")
        await fill(stalled, live, url)
        written = writer.minute
        await clients[0].until(lambda: len(clients[0].finals) > 3 + written)
        ended = asyncio.create_task(asyncio.to_thread(leave))
        stalled.go_on()
        for client in (*clients, stalled):
            await client.until(lambda c=client: c.closed is not None)
            assert client.closed == (1001, "server stops") and client.messages[-1]["type"] == "closing"
            assert client.gaps == []
            closed = sorted(start for symbol, start, _ in client.finals if symbol == "AAPL")
            assert closed == list(range(closed[0], closed[-1] + 1, 60_000_000))
            await client.__aexit__()
        await ended
        return clients

    live.write_bars(make_bars(final(0, symbol="PAD")))
    with Writer(live) as writer:
        server = socket_server(socket_settings)
        url = server.__enter__()
        while writer.minute < 2:
            time.sleep(0.01)
        run(follow(url, lambda: server.__exit__(None, None, None), writer))


def test_clients_that_leave_in_any_way_cost_the_others_nothing(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str, writer: Writer) -> None:
        async with SocketClient(url) as stays:
            await stays.subscribe("AAPL")
            for number in range(60):
                leaves = await SocketClient(url).__aenter__()
                await leaves.subscribe("AAPL")
                if number % 2:
                    assert leaves._socket is not None
                    await leaves._socket.close()
                await leaves.__aexit__()
            await stays.until(lambda: len(stays.finals) > 5)
            deadline = time.monotonic() + 60
            while (found := await stats(url))["connections"] > 1:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert (found["subscriptions"], found["connections_total"]) == (1, 61)
            assert found["redis_connections"] == 1 and stays.gaps == []

    live.write_bars(make_bars(final(0)))
    with socket_server(socket_settings) as url, Writer(live) as writer:
        run(follow(url, writer))
