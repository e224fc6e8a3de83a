"""kill -9 of everything, one after the other, while ticks flow: every bar in every store stays exact."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import psycopg
import pytest
import redis
from confluent_kafka import Producer
from psycopg.rows import dict_row
from pydantic import SecretStr

from conf.settings import Settings
from conf.topics import BARS, BARS_LIVE, TICKS
from core.intervals import INTERVALS
from core.records import BAR_COLUMNS, Tick
from local.kafka import Kafka
from local.postgres import Postgres
from local.redis import Redis
from producers.topics import ensure_topics
from stores.redis import bar_from_json
from stores.redis_script import TAIL_BARS
from tests.indicator_rows import expected_values, last_of, newest_starts
from tests.integration.test_one_definition import CONTENT, START_US, arrivals, content, last_live
from tests.oracles import oracle_bars
from tests.streaming import close_all, consume
from tests.supervised import RELAY, SUBMIT, Supervised, wait_until

pytestmark = pytest.mark.spark

SYMBOLS = ["AAA", "BRK.B", "XRP/ETH"]
SPEED = 30  # market seconds per second: a bar closes every two
LATENESS_SECONDS = 60
TICKS_PER_SECOND = 100


class Feed:
    """Ticks of a fast market from a thread: out of order, some of them twice, some of the copies altered."""

    def __init__(self, settings: Settings) -> None:
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap, "enable.idempotence": True, "partitioner": "murmur2_random"}
            | {"linger.ms": 5, "delivery.timeout.ms": 120_000, "log_level": 0}
        )
        self._topic = settings.topic(TICKS)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failed = 0
        self.sent = 0
        self.last_us = START_US

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(10)
        assert self._producer.flush(60) == 0 and self.failed == 0

    def _run(self) -> None:
        rng = random.Random(7)
        started = time.monotonic()
        while not self._stopping.wait(1 / TICKS_PER_SECOND):
            market_us = START_US + int((time.monotonic() - started) * SPEED * 1_000_000)
            tick = self._tick(rng, market_us - rng.randrange(LATENESS_SECONDS * 500_000))
            self._send(tick)
            if rng.random() < 0.1:
                self._send(msgspec.structs.replace(tick, price=rng.choice([tick.price, "9999.5"])))
            self._producer.poll(0)

    def _tick(self, rng: random.Random, event_us: int) -> Tick:
        event_us = max(START_US, event_us)
        self.last_us = max(self.last_us, event_us)
        return Tick(
            symbol=rng.choice(SYMBOLS),
            event_us=event_us,
            price=f"{100 + rng.random() * 9:.{rng.choice([0, 2, 8])}f}",
            size=f"{rng.random() * 500:.{rng.choice([0, 3, 8])}f}",
            trade_id=rng.choice([None, f"t-{self.sent}", str(self.sent)]),
            seq=self.sent,
            source="feed",
            venue=rng.choice(["X", None]),
            received_us=event_us + 1000,
        )

    def _send(self, tick: Tick) -> None:
        self._producer.produce(self._topic, msgspec.json.encode(tick), tick.symbol, on_delivery=self._done)
        self.sent += 1

    def _done(self, error: object, _: object) -> None:
        self.failed += error is not None


@pytest.fixture
def servers(servers_folder: Path) -> Iterator[tuple[Kafka, Postgres, Redis]]:
    """Servers of this test's own, to be killed."""
    own = (
        Kafka(servers_folder / "crash-kafka", heap="400m"),
        Postgres(servers_folder / "crash-postgres"),
        Redis(servers_folder / "crash-redis"),
    )
    try:
        for server in own:
            server.start()
        yield own
    finally:
        for server in own:
            server.kill()


def own_settings(servers: tuple[Kafka, Postgres, Redis], path: Path) -> Settings:
    kafka, postgres, redis_server = servers
    settings = Settings(
        kafka_bootstrap=kafka.url,
        postgres_dsn=SecretStr(postgres.url),
        redis_url=SecretStr(redis_server.url),
        data_path=path,
        lateness_seconds=LATENESS_SECONDS,
        live_checkpoint_seconds=10,
        archive_trigger_ms=1000,
        lake_trigger_seconds=5,
        store_retry_seconds=3,
        redis_ttl_seconds=3600,
    )
    ensure_topics(settings)
    return settings


def query(settings: Settings, sql: str) -> list[dict]:
    """Rows; none while PostgreSQL is down or not yet migrated."""
    with (
        suppress(psycopg.OperationalError, psycopg.errors.UndefinedTable),
        psycopg.connect(
            settings.postgres_dsn.get_secret_value(), row_factory=dict_row, connect_timeout=2
        ) as connection,
    ):
        return connection.execute(sql).fetchall()
    return []


def micros_of(name: str) -> str:
    return f'(extract(epoch FROM "{name}") * 1000000)::bigint AS "{name}"'


def stored(settings: Settings) -> list[dict]:
    columns = (micros_of(name) if name in ("start", "end") else f'"{name}"' for name in BAR_COLUMNS)
    return query(settings, f"SELECT {', '.join(columns)} FROM bars")


