"""The predictor on real servers: what it serves equals what it trained on, before the outcome, through amendments."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import psycopg
import pytest
import redis
from confluent_kafka import Producer

from conf.settings import Settings
from conf.topics import BARS
from core.clock import ManualClock
from core.intervals import DAY_US
from core.records import Bar
from ml.dataset import every_horizon
from ml.latest import predictions
from ml.server import Server, Training
from ml.shelf import Bundle, Shelf
from ml.training import train_challenger
from stores.redis import bar_to_json
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests import factories
from tests.receivers import until
from tests.unit.ml.histories import BEGIN_US, MINUTE_US, walk

AMOUNTS = ("open", "high", "low", "close", "volume", "notional")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    bars = walk(1200, 5, -0.5)
    samples = every_horizon(bars, horizons=(1, 5))
    return train_challenger(bars, samples, "1m", ManualClock(BEGIN_US), folds=2)


@pytest.fixture
def ready(settings: Settings, bundle: Bundle) -> Settings:
    """A migrated database, and the bundle as champion."""
    store = TimescaleStore(settings.postgres_dsn.get_secret_value())
    store.setup()
    store.close()
    shelf = Shelf(settings.models_path, "1m")
    shelf.save(bundle)
    shelf.promote(bundle.version)
    return settings.model_copy(update={"ml_retrain_hours": 0})


def history(symbol: str, last_us: int, count: int = 200) -> list[Bar]:
    """Bars up to the one that starts at `last_us`."""
    rows = walk(count, 7).to_dict("records")
    found = []
    for place, row in enumerate(rows):
        amounts = {name: Decimal(f"{row[name]:.8f}") for name in AMOUNTS[:-1]}
        notional = amounts["close"] * amounts["volume"]
        start = last_us - (count - 1 - place) * MINUTE_US
        found.append(factories.bar(symbol=symbol, start=start, notional=notional, **amounts))
    return found


def frame(bars: list[Bar]) -> pd.DataFrame:
    rows = [{"symbol": bar.symbol, "start": bar.start} | {name: float(getattr(bar, name)) for name in AMOUNTS}
            for bar in bars]  # fmt: skip
    return pd.DataFrame(rows)


def store(settings: Settings, bars: list[Bar]) -> None:
    database = TimescaleStore(settings.postgres_dsn.get_secret_value())
    database.write_bars(bars_table(bars))
    database.close()


def publish(settings: Settings, *bars: Bar, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    for bar in bars:
        value = bar_to_json(msgspec.structs.asdict(bar))
        producer.produce(settings.topic(BARS), value, key=bar.symbol, partition=partition)
    assert producer.flush(10) == 0


@contextmanager
def listening(settings: Settings, symbol: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """The next message on the symbol's channel."""
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client, client.pubsub() as pubsub:
        pubsub.subscribe(f"prediction:{symbol}")
        assert pubsub.get_message(timeout=5) is not None

        def following() -> dict[str, Any]:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                message = pubsub.get_message(timeout=1)
                if message is not None and message["type"] == "message":
                    found: dict[str, Any] = msgspec.json.decode(message["data"])
                    return found
            raise AssertionError("nothing was said")

        yield following


@contextmanager
def serving(settings: Settings) -> Iterator[Server]:
    server = Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.following.wait(20)
        yield server
    finally:
        server.stop()
        thread.join(20)
    assert not thread.is_alive()


def expected(bundle: Bundle, bars: list[Bar]) -> list[tuple[int, float, float]]:
    rows = predictions(bundle, frame(bars))
    return [(row["horizon"], row["expected_return"], row["rise_probability"]) for row in rows]


def said(message: dict[str, Any]) -> list[tuple[int, float, float]]:
    return [(each["horizon"], each["expected_return"], each["rise_probability"]) for each in message["horizons"]]


