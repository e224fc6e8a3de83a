"""`python -m producers` as a user runs it, against a real broker."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from confluent_kafka.admin import AdminClient

from conf.settings import Settings
from conf.topics import DEAD, TICKS
from core import rulesets
from core.bars import fold_bars
from core.errors import InvalidTick
from core.records import Tick
from core.validate import check
from local.kafka import Kafka
from producers.expected import late_path
from stores.schema import bars_table
from tests.topics import read_ticks, read_topic

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture
def feed(kafka_server: Kafka) -> Settings:
    return Settings(kafka_bootstrap=kafka_server.url, topic_prefix=f"t{uuid.uuid4().hex[:12]}.")


def environment(feed: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TICKSTREAM_")}
    return kept | {"KAFKA_BOOTSTRAP": feed.kafka_bootstrap, "TICKSTREAM_TOPIC_PREFIX": feed.topic_prefix}


def producers(feed: Settings, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "producers", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, env=environment(feed), text=True, capture_output=True, timeout=120)


def run(feed: Settings, *args: object) -> str:
    done = producers(feed, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def recorded(path: Path, **changes: object) -> Path:
    """Ten ticks of two symbols, a second apart, in the recorded layout."""
    columns: dict[str, object] = {
        "symbol": ["A", "B"] * 5,
        "event_time": pd.date_range("2024-03-04 11:29:55.5", periods=10, freq="1s", tz="UTC"),
        "seq": range(10),
        "price": np.arange(10) + 100.25,
        "size": [100.0] * 10,
        "exchange": ["N"] * 10,
    }
    pd.DataFrame(columns | changes).to_parquet(path, index=False)
    return path


def test_replay_publishes_every_tick_and_closes_the_last_bars(feed: Settings, tmp_path: Path) -> None:
    out = run(feed, "replay", recorded(tmp_path / "day.parquet"), "--speed", "max")
    assert "replayed 10 ticks of 2 symbols, 2024-03-04T11:29:55Z to 2024-03-04T11:30:04Z, 0 refused" in out
    ticks = sorted(read_ticks(feed.kafka_bootstrap, feed.topic(TICKS)), key=lambda tick: tick.seq)
    assert [(tick.seq, tick.symbol, tick.price, tick.size) for tick in ticks] == [
        (n, "AB"[n % 2], f"{n + 100}.25", "100") for n in range(10)
    ]
    assert {(tick.source, tick.venue) for tick in ticks} == {("replay:day", "N")}
    records = read_topic(feed.kafka_bootstrap, feed.topic(TICKS))
    beats = [one for one in map(decode, records) if one is not None and one.kind == "heartbeat"]
    assert len(beats) == feed.ticks_partitions
    # 11:45, where the last 15-minute bar ends, and the lateness.
    assert all(beat.event_us > 1_709_552_700_000_000 + feed.lateness_seconds * 1_000_000 for beat in beats)


def test_replay_no_close_sends_ticks_only(feed: Settings, tmp_path: Path) -> None:
    run(feed, "replay", recorded(tmp_path / "day.parquet"), "--speed", "max", "--no-close")
    assert len(read_topic(feed.kafka_bootstrap, feed.topic(TICKS))) == 10


def test_replay_refuses_bad_rows_and_sends_the_rest(feed: Settings, tmp_path: Path) -> None:
    prices = np.arange(10) + 100.25
    prices[3], prices[4] = np.nan, -1
    out = run(feed, "replay", recorded(tmp_path / "day.parquet", price=prices), "--speed", "max")
    assert "replayed 8 ticks" in out and "2 refused" in out
    dead = read_topic(feed.kafka_bootstrap, feed.topic(DEAD))
    assert [dict(record.headers)["reason"] for record in dead] == [b"price", b"price"]
    assert [msgspec.json.decode(record.value)["seq"] for record in dead] == [3, 4]


def test_replay_at_a_speed_takes_its_time_and_shifts_the_clock(feed: Settings, tmp_path: Path) -> None:
    begun = time.time()
    run(feed, "replay", recorded(tmp_path / "day.parquet"), "--speed", "4", "--shift-clock")
    assert time.time() - begun > 9 / 4
    ticks = sorted(read_ticks(feed.kafka_bootstrap, feed.topic(TICKS)), key=lambda tick: tick.seq)
    assert [tick.event_us - ticks[0].event_us for tick in ticks] == [n * 1_000_000 for n in range(10)]
    assert begun - 15 * 60 < ticks[-1].event_us / 1e6 <= time.time()
    assert (ticks[0].event_us - 1_709_551_795_500_000) % (15 * 60 * 1_000_000) == 0


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded ticks of ../shared/data are not here")
def test_replay_of_a_real_day_arrives_whole(feed: Settings) -> None:
    run(feed, "replay", DATA / "gold_futures_2013", "--speed", "max")
    ticks = read_ticks(feed.kafka_bootstrap, feed.topic(TICKS))
    assert len(ticks) == len({(tick.symbol, tick.source, tick.seq) for tick in ticks}) == 40_192 + 52_322
    assert read_topic(feed.kafka_bootstrap, feed.topic(DEAD)) == []


def test_simulate_with_every_defect_expects_what_the_topic_holds(feed: Settings, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "bars.parquet"
    defects = [f"--{name}=0.05" for name in ("late", "out-of-order", "duplicates", "malformed", "future")]
    run(
        feed, "simulate", "--symbols", "4", "--rate", "800", "--seconds", "4", "--seed", "5", *defects, "--expect", file
    )
    records = read_topic(feed.kafka_bootstrap, feed.topic(TICKS))
    ticks = [tick for tick in map(decode, records) if tick is not None]
    assert len(ticks) < len(records)
    bars = fold_bars(((tick, None, None) for tick in ticks), feed.bar_intervals, rulesets.load("all"))
    late = {(row["interval"], row["symbol"], row["start"]) for row in pq.read_table(late_path(file)).to_pylist()}
    assert late
    key = ("interval", "symbol", "start")
    found = {tuple(row[name] for name in key): row for row in bars_table(bars).to_pylist()}
    expected = {tuple(row[name] for name in key): row for row in pq.read_table(file).to_pylist()}
    assert found.keys() - late == expected.keys() - late
    assert {name: expected[name] for name in expected.keys() - late} == {
        name: found[name] for name in found.keys() - late
    }
    assert len(expected.keys() - late) >= 4


def test_simulate_live_stamps_the_moment_of_sending_and_keeps_the_rate(feed: Settings) -> None:
    begun = time.time_ns() // 1000
    run(feed, "simulate", "--symbols", "AAPL,MSFT", "--rate", "500", "--seconds", "3")
    records = read_topic(feed.kafka_bootstrap, feed.topic(TICKS))
    ticks = [tick for tick in map(decode, records) if tick is not None]
    trades = [tick for tick in ticks if tick.kind == "trade"]
    assert len(trades) == 1_500
    assert {tick.symbol for tick in trades} == {"AAPL", "MSFT"}
    assert all(begun < tick.event_us == tick.received_us <= time.time_ns() // 1000 for tick in trades)
    times = sorted(tick.event_us for tick in trades)
    assert 2.5e6 < times[-1] - times[0] < 4e6
    assert sum(tick.kind == "heartbeat" for tick in ticks) >= 3 * feed.ticks_partitions


def test_simulate_history_sends_the_same_bytes_again(kafka_server: Kafka) -> None:
    sent = []
    for prefix in (uuid.uuid4().hex[:8], uuid.uuid4().hex[:8]):
        feed = Settings(kafka_bootstrap=kafka_server.url, topic_prefix=f"{prefix}.")
        run(feed, "simulate", "--start", "2024-03-01T14:30:00Z", "--seconds", "30", "--rate", "200", "--duplicates",
            "0.1", "--no-close")  # fmt: skip
        sent.append([record.value for record in read_topic(feed.kafka_bootstrap, feed.topic(TICKS))])
    assert sent[0] == sent[1]
    assert len(sent[0]) > 6_000


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_simulate_interrupted_flushes_and_counts(feed: Settings, how: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "producers", "simulate", "--rate", "300"],
        cwd=ROOT,
        env=environment(feed),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            wait_for_records(feed, process, 300)
            process.send_signal(how)
            out, problems = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, problems
    count = len(read_ticks(feed.kafka_bootstrap, feed.topic(TICKS)))
    assert f"stopped: simulated {count:,} records" in out


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["replay", "{quotes}"], 1, r"quotes (bid and ask), not trade ticks"),
        (["replay", "/nowhere"], 1, "no such file"),
        (["replay", "{ticks}", "--ruleset", "nyse"], 1, "unknown ruleset 'nyse'; known: all, us-equity"),
        (["replay", "{ticks}", "--speed", "0"], 2, "neither a positive number nor max"),
        (["replay"], 2, "PATH"),
        (["simulate", "--rate", "fast"], 1, "--rate"),
        (["simulate", "--seconds", "-1"], 1, "--seconds"),
        (["simulate", "--symbols", "A B"], 1, "is no symbol"),
        (["simulate", "--start", "yesterday"], 2, "is not a time"),
        (["simulate", "--start", "2024-03-01T14:30:00Z"], 1, "give --seconds"),
        (["simulate", "--late", "2"], 1, "--late"),
        (["nothing"], 2, "invalid choice"),
    ],
)
def test_bad_input_is_one_line_and_a_code(
    feed: Settings, tmp_path: Path, args: list[str], code: int, message: str
) -> None:
    quotes = tmp_path / "quotes.parquet"
    pd.DataFrame({"symbol": ["A"], "bid": [1.0], "ask": [1.0]}).to_parquet(quotes)
    names = {"quotes": quotes, "ticks": recorded(tmp_path / "day.parquet")}
    done = producers(feed, *(arg.format(**names) for arg in args))
    assert done.returncode == code
    assert message in done.stderr and "Traceback" not in done.stderr and not done.stdout
    if code == 1:
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["replay", "simulate"])
def test_help_teaches_by_example(feed: Settings, name: str) -> None:
    assert f"python -m producers {name}" in run(feed, name, "--help").split("examples:")[1]


def wait_for_records(feed: Settings, process: subprocess.Popen[str], count: int) -> None:
    """Until the process has published that many; fails when it ends first, or after a minute."""
    deadline = time.monotonic() + 60
    admin = AdminClient({"bootstrap.servers": feed.kafka_bootstrap})
    while feed.topic(TICKS) not in admin.list_topics(timeout=10).topics or (
        len(read_topic(feed.kafka_bootstrap, feed.topic(TICKS))) < count
    ):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)


def decode(record: object) -> Tick | None:
    """The record as a tick, None when it is none, as the queries would judge it."""
    try:
        tick = msgspec.json.decode(record.value, type=Tick)  # type: ignore[attr-defined]
        check(tick, now_us=record.timestamp * 1000, future_tolerance_us=5_000_000)  # type: ignore[attr-defined]
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidTick):
        return None
    return tick