def newest_bar(settings: Settings) -> int:
    """The start of the newest stored bar, in microseconds; 0 without any."""
    rows = query(settings, "SELECT (extract(epoch FROM max(start)) * 1000000)::bigint AS newest FROM bars")
    return (rows[0]["newest"] or 0) if rows else 0


def tails(settings: Settings) -> dict[tuple[str, str], dict[int, dict]]:
    found = {}
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        for symbol in SYMBOLS:
            for interval in INTERVALS:
                tail = client.hgetall(f"tail:{symbol}:{interval}")
                found[symbol, interval] = {int(start): bar_from_json(value) for start, value in tail.items()}
    return found


@pytest.mark.timeout(600)
def test_everything_killed_in_turn_leaves_every_bar_exact(servers, tmp_path: Path) -> None:
    settings = own_settings(servers, tmp_path)
    kafka, postgres, redis_server = servers
    driver = Supervised([SUBMIT, "jobs/stream.py", "--queries", "live,final,archive"], settings, tmp_path / "driver")
    relay = Supervised(RELAY, settings, tmp_path / "relay")
    processes = [driver, relay]
    try:
        with Feed(settings) as feed:
            until_bars_move(settings, processes)
            for victim in (driver, relay, kafka, postgres, redis_server):
                victim.kill()
                time.sleep(1)  # the outage itself
                if victim not in processes:
                    victim.start()
                until_bars_move(settings, processes)
        close_all(settings, feed.last_us + 1_000_000 * (900 + LATENESS_SECONDS))
        read = arrivals(consume(settings, TICKS))
        assert len(read) == feed.sent
        expected = content(list(oracle_bars(read).values()))
        wait_until(lambda: len(stored(settings)) >= len(expected), 90, processes, "the last bars")
        _assert_stored(settings, expected, read)
        _assert_indicators(settings)
        _assert_topics(settings, expected, processes)
        _assert_redis(settings, expected, processes)
        assert driver.starts >= 2 and relay.starts >= 2
        assert driver.stop() in (0, 143) and relay.stop() == 0  # 143 is how a JVM says that it was asked to end
    finally:
        for process in processes:
            process.kill()


def until_bars_move(settings: Settings, processes: Sequence[Supervised]) -> None:
    """Bars that ended after now, in the market's time, are stored."""
    before = newest_bar(settings)
    wait_until(lambda: newest_bar(settings) > before + 120_000_000, 180, processes, "new bars")


def _assert_stored(settings: Settings, expected: dict, read: Sequence[tuple[Tick, int, int]]) -> None:
    rows = stored(settings)
    assert content(rows) == expected
    assert {(row["rev"], row["state"], row["ruleset"]) for row in rows} == {(1, "final", "all@1")}
    trades = {(t.symbol, t.venue, t.trade_id) if t.trade_id else (t.symbol, t.source, t.seq) for t, _, _ in read}
    counted = "SELECT count(*) AS rows, count(DISTINCT identity) AS identities FROM ticks"
    wait_until(lambda: query(settings, counted) == [{"rows": len(trades), "identities": len(trades)}], 60)


def _assert_indicators(settings: Settings) -> None:
    """Those of a run that nothing disturbed: one pass over the bars."""
    values = query(settings, f"SELECT symbol, interval, {micros_of('start')}, rev, values FROM indicators")
    found = {(row["symbol"], row["interval"], row["start"]): row["values"] for row in values}
    assert found == expected_values(stored(settings), settings)
    states = query(settings, f"SELECT symbol, interval, {micros_of('start')}, specs, state FROM indicator_states")
    newest = newest_starts(list(found))
    assert {(row["symbol"], row["interval"]): row["start"] for row in states} == newest
    assert all(last_of(row["state"], row["specs"], settings, row["interval"]) == row["start"] for row in states)


def _assert_topics(settings: Settings, expected: dict, processes: Sequence[Supervised]) -> None:
    published: dict[bytes, dict] = {}
    for record in consume(settings, BARS):
        bar = bar_from_json(record.value)
        assert record.key.decode() == f"{bar['symbol']}|{bar['interval']}|{bar['start']}" and bar["rev"] == 1
        same = {name: bar[name] for name in CONTENT}
        assert published.setdefault(record.key, same) == same
    assert content(list(published.values())) == expected
    wait_until(
        lambda: content(last_live(consume(settings, BARS_LIVE))) == expected, 60, processes, "the last live rows"
    )


def _assert_redis(settings: Settings, expected: dict, processes: Sequence[Supervised]) -> None:
    wanted: dict[tuple[str, str], dict[int, dict]] = {}
    for (symbol, interval, start), bar in sorted(expected.items()):
        wanted.setdefault((symbol, interval), {})[start] = bar
    newest = {key: dict(sorted(bars.items())[-TAIL_BARS:]) for key, bars in wanted.items()}

    def held() -> dict:
        return {
            key: {start: {name: bar[name] for name in CONTENT} for start, bar in tail.items() if bar["rev"] == 1}
            for key, tail in tails(settings).items()
        }

    wait_until(lambda: held() == newest, 30, processes, "the tails in Redis")
