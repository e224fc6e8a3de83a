"""Anomalies over real stores: what is in the table is in Redis and in the topic, through restarts and amendments."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
import pytest
import redis
from pydantic import SecretStr

from conf.settings import Settings
from conf.topics import ANOMALIES
from core.anomalies import Finding
from core.errors import StoreUnavailable
from core.intervals import MINUTE_US
from core.records import Bar
from jobs.anomalies import FinalAnomalies
from stores import amending
from stores.anomalies import AnomalyStore
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.batches import make_bar
from tests.streaming import consume
from tests.unit.core.anomalies.series import BEGIN_US, quiet

CLOSES = quiet(100)


def bar(minute: int, close: float, symbol: str = "AAA", volume: float = 100.0, rev: int = 1, **more: Any) -> Bar:
    price = Decimal(f"{close:.8f}")
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), price)
    amounts = {"volume": Decimal(f"{volume:.8f}"), "notional": price * Decimal(f"{volume:.8f}")}
    return make_bar(start=BEGIN_US + minute * MINUTE_US, symbol=symbol, rev=rev, **prices, **amounts, **more)


def history(*more: float, symbol: str = "AAA") -> list[Bar]:
    """A hundred quiet minutes, and these closes after them."""
    return [bar(minute, close, symbol) for minute, close in enumerate([*CLOSES, *more])]


@dataclass
class Driver:
    """The final query's sink without Spark: batches of bars to the database, then judged."""

    settings: Settings
    number: int = -1
    anomalies: FinalAnomalies = field(init=False)
    store: TimescaleStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = TimescaleStore(self.settings.postgres_dsn.get_secret_value())
        self.store.setup()
        self.anomalies = FinalAnomalies(self.settings)

    def restart(self) -> None:
        """A process that has just started, on the checkpoint that is there."""
        self.anomalies.close()
        self.anomalies = FinalAnomalies(self.settings)

    def close(self) -> None:
        self.anomalies.close()
        self.store.close()

    def batch(self, *bars: Bar, again: bool = False, clock_us: int | None = None) -> None:
        self.number += not again
        table = bars_table(list(bars))
        ends = [each.end for each in bars]
        with self.anomalies.over(table, self.number, max(ends, default=0) if clock_us is None else clock_us):
            if bars:
                self.store.write_bars(table)

    def table(self) -> list[Finding]:
        found = AnomalyStore(self.settings.postgres_dsn.get_secret_value())
        rows = [each for symbol in ("AAA", "BBB") for each in found.of_series(symbol, "1m", 0, 1 << 62)]
        return sorted(rows, key=lambda each: (each.start, each.symbol, each.rule))

    def topic(self) -> list[Finding]:
        return [msgspec.json.decode(record.value, type=Finding) for record in consume(self.settings, ANOMALIES)]

    def told(self, rule: str) -> list[tuple[int, str, int]]:
        """Minute, state and revision, of one rule in the table."""
        return [
            ((each.start - BEGIN_US) // MINUTE_US, each.state, each.rev) for each in self.table() if each.rule == rule
        ]


@pytest.fixture
def driver(settings: Settings) -> Iterator[Driver]:
    made = Driver(settings.model_copy(update={"intervals": "1m"}))
    yield made
    made.close()


@contextmanager
def listening(settings: Settings, channel: str) -> Iterator[Callable[[], bytes]]:
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client, client.pubsub() as pubsub:
        pubsub.subscribe(channel)
        assert pubsub.get_message(timeout=5) is not None

        def following() -> bytes:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                message = pubsub.get_message(timeout=1)
                if message is not None and message["type"] == "message":
                    return bytes(message["data"])
            raise AssertionError("nothing was said")

        yield following


def test_table_redis_and_topic_say_the_same(driver: Driver) -> None:
    driver.batch(*history())
    with listening(driver.settings, "anomaly:AAA") as following:
        driver.batch(bar(100, 50.0, volume=1000.0))
        messages = [following() for _ in range(6)]
    held, published = driver.table(), driver.topic()
    assert sorted(published, key=lambda each: (each.start, each.rule)) == held
    newest = [each for each in held if each.start == BEGIN_US + 100 * MINUTE_US]
    assert {each.rule for each in newest} >= {"price_move", "return_mad", "return_ewma", "close_zscore", "volume_spike"}
    heads = [msgspec.json.decode(message) for message in messages]
    numbers = [head["stream_seq"] for head in heads]
    assert all(message.startswith(b'{"stream_seq":') for message in messages)
    assert list(heads[0])[:2] == ["stream_seq", "relayed_us"] and numbers == list(range(numbers[0], numbers[0] + 6))
    said = {head["rule"]: {name: head[name] for name in Finding.__struct_fields__} for head in heads}
    assert said == {each.rule: msgspec.structs.asdict(each) for each in newest}
    with redis.Redis.from_url(driver.settings.redis_url.get_secret_value()) as client:
        last = msgspec.json.decode(client.get("anomaly:AAA:1m") or b"", type=Finding)
        assert last in newest and 0 < client.ttl("anomaly:AAA:1m") <= driver.settings.redis_ttl_seconds
    assert newest[0].event_us == newest[0].end == newest[0].start + MINUTE_US


def test_repeated_batches_and_new_processes_find_the_same_once(driver: Driver) -> None:
    bars = history(106.0, 106.1, 99.0, 99.1, 99.0)
    expected = Driver(driver.settings.model_copy(update={"data_path": driver.settings.data_path / "one"}))
    for number in range(0, len(bars), 7):
        part = bars[number : number + 7]
        driver.batch(*part)
        if number % 3 == 0:
            driver.restart()
        driver.batch(*part, again=True)
    through, moved = driver.table(), driver.told("price_move")
    assert [each[:2] for each in moved] == [(100, "firing"), (101, "resolved"), (102, "firing"), (103, "resolved")]
    with psycopg.connect(driver.settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("TRUNCATE anomalies, bars")
    expected.batch(*bars)
    assert expected.table() == through
    expected.close()


def test_new_checkpoint_goes_on_from_the_database(driver: Driver) -> None:
    driver.batch(*history(106.0))
    fresh = Driver(driver.settings.model_copy(update={"data_path": driver.settings.data_path / "fresh"}))
    fresh.batch(bar(101, 106.1))
    assert driver.told("price_move") == [(100, "firing", 1), (101, "resolved", 1)]
    over = next(each for each in driver.table() if each.state == "resolved" and each.rule == "price_move")
    assert over.since == BEGIN_US + 100 * MINUTE_US and over.severity == "info"
    fresh.close()


def test_amended_bar_is_judged_again(driver: Driver) -> None:
    dsn = driver.settings.postgres_dsn.get_secret_value()
    driver.batch(*history(106.0, 106.0, 106.0))
    assert driver.told("price_move") == [(100, "firing", 1), (101, "resolved", 1)]
    amended = {"state": "amended", "reason": "late"}
    driver.store.write_bars(
        bars_table([bar(100, CLOSES[-1], rev=2, **amended), bar(101, CLOSES[-1], rev=2, **amended)])
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        for minute in (100, 101):  # two runs of reconciling, each over in every store, before the next final bar
            amending.note(connection, "AAA", "1m", BEGIN_US + minute * MINUTE_US, restated=False)
            for each in amending.unsettled(connection, timedelta(0)):
                amending.settle(connection, each)
    driver.batch(bar(103, 106.0))
    assert driver.told("price_move") == [
        (100, "resolved", 2),
        (101, "resolved", 2),
        (102, "firing", 1),
        (103, "resolved", 1),
    ]
    taken_back = [each for each in driver.table() if "taken back" in each.text]
    assert {each.rule for each in taken_back} >= {"price_move", "return_mad"}
    assert taken_back[0].text.startswith("AAA 1m: taken back, since a bar was amended, ")
    told = len(driver.topic())
    driver.restart()
    driver.batch(bar(104, 106.0))
    assert [each for each in driver.topic()[told:] if each.start < BEGIN_US + 104 * MINUTE_US] == []


def test_silent_symbol_is_told_while_others_trade_and_while_nobody_does(driver: Driver) -> None:
    driver.batch(*(bar(minute, 100.0, symbol) for minute in range(3) for symbol in ("AAA", "BBB")))
    for minute in range(3, 9):
        driver.batch(bar(minute, 100.0, "BBB"))
    assert driver.told("silent_feed") == [(7, "firing", 0)]
    driver.restart()
    driver.batch(clock_us=BEGIN_US + 14 * MINUTE_US)  # heartbeats alone
    silent = [(each.symbol, (each.start - BEGIN_US) // MINUTE_US) for each in driver.table() if each.state == "firing"]
    assert silent == [("AAA", 7), ("AAA", 10), ("AAA", 12), ("BBB", 13)]
    driver.batch(bar(15, 100.0, "AAA"))
    assert [each.symbol for each in driver.table() if each.state == "resolved"] == ["AAA"]


def test_latency_is_that_of_the_forming_bar_s_last_tick(driver: Driver) -> None:
    live = RedisStore(driver.settings.redis_url.get_secret_value(), 300)
    now_us = time.time_ns() // 1000
    slow = bar(0, 100.0, received_us=now_us - 400_000, rev=0, state="forming")
    quick = bar(0, 100.0, "BBB", received_us=now_us, rev=0, state="forming")
    live.write_bars(bars_table([slow, quick]))
    driver.batch(bar(0, 100.0), bar(0, 100.0, "BBB"))
    live.close()
    found = [each for each in driver.table() if each.rule == "latency"]
    assert [(each.symbol, each.severity) for each in found] == [("AAA", "critical")]
    assert 400 <= found[0].value < 10_000


def test_rule_that_breaks_stops_no_bars(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.batch(*history())
    monkeypatch.setattr("core.anomalies.judge.Judge.take", lambda *_: 1 / 0)
    driver.batch(bar(100, 50.0))
    monkeypatch.undo()
    driver.batch(bar(101, 100.0))
    assert (101, "firing", 1) in driver.told("price_move")  # from 50 to 100: the bar before is known
    assert driver.store.read_bars_before([("AAA", "1m")], 1 << 60, 1000).num_rows == 102


def test_store_of_findings_that_is_down_fails_the_batch_which_is_then_repeated(driver: Driver) -> None:
    driver.batch(*history())
    nobody = driver.settings.model_copy(
        update={"redis_url": SecretStr("redis://127.0.0.1:1/0"), "store_retry_seconds": 0}
    )
    healthy, driver.anomalies = driver.anomalies, FinalAnomalies(nobody)
    with pytest.raises(StoreUnavailable, match="redis"):
        driver.batch(bar(100, 50.0))
    assert (100, "firing", 1) in driver.told("price_move") and driver.topic() == []
    driver.anomalies = healthy
    driver.restart()
    driver.batch(bar(100, 50.0), again=True)
    assert [each.rule for each in driver.topic()].count("price_move") == 1
    assert driver.told("price_move") == [(100, "firing", 1)]


def test_intervals_that_are_not_judged_cost_nothing(settings: Settings) -> None:
    off = Driver(settings.model_copy(update={"anomaly_intervals": ""}))
    off.batch(*history(50.0))
    assert off.table() == [] and not (settings.checkpoint_path / "final" / "anomalies").exists()
    off.close()
