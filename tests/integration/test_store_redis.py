"""Redis: what live and final rows do to each other, who is told, how long it lives, and what a crash does."""

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from core.errors import ConfigError, InputError, StoreUnavailable
from local.redis import Redis
from stores.redis import LiveRow, RedisReader, RedisStore, live_rows
from stores.redis_script import TAIL_BARS
from tests.batches import MINUTE_US, START_US, make_bar, make_bars

PASSWORD = "s3cret-Pa55"
NOWHERE = f"redis://:{PASSWORD}@127.0.0.1:9/0"


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    made = RedisStore(redis_url, ttl_seconds=120)
    yield made
    made.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as made:
        yield made


@pytest.fixture(scope="module")
def doomed(servers_folder: Path) -> Iterator[Redis]:
    with Redis(servers_folder / "redis-doomed") as server:
        yield server


def row(minute: int = 0, **changes: Any) -> LiveRow:
    """A forming bar as the relay sends it."""
    forming = {"rev": 0, "state": "forming", "processed_us": None}
    (made,) = live_rows(make_bars(make_bar(minute, **(forming | changes))))
    return made


def ask(url: str, question: Callable[[RedisReader], Any]) -> Any:
    async def run() -> Any:
        reader = RedisReader(url)
        try:
            return await question(reader)
        finally:
            await reader.close()

    return asyncio.run(run())


