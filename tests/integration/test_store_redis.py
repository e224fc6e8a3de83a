"""Redis: what live and final rows do to each other, who is told, how long it lives, and what a crash does."""

import asyncio
import itertools
import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import redis

from core.errors import ConfigError, InputError, StoreUnavailable
from local.redis import Redis
from stores.redis import LiveRow, RedisReader, RedisStore, live_rows
from stores.redis_script import TAIL_BARS
from tests.batches import MINUTE_US, START_US, make_bar, make_bars
from tests.factories import indicators, indicators_table

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


def row(minute: int = 0, shown: bytes = b"", **changes: Any) -> LiveRow:
    """A forming bar as the relay sends it, with the JSON of its indicators."""
    forming = {"rev": 0, "state": "forming", "processed_us": None}
    (made,) = live_rows(make_bars(make_bar(minute, **(forming | changes))))
    return msgspec.structs.replace(made, indicators=shown)


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


# Indicators


def shown(url: str, interval: str = "1m") -> tuple[int, int, dict[str, Any]] | None:
    """The minute, revision and values that are newest."""
    held = ask(url, lambda r: r.indicators("AAPL", interval))
    return held and ((held["start"] - START_US) // MINUTE_US, held["rev"], held["values"])


def test_one_message_and_one_row_hold_the_bar_and_its_indicators(
    store: RedisStore, client: redis.Redis, redis_url: str
) -> None:
    values = {"sma_5": 0.1 + 0.2, "rsi_14": None, "tiny": 5e-324, "huge": -1.7976931348623157e308}
    bar = make_bar(0)
    with client.pubsub() as channel:
        channel.psubscribe("*")
        assert channel.get_message(timeout=5)["type"] == "psubscribe"
        store.write_bars(make_bars(bar, make_bar(0, interval="5m")), indicators_table(indicators(bar, values)))
        with_values, without = channel.get_message(timeout=5), channel.get_message(timeout=5)
        client.publish("end", "")
        assert channel.get_message(timeout=5)["channel"] == "end"  # indicators have no message of their own
    (plain,) = live_rows(make_bars(bar))
    assert json.loads(with_values["data"]) == json.loads(plain.payload) | {"indicators": values} | numbers(with_values)
    assert (with_values["channel"], without["channel"]) == ("bar:AAPL:1m", "bar:AAPL:5m")
    assert "indicators" not in json.loads(without["data"])
    assert client.hget("bar:AAPL:1m", "json") == with_values["data"]
    assert client.hgetall("indicators:AAPL:1m") == {
        "start": str(bar.start),
        "rev": "1",
        "offset": "141",
        "json": json.dumps(values, separators=(",", ":")),
    }
    assert ask(redis_url, lambda r: r.indicators("AAPL", "1m")) == {"start": bar.start, "rev": 1, "values": values}
    assert ask(redis_url, lambda r: r.indicators("AAPL", "5m")) is None


def numbers(message: dict[str, Any]) -> dict[str, int]:
    """The keys that every message begins with."""
    told = json.loads(message["data"])
    assert list(told)[:2] == ["seq", "relayed_us"] and told["seq"] < 1 << 53
    return {"seq": told["seq"], "relayed_us": told["relayed_us"]}


def test_tail_has_indicators_when_asked(store: RedisStore, redis_url: str) -> None:
    values = {"sma_5": 1.0, "rsi_14": None}
    bars = [make_bar(n) for n in range(3)]
    store.write_bars(make_bars(*bars), indicators_table(indicators(bars[0], values), indicators(bars[2], {})))
    plain = ask(redis_url, lambda r: r.tail("AAPL", "1m"))
    assert all("indicators" not in bar for bar in plain)
    rows = ask(redis_url, lambda r: r.tail("AAPL", "1m", with_indicators=True))
    assert rows == [bar | {"indicators": of} for bar, of in zip(plain, (values, None, {}), strict=True)]


def test_indicators_never_go_back(store: RedisStore, redis_url: str) -> None:
    steps = [
        (row(1, b'{"x":1}', last_offset=5), (1, 0, {"x": 1.0})),
        (row(1, b'{"x":2}', last_offset=5), (1, 0, {"x": 1.0})),  # the same row again is no news
        (row(1, b'{"x":3}', last_offset=4), (1, 0, {"x": 1.0})),
        (row(0, b'{"x":4}', last_offset=9, rev=7), (1, 0, {"x": 1.0})),  # an older bar, however often amended
        (row(1, b'{"x":5}', last_offset=6), (1, 0, {"x": 5.0})),
        (row(1, b'{"x":6}', last_offset=2, rev=1, state="final"), (1, 1, {"x": 6.0})),
        (row(1, b'{"x":7}', last_offset=9), (1, 1, {"x": 6.0})),
        (row(2, last_offset=1), (1, 1, {"x": 6.0})),  # a bar without: what is held says which bar it is of
        (row(1, b'{"x":8}', last_offset=9, rev=2, state="amended"), (1, 1, {"x": 6.0})),
        (row(2, b'{"x":null}', last_offset=2), (2, 0, {"x": None})),
    ]
    for live, expected in steps:
        store.write_live([live])
        assert shown(redis_url) == expected
    store.write_live([live for live, _ in steps])
    assert shown(redis_url) == steps[-1][1]


def test_late_final_with_indicators_is_told_and_kept_in_the_tail(
    store: RedisStore, client: redis.Redis, redis_url: str
) -> None:
    store.write_live([row(0, b'{"x":1}', last_offset=1), row(1, b'{"x":2}', last_offset=2)])
    store.write_bars(make_bars(make_bar(0)), indicators_table(indicators(make_bar(0), {"x": 1.5})))
    assert shown(redis_url) == (1, 0, {"x": 2.0})
    tail = ask(redis_url, lambda r: r.tail("AAPL", "1m", with_indicators=True))
    assert [(bar["rev"], bar["indicators"]) for bar in tail] == [(1, {"x": 1.5}), (0, {"x": 2.0})]


def test_indicators_join_the_bar_of_their_own_revision() -> None:
    bars = [make_bar(0), make_bar(0, rev=2), make_bar(0, interval="5m"), make_bar(1), make_bar(0, symbol="MSFT")]
    rows = [indicators(bar, {"n": float(n)}) for n, bar in enumerate(bars[1:], 1)]
    again = indicators(bars[4], {"n": 9.0})
    found = live_rows(make_bars(*bars), indicators_table(*rows[::-1], again, indicators(make_bar(7))))
    assert [live.indicators for live in found] == [b"", b'{"n":1.0}', b'{"n":2.0}', b'{"n":3.0}', b'{"n":9.0}']
    assert [live.payload for live in found] == [live.payload for live in live_rows(make_bars(*bars))]


def test_indicators_live_as_long_as_the_bar(store: RedisStore, client: redis.Redis) -> None:
    # They come with the bar's first row, or with a later one that renews nothing.
    store.write_live([row(0, b"{}"), row(0, interval="5m"), row(0, interval="15m")])
    client.expire("bar:AAPL:5m", 70)
    store.write_live([row(1, b"{}", interval="5m")])
    assert 110 < client.ttl("indicators:AAPL:1m") <= 120
    assert 60 < client.ttl("indicators:AAPL:5m") <= 70
    for name in ("1m", "5m", "15m"):
        client.hset(f"bar:AAPL:{name}", "renewed", int(time.time()) - 13)
        client.expire(f"indicators:AAPL:{name}", 50)
    store.write_live([row(2, b"{}"), row(2, interval="5m"), row(2, b"{}", interval="15m")])
    assert all(110 < client.ttl(f"indicators:AAPL:{name}") <= 120 for name in ("1m", "5m", "15m"))


def test_odd_payload_with_indicators_is_still_json(store: RedisStore, client: redis.Redis) -> None:
    full = row(0)
    spaced = json.dumps(json.loads(full.payload), indent=1).encode() + b" \n"
    store.write_live([msgspec.structs.replace(full, payload=spaced, indicators=b' {"a": 1} ')])
    told = json.loads(client.hget("bar:AAPL:1m", "json"))
    assert told == json.loads(full.payload) | {"indicators": {"a": 1}, "seq": told["seq"], "relayed_us": told["seq"]}


def test_garbage_indicators_are_an_input_error_and_write_nothing(store: RedisStore, client: redis.Redis) -> None:
    for garbage in (b"no json", b"[1]", b'{"x":NaN}', b'{"x":"1"}', b"\xff", b"{}}", b'{},"rev":1'):
        with pytest.raises(InputError):
            store.write_live([row(0), row(1, garbage)])
    assert client.dbsize() == 0


# Numbers


@pytest.fixture
def seqs(redis_url: str) -> Iterator[Callable[[], list[int]]]:
    """The numbers published since the last call."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as made, made.pubsub() as channel:
        channel.subscribe("bar:AAPL:1m", "bar:end")
        for _ in range(2):
            assert channel.get_message(timeout=5)["type"] == "subscribe"

        def found() -> list[int]:
            made.publish("bar:end", "{}")
            held = []
            while (message := channel.get_message(timeout=5))["channel"] != "bar:end":
                held.append(json.loads(message["data"])["seq"])
            return held

        yield found


def test_numbers_grow_by_one_whoever_writes(
    store: RedisStore, client: redis.Redis, redis_url: str, seqs: Callable[[], list[int]]
) -> None:
    began = time.time_ns() // 1000
    final_writer = RedisStore(redis_url, ttl_seconds=120)
    store.write_live([row(0, last_offset=1), row(0, last_offset=2), row(0, interval="5m", last_offset=2)])
    final_writer.write_bars(make_bars(make_bar(0)))  # its first number is the time, later than the others
    store.write_live([row(1, last_offset=3)])
    store.write_live([row(1, last_offset=4)])
    final_writer.write_bars(make_bars(make_bar(1)))
    store.write_live([row(2, last_offset=5), row(2, last_offset=6)])
    final_writer.write_bars(make_bars(make_bar(0, rev=2, state="amended")))  # of an older start
    found = seqs()
    assert began <= found[0] <= time.time_ns() // 1000
    steps = [after - before for before, after in itertools.pairwise(found)]
    assert len(found) == 9 and steps[0] == 1 and steps[1] >= 1 and steps[2:] == [1] * 6
    assert client.hget("bar:AAPL:1m", "seq") == str(found[-1])
    tail = {json.loads(held)["start"]: json.loads(held)["seq"] for held in client.hvals("tail:AAPL:1m")}
    assert sorted(tail.values()) == [found[5], found[7], found[8]]
    final_writer.close()


def test_what_is_no_news_gets_no_number(store: RedisStore, seqs: Callable[[], list[int]]) -> None:
    store.write_live([row(0, last_offset=5), row(0, last_offset=5), row(0, last_offset=4), row(0, last_offset=6)])
    first, second = seqs()
    assert second > first


def test_numbers_start_higher_when_redis_has_lost_them(
    store: RedisStore, client: redis.Redis, redis_url: str, seqs: Callable[[], list[int]]
) -> None:
    store.write_live([row(0, last_offset=n) for n in range(1, 50)])
    before = seqs()
    client.flushdb()
    store.write_live([row(0, last_offset=1)])
    RedisStore(redis_url).write_live([row(0, last_offset=2)])
    client.flushdb()
    other = RedisStore(redis_url)
    other.write_live([row(0, last_offset=1)])
    after = seqs()
    assert after == sorted({*before, *after})[-3:] and min(after) > max(before)
    assert ask(redis_url, lambda r: r.numbered_tail("AAPL", "1m"))[0] == after[-1]
    assert ask(redis_url, lambda r: r.numbered_tail("MSFT", "1m")) == (0, [])
    other.close()


def test_numbers_are_not_given_twice_after_a_crash_that_lost_them(doomed: Redis) -> None:
    one, other = RedisStore(doomed.url), RedisStore(doomed.url)
    one.write_live([row(0, symbol="LOST", last_offset=1)])
    other.write_live([row(0, symbol="LOST", last_offset=offset) for offset in range(2, 60)])
    before = ask(doomed.url, lambda r: r.numbered_tail("LOST", "1m"))[0]
    doomed.kill()
    for path in sorted(doomed.folder.rglob("appendonly*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    doomed.start()
    one.write_live([row(0, symbol="LOST", last_offset=61)])
    one.write_live([row(0, symbol="LOST", last_offset=62)])
    assert ask(doomed.url, lambda r: r.numbered_tail("LOST", "1m"))[0] > before
    one.close()
    other.close()


# The rest


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


def test_row_that_was_read_already_is_written_as_any_other(store: RedisStore, client: redis.Redis) -> None:
    plain = row(0, b'{"x":1.5}', last_offset=1)
    read = msgspec.structs.replace(row(0, b'{"x":1.5}', symbol="MSFT", last_offset=1), bar=plain.shown())
    store.write_live([plain, read])
    for name in ("bar", "indicators"):
        held = [client.hgetall(f"{name}:{symbol}:1m") for symbol in ("AAPL", "MSFT")]
        for each in held:
            each["json"] = re.sub(r'"seq":\d+', "", each["json"]).replace("MSFT", "AAPL")
            each.pop("seq", None)
        assert held[0] == held[1]
    assert client.hgetall("latest:AAPL") == client.hgetall("latest:MSFT")


def test_killed_connection_is_replaced_and_the_row_written_once(store: RedisStore, client: redis.Redis) -> None:
    store.write_live([row(0, last_offset=1)])
    (before,) = client.hmget("bar:AAPL:1m", "seq")
    client.client_kill_filter(_type="normal", skipme=True)
    assert store.write_live([row(0, last_offset=2)]) == 1
    assert store.connections == 2
    assert int(client.hget("bar:AAPL:1m", "seq")) > int(before)


def test_threads_share_a_store(store: RedisStore, client: redis.Redis) -> None:
    symbols = [f"S{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        writes = [
            pool.submit(store.write_live, [row(0, symbol=symbol, last_offset=offset)])
            for offset in range(1, 26)
            for symbol in symbols
        ]
        accepted = sum(write.result() for write in writes)
    assert store.connections == 1 and 8 <= accepted <= 200
    for symbol in symbols:
        held = client.hgetall(f"bar:{symbol}:1m")
        assert held["offset"] == "25" and json.loads(held["json"])["symbol"] == symbol


def test_full_memory_is_store_unavailable(store: RedisStore, client: redis.Redis) -> None:
    store.setup()
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            store.write_live([row()])
    finally:
        client.config_set("maxmemory", before)
    assert store.write_live([row()]) == 1


def test_replica_that_takes_no_writes_is_store_unavailable(doomed: Redis) -> None:
    """As during a failover: the next one is a master again."""
    store = RedisStore(doomed.url)
    with redis.Redis.from_url(doomed.url) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(StoreUnavailable, match="replica"):
                store.write_live([row()])
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
        client.flushall()
        assert store.write_live([row()]) == 1
        client.flushall()
    store.close()


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
