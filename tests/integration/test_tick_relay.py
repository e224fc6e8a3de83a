"""Ticks on the WebSocket: the relay on a real broker and Redis, and what a client gets of it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import redis
from confluent_kafka import Producer

from conf.settings import Settings
from conf.topics import TICKS
from core.records import Tick
from jobs.tick_relay import TickRelay
from local.server import free_port
from producers.publish import encode
from stores.redis import RedisStore
from tests.batches import make_bars
from tests.ws_bars import final
from tests.ws_client import SocketClient, run, socket_server


def tick(number: int, symbol: str = "AAPL", **changes: Any) -> Tick:
    now = time.time_ns() // 1000
    fields = {"price": "10.5", "size": "1", "trade_id": f"t{number}", "seq": number, "source": "test"}
    return Tick(**{"symbol": symbol, "event_us": now, "received_us": now, **fields, **changes})


def send(settings: Settings, *records: Tick | tuple[bytes, bytes]) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0})
    for record in records:
        key, value = record if isinstance(record, tuple) else (record.symbol.encode(), encode(record))
        producer.produce(settings.topic(TICKS), value, key=key, partition=0)
    assert producer.flush(30) == 0


@contextmanager
def relaying(settings: Settings) -> Iterator[TickRelay]:
    relay = TickRelay(settings)
    thread = threading.Thread(target=relay.run, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join(20)
    assert not thread.is_alive()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ticks_of_wanted_symbols_reach_the_client_in_order_and_no_others(settings: Settings) -> None:
    own = settings.model_copy(update={"api_auth": "off", "symbols": "AAPL,MSFT,META"})
    store = RedisStore(own.redis_url.get_secret_value())
    store.write_bars(make_bars(final(0), final(0, symbol="MSFT"), final(0, symbol="META")))

    async def follow(url: str, relay: TickRelay) -> None:
        async with SocketClient(url) as client:
            shown = await client.subscribe("AAPL", "MSFT", channel="ticks")
            assert (shown["data"], shown["seq"], "interval" in shown) == ([], 0, False)
            await asyncio.to_thread(wait_for, lambda: relay.reading and relay.wanted == {b"AAPL", b"MSFT"})
            now = time.time_ns() // 1000
            bad = [
                (b"AAPL", b"{"),
                (b"AAPL", b"null"),
                (b"AAPL", encode(tick(1, price="-1"))),
                (b"AAPL", encode(tick(1, event_us=now + 3_600_000_000))),
                (b"AAPL", encode(tick(1, symbol="MSFT"))),
                (b"AAPL", encode(tick(1, kind="heartbeat"))),
            ]
            await asyncio.to_thread(send, own, *bad, tick(1, "META"), *(tick(n) for n in range(300)), tick(1, "MSFT"))
            await client.until(lambda: len(client.of("update")) == 301)
            apples = [each for each in client.of("update") if each["symbol"] == "AAPL"]
            assert [each["data"]["seq"] for each in apples] == list(range(300))
            assert apples[0]["prev_seq"] == 0 and client.gaps == []
            assert [each["seq"] - each["prev_seq"] for each in apples[1:]] == [1] * 299
            assert apples[0]["data"]["price"] == "10.5" and "relayed_us" not in apples[0]["data"]
            stamps = apples[0]["stamps"]
            assert stamps["event_us"] <= stamps["relayed_us"] <= stamps["sent_us"]
            # The client may have them before the relay has Redis' answer.
            await asyncio.to_thread(wait_for, lambda: (relay.published, relay.invalid) == (301, 4))
            async with SocketClient(url) as back:
                again = await back.subscribe("AAPL", channel="ticks", resume={"AAPL": apples[249]["seq"]})
                assert again["mode"] == "resume" and [row["seq"] for row in again["data"]] == list(range(250, 300))

    with relaying(own) as relay, socket_server(own) as url:
        send(own, *(tick(n) for n in range(900, 910)))  # before anybody listens
        run(follow(url, relay))
    store.close()


def test_relay_reads_nothing_while_nobody_listens_and_starts_at_the_end(settings: Settings) -> None:
    with relaying(settings) as relay, redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        send(settings, tick(1))
        time.sleep(0.1)
        assert not relay.reading
        with client.pubsub() as listener:
            listener.subscribe("tick:AAPL")
            assert listener.get_message(timeout=5)["type"] == "subscribe"
            wait_for(lambda: relay.reading)
            send(settings, tick(2))
            message = listener.get_message(timeout=10)
            assert msgspec.json.decode(message["data"])["trade_id"] == "t2"
            assert list(msgspec.json.decode(message["data"]))[:2] == ["stream_seq", "relayed_us"]
        wait_for(lambda: not relay.reading)


def test_relay_takes_what_the_pipeline_takes_and_shows_text(settings: Settings) -> None:
    now = time.time_ns() // 1000
    fields = {"v": 1, "symbol": "AAPL", "event_us": now, "size": "1", "source": "test", "received_us": now}
    whole = fields | {"kind": "trade", "seq": 1, "price": 101.5}
    with relaying(settings) as relay, redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        with client.pubsub() as listener:
            listener.subscribe("tick:AAPL")
            listener.get_message(timeout=5)
            wait_for(lambda: relay.reading)
            lacking = [{name: value for name, value in whole.items() if name != gone} for gone in ("v", "seq", "kind")]
            send(settings, *((b"AAPL", msgspec.json.encode(each)) for each in (*lacking, whole)))
            message = msgspec.json.decode(listener.get_message(timeout=10)["data"])
        assert list(message)[:3] == ["stream_seq", "relayed_us", "v"] and message["price"] == "101.5"
        wait_for(lambda: (relay.published, relay.invalid) == (1, 3))


def test_clock_of_the_relay_refuses_no_tick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SimpleNamespace(monotonic=time.monotonic, time_ns=lambda: time.time_ns() - 60_000_000_000)
    monkeypatch.setattr("jobs.tick_relay.time", slow)
    with relaying(settings) as relay, redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        with client.pubsub() as listener:
            listener.subscribe("tick:AAPL")
            listener.get_message(timeout=5)
            wait_for(lambda: relay.reading)
            send(settings, tick(1), tick(2, event_us=time.time_ns() // 1000 + 30_000_000), tick(3))
            trades = [msgspec.json.decode(listener.get_message(timeout=10)["data"])["trade_id"] for _ in range(2)]
        assert trades == ["t1", "t3"] and relay.invalid == 1


def test_relay_goes_on_when_redis_comes_later(settings: Settings, servers_folder: Any, tmp_path: Any) -> None:
    from pydantic import SecretStr

    from local.redis import Redis

    server = Redis(servers_folder / f"ticks-{tmp_path.name}", port=free_port())
    own = settings.model_copy(update={"redis_url": SecretStr(server.url)})
    with relaying(own) as relay:
        time.sleep(0.3)
        with server, redis.Redis.from_url(server.url) as client, client.pubsub() as listener:
            listener.subscribe("tick:AAPL")
            listener.get_message(timeout=5)
            wait_for(lambda: relay.reading)
            send(own, tick(1))
            wait_for(lambda: relay.published == 1)