@pytest.fixture
def heard(redis_url: str) -> Iterator[Callable[[], list[tuple[str, int, int, int]]]]:
    """What was published since the last call: (channel, start's minute, rev, last offset)."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as made, made.pubsub() as channel:
        channel.psubscribe("bar:*")
        assert channel.get_message(timeout=5)["type"] == "psubscribe"

        def messages() -> list[tuple[str, int, int, int]]:
            made.publish("bar:end", "{}")
            found = []
            while (message := channel.get_message(timeout=5))["channel"] != "bar:end":
                bar = json.loads(message["data"])
                found.append(
                    (message["channel"], (bar["start"] - START_US) // MINUTE_US, bar["rev"], bar["last_offset"])
                )
            return found

        yield messages


def test_newer_offset_moves_the_bar_and_older_does_not(store: RedisStore, client: redis.Redis, heard: Any) -> None:
    assert store.write_live([row(last_offset=5, close=Decimal("5.1"))]) == 1
    assert store.write_live([row(last_offset=9, close=Decimal("9.1")), row(last_offset=7), row(last_offset=9)]) == 1
    assert client.hmget("bar:AAPL:1m", "offset", "close") == ["9", "9.10000000"]
    assert heard() == [("bar:AAPL:1m", 0, 0, 5), ("bar:AAPL:1m", 0, 0, 9)]
    assert json.loads(client.hget("bar:AAPL:1m", "json"))["last_offset"] == 9
    assert client.hlen("tail:AAPL:1m") == 1


def test_final_beats_forming_of_any_offset(store: RedisStore, redis_url: str) -> None:
    store.write_live([row(last_offset=100)])
    store.write_bars(make_bars(make_bar(0, last_offset=90)))
    store.write_live([row(last_offset=200)])
    (bar,) = ask(redis_url, lambda r: r.tail("AAPL", "1m"))
    assert (bar["state"], bar["rev"], bar["last_offset"]) == ("final", 1, 90)


def test_late_final_of_an_older_start_goes_to_the_tail_only(
    store: RedisStore, client: redis.Redis, redis_url: str, heard: Any
) -> None:
    store.write_live([row(0, last_offset=1), row(1, last_offset=2)])
    final = make_bars(make_bar(0, close=Decimal("1.00000000")))
    store.write_bars(final)
    store.write_bars(final)
    store.write_live([row(0, last_offset=3)])
    assert client.hget("bar:AAPL:1m", "start") == str(START_US + MINUTE_US)
    assert client.hget("latest:AAPL", "price") == "167.90000000"
    tail = ask(redis_url, lambda r: r.tail("AAPL", "1m"))
    assert [(bar["state"], bar["start"] - START_US) for bar in tail] == [("final", 0), ("forming", MINUTE_US)]
    assert [message[1:3] for message in heard()] == [(0, 0), (1, 0), (0, 1)]


def test_tail_keeps_the_newest_starts(store: RedisStore, redis_url: str, heard: Any) -> None:
    store.write_bars(make_bars(*(make_bar(n) for n in range(TAIL_BARS + 5))))
    heard()
    # Too old for the tail: a plain final is no news any more, an amendment is still told.
    store.write_bars(make_bars(make_bar(1), make_bar(2, rev=2, state="amended")))
    tail = ask(redis_url, lambda r: r.tail("AAPL", "1m"))
    assert [(bar["start"] - START_US) // MINUTE_US for bar in tail] == list(range(5, TAIL_BARS + 5))
    assert heard() == [("bar:AAPL:1m", 2, 2, 141)]


def test_starts_of_different_length_are_ordered_as_numbers(store: RedisStore, redis_url: str) -> None:
    # 2001-09-09, where epoch microseconds get their sixteenth digit
    edge = 1_000_000_020_000_000
    starts = [edge + n * MINUTE_US for n in range(-20, 20)]
    store.write_bars(make_bars(*(make_bar(start=start) for start in starts)))
    assert [bar["start"] for bar in ask(redis_url, lambda r: r.tail("AAPL", "1m"))] == starts[-TAIL_BARS:]


def test_latest_is_the_close_of_the_minute(store: RedisStore, redis_url: str) -> None:
    store.write_live([row(0, close=Decimal("100.25"), volume=Decimal("7"), last_offset=1), row(0, interval="5m")])
    assert ask(redis_url, lambda r: r.latest("AAPL")) == {
        "price": Decimal("100.25000000"),
        "volume": Decimal("7.00000000"),
        "event_us": START_US + MINUTE_US - 1,
        "received_us": START_US + MINUTE_US + 500,
        "start": START_US,
        "rev": 0,
    }
    # A minute whose trades may touch no price leaves the last price standing.
    store.write_live([row(1, close=None, close_us=None)])
    assert ask(redis_url, lambda r: r.latest("AAPL"))["price"] == Decimal("100.25")
    assert ask(redis_url, lambda r: r.latest("MSFT")) is None


def test_row_without_null_fields_is_read_with_all_columns(store: RedisStore, redis_url: str) -> None:
    full = row(0, reason=None)
    lean = json.dumps({name: value for name, value in json.loads(full.payload).items() if value is not None})
    store.write_live([LiveRow("AAPL", "1m", full.start, 0, 5, lean.encode())])
    (bar,) = ask(redis_url, lambda r: r.tail("AAPL", "1m"))
    assert bar == json_row(full)


def json_row(live: LiveRow) -> dict[str, Any]:
    amounts = ("open", "high", "low", "close", "volume", "notional", "vwap")
    return {n: Decimal(v) if n in amounts else v for n, v in json.loads(live.payload).items()}


def test_every_key_has_a_lifetime_that_writes_renew(store: RedisStore, client: redis.Redis) -> None:
    store.write_live([row(0), row(0, interval="5m"), row(1, last_offset=1)])
    store.write_bars(make_bars(make_bar(0)))
    keys = set(client.scan_iter())
    assert keys == {"bar:AAPL:1m", "bar:AAPL:5m", "tail:AAPL:1m", "tail:AAPL:5m", "latest:AAPL", "symbols"}
    assert all(110 < client.ttl(key) <= 120 for key in keys)
    for key in keys:
        client.expire(key, 50)
    client.hset("bar:AAPL:1m", "renewed", int(time.time()) - 13)  # a tenth of the lifetime and a second ago
    store.write_live([row(1, last_offset=2)])
    renewed = {key for key in keys if client.ttl(key) > 110}
    assert renewed == {"bar:AAPL:1m", "tail:AAPL:1m", "latest:AAPL", "symbols"}


def test_symbols_are_those_written_lately(store: RedisStore, client: redis.Redis, redis_url: str) -> None:
    client.zadd("symbols", {"GONE": time.time() - 121})
    store.write_live([row(symbol="XRP/ETH"), row(symbol="AAPL", interval="15m")])
    assert ask(redis_url, lambda r: r.symbols()) == ["AAPL", "XRP/ETH"]


def test_batch_of_many_rows_is_written_whole(store: RedisStore, client: redis.Redis) -> None:
    assert store.write_live([row(symbol=f"S{n}") for n in range(1_001)]) == 1_001
    assert client.zcard("symbols") == 1_001
    assert store.write_live([]) == 0


def test_garbage_payload_is_an_input_error_and_writes_nothing(store: RedisStore, client: redis.Redis) -> None:
    good = row(0)
    for payload in (b"no json", b"[1]", b'{"close": 1.5}', b"\xff"):
        with pytest.raises(InputError):
            store.write_live([good, LiveRow("AAPL", "1m", START_US, 0, 1, payload)])
    assert client.dbsize() == 0


def test_flushed_script_is_loaded_again(store: RedisStore, client: redis.Redis) -> None:
    store.write_live([row(last_offset=1)])
    client.script_flush()
    assert store.write_live([row(last_offset=2)]) == 1


def test_full_memory_is_store_unavailable(store: RedisStore, client: redis.Redis) -> None:
    store.setup()
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="OOM"):
            store.write_live([row()])
    finally:
        client.config_set("maxmemory", before)
    assert store.write_live([row()]) == 1


def test_dead_server_is_store_unavailable_without_the_password() -> None:
    store = RedisStore(NOWHERE)
    calls: list[Callable[[], Any]] = [
        store.setup,
        lambda: store.write_live([row()]),
        lambda: store.write_bars(make_bars(make_bar())),
        lambda: ask(NOWHERE, lambda r: r.ping()),
        lambda: ask(NOWHERE, lambda r: r.tail("AAPL", "1m")),
    ]
    for call in calls:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert time.monotonic() - began < 1  # a refused connection is no reason to wait
        assert caught.value.store == "redis" and PASSWORD not in str(caught.value)
        assert caught.value.__cause__ is None
    assert PASSWORD not in repr(store) + repr(RedisReader(NOWHERE))
    store.close()


def test_unreadable_url_is_refused_without_quoting_it() -> None:
    for make in (RedisStore, RedisReader):
        with pytest.raises(ConfigError) as caught:
            make(f"redsi://:{PASSWORD}@host")
        assert PASSWORD not in str(caught.value) and caught.value.__suppress_context__


def test_killed_server_needs_no_restart_of_the_process(doomed: Redis) -> None:
    store = RedisStore(doomed.url)
    store.write_live([row(0, last_offset=1)])
    doomed.kill()
    with pytest.raises(StoreUnavailable):
        store.write_live([row(0, last_offset=2)])
    doomed.start()
    store.write_live([row(0, last_offset=2)])
    doomed.kill()
    doomed.start()
    # Nobody called meanwhile: the script is gone with the server, the connection too, and the call has to work.
    store.write_bars(make_bars(make_bar(1)))
    tail = ask(doomed.url, lambda r: r.tail("AAPL", "1m"))
    assert [(bar["start"], bar["last_offset"]) for bar in tail] == [(START_US, 2), (START_US + MINUTE_US, 141)]
    store.close()


def test_killed_in_midstream_the_newest_bars_are_exact(doomed: Redis) -> None:
    store = RedisStore(doomed.url)
    with redis.Redis.from_url(doomed.url) as client:
        client.flushdb()
    failures = 0
    for offset in range(1, 400):
        batch = [row(offset // 50, symbol=f"S{n}", last_offset=offset, trade_count=offset) for n in range(20)]
        if offset in (100, 250):
            doomed.kill()
        while True:
            try:
                store.write_live(batch)
                break
            except StoreUnavailable:
                failures += 1
                doomed.start()
    assert failures == 2
    for n in range(20):
        tail = ask(doomed.url, lambda r, n=n: r.tail(f"S{n}", "1m"))
        newest = tail[-1]
        assert newest["start"] == START_US + 7 * MINUTE_US
        assert (newest["last_offset"], newest["trade_count"]) == (399, 399)
    store.close()


def test_reader_recovers_after_a_kill_and_gives_up_on_a_frozen_server(doomed: Redis) -> None:
    async def run() -> None:
        reader = RedisReader(doomed.url)
        await reader.ping()
        doomed.kill()
        with pytest.raises(StoreUnavailable):
            await reader.ping()
        doomed.start()
        await reader.ping()
        process = psutil.Process(doomed.pid)
        process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await reader.latest("AAPL")
            assert time.monotonic() - began < 4
        finally:
            process.send_signal(signal.SIGCONT)
        await reader.ping()
        await reader.close()

    asyncio.run(run())
