"""Brokers that let nobody in who has no password or certificate: every kind of client of ours, and who is refused."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, TopicPartition
from pydantic import SecretStr

from conf.kafka import kafka_client
from conf.settings import OWN_NAMES, Settings
from conf.topics import BARS_LIVE, TICKS
from core.errors import ConfigError, StoreUnavailable
from local.probe import reach
from producers import topics
from producers.publish import Publisher
from producers.topics import ensure_topics, partition_count
from stores.kafka import follower, take
from tests.factories import tick
from tests.secure_kafka import ODD_PASSWORD, ODD_USER, PASSWORD, SecureKafka
from tests.streaming import run_available, unique

# Those without a query, too: `tests/run.py` has them in one process then, and their brokers start once.
pytestmark = pytest.mark.spark

ROOT = Path(__file__).parents[2]
ODD = {"kafka_sasl_mechanism": "PLAIN", "kafka_sasl_username": ODD_USER, "kafka_sasl_password": ODD_PASSWORD}
NO_CERTIFICATE = {"kafka_ssl_certificate": None, "kafka_ssl_key": None}


@pytest.fixture(scope="module")
def by_password(servers_folder: Path) -> Iterator[SecureKafka]:
    with SecureKafka(servers_folder / "kafka-sasl", "SASL_SSL") as broker:
        yield broker


@pytest.fixture(scope="module")
def by_certificate(servers_folder: Path) -> Iterator[SecureKafka]:
    with SecureKafka(servers_folder / "kafka-ssl", "SSL") as broker:
        yield broker


def environment(settings: Settings) -> dict[str, str]:
    """The variables that make these settings, as a user has them."""
    own = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, field in OWN_NAMES.items()
        if field.startswith("kafka_") and (value := getattr(settings, field)) is not None
    }
    others = {"TICKSTREAM_TOPIC_PREFIX": settings.topic_prefix, "TICKSTREAM_DATA_PATH": str(settings.data_path)}
    return os.environ | own | others


def run(settings: Settings, *command: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", *command]
    return subprocess.run(program, cwd=ROOT, env=environment(settings), text=True, capture_output=True, timeout=120)


def ends(settings: Settings, topic: str) -> int:
    """How many records a topic has."""
    consumer = Consumer({**kafka_client(settings), "group.id": "test", "log_level": 0})
    try:
        places = consumer.list_topics(settings.topic(topic), timeout=10).topics[settings.topic(topic)].partitions
        asked = [TopicPartition(settings.topic(topic), number) for number in places]
        return sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in asked)
    finally:
        consumer.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"kafka_sasl_mechanism": "SCRAM-SHA-512"},
        {"kafka_sasl_mechanism": "SCRAM-SHA-256"},
        {"kafka_sasl_mechanism": "PLAIN"},
        ODD,
    ],
    ids=["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "odd password"],
)
def test_who_logs_in_makes_topics_writes_and_reads(by_password: SecureKafka, changes: dict[str, Any]) -> None:
    write_and_read(by_password.settings(topic_prefix=unique("sasl") + ".", **changes))


def test_who_shows_a_certificate_makes_topics_writes_and_reads(by_certificate: SecureKafka) -> None:
    write_and_read(by_certificate.settings(topic_prefix=unique("ssl") + "."))


def write_and_read(settings: Settings) -> None:
    ensure_topics(settings)
    ensure_topics(settings)
    name = settings.topic(TICKS)
    assert partition_count(settings, name) == settings.ticks_partitions
    reader = follower(settings, name, "test", 10)
    with Publisher(settings) as publisher:
        publisher.send(tick())
    found = []
    deadline = time.monotonic() + 30
    while not found and time.monotonic() < deadline:
        found = [each for each in take(reader, 0.2, 100) if each.key() == b"AAPL"]
    reader.close()
    assert len(found) == 1


@pytest.mark.parametrize(("way", "query"), [("by_password", "final"), ("by_certificate", "live")])
def test_queries_read_and_write_there_and_say_no_secret(
    way: str,
    query: str,
    request: pytest.FixtureRequest,
    settings: Settings,
    spark: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    broker: SecureKafka = request.getfixturevalue(way)
    ours = broker.settings(
        **{name: getattr(settings, name) for name in ("postgres_dsn", "redis_url", "data_path", "topic_prefix")},
        **(ODD if way == "by_password" else {}),
    )
    ensure_topics(ours)
    expected_path = settings.data_path / "expected.parquet"
    history = ("--rate", "20", "--seconds", "150", "--start", "2026-03-02T14:30:00Z", "--expect", str(expected_path))
    done = run(ours, "producers", "simulate", "--symbols", "3", *history)
    assert done.returncode == 0, done.stderr
    wrote = run_available(query, spark, ours)
    columns = ["symbol", "interval", "start", "volume"]
    expected = pq.read_table(expected_path, columns=columns).to_pylist()
    if query == "final":
        assert sorted(wrote.bars.select(columns).to_pylist(), key=str) == sorted(expected, key=str)
    else:
        assert ends(ours, BARS_LIVE) == len(expected)  # one micro-batch over all of it
    told = "".join(capfd.readouterr()) + done.stderr + done.stdout
    assert PASSWORD not in told and ODD_PASSWORD not in told and "PRIVATE KEY" not in told


# Who is refused


def test_wrong_password_is_said_at_once_and_not_shown(by_password: SecureKafka) -> None:
    wrong = by_password.settings(kafka_sasl_password="wr0ng-pa55")
    began = time.monotonic()
    with pytest.raises(
        ConfigError, match=r"KAFKA_SASL_… .*: SASL authentication error: .*invalid credentials"
    ) as caught:
        ensure_topics(wrong)
    assert time.monotonic() - began < 15
    assert "wr0ng" not in str(caught.value)
    told = reach("KAFKA_BOOTSTRAP", wrong.kafka_bootstrap, wrong)  # by `make up`, and the doctor
    assert told is not None and "invalid credentials" in told and "wr0ng" not in told
    done = run(wrong, "producers", "simulate", "--symbols", "1", "--rate", "1", "--seconds", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "invalid credentials" in done.stderr and done.stderr.count("\n") == 1
    assert "wr0ng" not in done.stderr


def test_broker_of_an_unknown_authority_is_not_believed(by_password: SecureKafka) -> None:
    with pytest.raises(ConfigError, match="certificate verify failed"):
        ensure_topics(by_password.settings(kafka_ssl_ca=None))


def test_broker_at_another_address_than_its_certificate_names_is_not_believed(by_password: SecureKafka) -> None:
    there = f"localhost:{by_password.port}"  # the certificate is for 127.0.0.1
    with pytest.raises(ConfigError, match="certificate verify failed"):
        ensure_topics(by_password.settings(kafka_bootstrap=there))


@pytest.mark.parametrize("way", ["plain", "no certificate"])
def test_who_shows_nothing_is_told_why_there_is_no_answer(
    by_certificate: SecureKafka, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "TIMEOUT_SECONDS", 1.0)
    without = by_certificate.settings(**NO_CERTIFICATE)
    asked = without if way == "no certificate" else Settings(kafka_bootstrap=by_certificate.url)
    with pytest.raises(StoreUnavailable, match=f"kafka: {by_certificate.url}: ") as caught:
        ensure_topics(asked)
    if way == "no certificate":
        assert "certificate" in str(caught.value)