def stored(settings: Settings, symbol: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        return connection.execute(
            "SELECT horizon, expected_return, rise_probability, made_at < outcome_at, model FROM predictions "
            'WHERE symbol = %s ORDER BY "start", horizon', (symbol,)).fetchall()  # fmt: skip


def test_served_equals_trained_through_an_amendment_and_nothing_is_said_afterwards(
    ready: Settings, bundle: Bundle
) -> None:
    minute = (time.time_ns() // 1000 // MINUTE_US + 1) * MINUTE_US  # a minute at least until the first outcome
    bars = history("AAA", minute - MINUTE_US)
    *before, newest = bars
    store(ready, before)
    with serving(ready) as server, listening(ready, "AAA") as following:
        publish(ready, newest)
        message = following()
        assert said(message) == expected(bundle, bars)
        assert (message["start"], message["end"], message["model"]) == (newest.start, newest.end, bundle.version)
        store(ready, [newest])
        amended = factories.bar(**msgspec.structs.asdict(before[-3]) | {
            "close": before[-3].close * 2, "high": before[-3].high * 3, "rev": 2, "state": "amended", "reason": "late",
        })  # fmt: skip
        store(ready, [amended])
        publish(ready, amended)
        later = factories.bar(**msgspec.structs.asdict(newest) | {"start": minute, "end": minute + MINUTE_US})
        publish(ready, later, factories.bar(symbol="OLD", start=minute - 86_400_000_000))
        again = following()
        now = [*(amended if bar.start == amended.start else bar for bar in bars), later]
        assert said(again) == expected(bundle, now) != expected(bundle, [*bars, later])
        assert again["stream_seq"] > message["stream_seq"]
    rows = stored(ready, "AAA")
    assert [row[:3] for row in rows] == expected(bundle, bars) + expected(bundle, now)
    assert all(in_time and model == bundle.version for *_, in_time, model in rows)
    assert server.made == len(rows) == 4 and stored(ready, "OLD") == []


def test_session_counts_from_its_first_bar_after_a_restart_and_an_amended_bar(ready: Settings, bundle: Bundle) -> None:
    evening = (time.time_ns() // 1000 // DAY_US + 2) * DAY_US - 2 * MINUTE_US  # tomorrow's, whatever the time is
    bars = history("AAA", evening, 1500)
    midnight = next(place for place, bar in enumerate(bars) if bar.start % DAY_US == 0)
    bars[midnight] = heavy(bars[midnight], Decimal(50), rev=1)
    store(ready, bars[:-1])
    with serving(ready) as server, listening(ready, "AAA") as following:
        publish(ready, bars[-1])
        assert said(following()) == expected(bundle, bars) != expected(bundle, bars[-500:])
        amended = heavy(bars[midnight], Decimal(120), rev=2, state="amended", reason="late")
        store(ready, [bars[-1], amended])
        later = factories.bar(**msgspec.structs.asdict(bars[-1]) | {"start": evening + MINUTE_US,
                                                                    "end": evening + 2 * MINUTE_US})  # fmt: skip
        publish(ready, amended, later)
        now = [*(amended if bar.start == amended.start else bar for bar in bars), later]
        assert said(following()) == expected(bundle, now) != expected(bundle, [*bars, later])
    assert server.made == 4


def heavy(bar: Bar, price: Decimal, **others: Any) -> Bar:
    """With volume enough at a price for the session's VWAP to be about that."""
    volume = Decimal(100_000_000)
    return factories.bar(**msgspec.structs.asdict(bar) | {"volume": volume, "notional": price * volume} | others)


def test_backlog_spread_over_partitions_is_read_in_order_and_so_is_what_comes_after_a_restart(
    ready: Settings, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.feeding.BATCH", 7)
    minute = time.time_ns() // 1000 // MINUTE_US * MINUTE_US
    bars, other = history("AAA", minute, 260), history("BBB", minute - MINUTE_US, 200)
    before, backlog, newest = bars[:120], bars[120:-1], bars[-1]
    store(ready, before + other[:-1])
    dsn = ready.postgres_dsn.get_secret_value()
    with serving(ready), listening(ready, "AAA") as following:
        with psycopg.connect(dsn) as connection:
            connection.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            publish(ready, other[-1])  # the predictor waits to write what it says of this one
            waiting = (
                "SELECT FROM pg_locks WHERE NOT granted AND relation = 'predictions'::regclass"
                " AND mode = 'RowExclusiveLock'"
            )
            until(lambda: connection.execute(waiting).fetchall(), "it hangs")
            for first in (1, 0):
                publish(ready, *backlog[first::2], partition=first)
            publish(ready, newest, partition=1)
        while (message := following())["start"] < newest.start:  # of horizons that are not over yet
            pass
        assert said(message) == expected(bundle, bars)
    store(ready, [*backlog, newest])
    later = history("AAA", minute + MINUTE_US, 261)[-1:]
    with serving(ready), listening(ready, "AAA") as following:
        publish(ready, *later)
        assert said(following()) == expected(bundle, bars + later)


def test_database_refuses_what_comes_after_its_outcome(ready: Settings) -> None:
    with (
        psycopg.connect(ready.postgres_dsn.get_secret_value()) as connection,
        pytest.raises(psycopg.errors.CheckViolation),
    ):
        connection.execute(
            "INSERT INTO predictions VALUES ('A', '1m', now() - interval '1 hour', 1, 'm', now() - interval '1 minute',"
            " now(), 0, 0.5, 0.1, '{}')"
        )


def test_killed_predictor_goes_on_with_the_next_bar(ready: Settings, bundle: Bundle) -> None:
    minute = time.time_ns() // 1000 // MINUTE_US * MINUTE_US
    bars = history("BBB", minute)
    store(ready, bars[:-2])
    process = start(ready)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    publish(ready, bars[-2])  # nobody is there
    store(ready, [bars[-2]])
    process = start(ready)
    try:
        with listening(ready, "BBB") as following:
            publish(ready, bars[-1])
            assert said(following()) == expected(bundle, bars)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert len(stored(ready, "BBB")) == 2


def start(settings: Settings) -> "subprocess.Popen[bytes]":
    """`python -m ml serve`, following the topic."""
    environment = {
        "KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "POSTGRES_DSN": settings.postgres_dsn.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "TICKSTREAM_TOPIC_PREFIX": settings.topic_prefix,
        "TICKSTREAM_DATA_PATH": str(settings.data_path),
        "TICKSTREAM_ML_RETRAIN_HOURS": "0",
    }
    log = settings.data_path / "predictor.log"
    log.unlink(missing_ok=True)
    with log.open("wb") as output:
        command = [sys.executable, "-u", "-m", "ml", "serve"]
        process = subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=output)
    deadline = time.monotonic() + 30
    while b"predictor started" not in log.read_bytes():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return process


def test_training_begins_when_it_is_due(tmp_path: Path, bundle: Bundle) -> None:
    settings = Settings(data_path=tmp_path, ml_retrain_hours=24)
    clock = ManualClock(bundle.card["made_us"])
    training = Training(settings, "1m", clock)
    hour = 3_600_000_000
    data = bundle.card["report"]["data"] | {"from": "2025-01-01T00:00:00.000000Z", "to": "2026-01-01T00:00:00.000000Z"}
    old = Bundle(bundle.version, bundle.models, bundle.card | {"report": {"data": data}})
    assert not training.due(bundle)
    clock.advance(20 * hour - 1)
    assert not training.due(bundle)
    clock.advance(1)  # as long again as its 1,200 minute bars
    assert training.due(bundle) and not training.due(old) and training.due(None)
    clock.advance(4 * hour)
    assert training.due(old)
    training.tried()
    assert not training.due(bundle) and not training.due(None)
    clock.advance(hour)
    assert training.due(None) and not training.due(bundle)  # without a champion it is tried again soon
    assert not Training(Settings(data_path=tmp_path, ml_retrain_hours=0), "1m", clock).due(None)
