"""A checkpoint whose offsets mean nothing any more is refused in one line, before a tick is skipped."""

import signal
import time
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from conf.settings import Settings
from conf.topics import TICKS
from core.errors import ConfigError, StoreUnavailable
from jobs import stream
from jobs.checkpoint_topic import check_topic, topic_of
from local.server import free_port
from producers.topics import ensure_topics
from tests.supervised import environment

EVERY = ("live", "final", "archive", "reconcile")


@pytest.fixture
def signals() -> Iterator[None]:
    """The driver takes them for itself."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def begin(settings: Settings, *parts: str) -> None:
    """Checkpoints as Spark leaves them once a first batch has been planned."""
    for part in parts:
        offsets = settings.checkpoint_path / part / "offsets"
        offsets.mkdir(parents=True)
        (offsets / "0").write_text("v1\n")


def make_anew(settings: Settings) -> None:
    """Delete the topic and create one of the same name."""
    before, name = topic_of(settings), settings.topic(TICKS)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    admin.delete_topics([name])[name].result(30)
    deadline = time.monotonic() + 60
    while name in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ensure_topics(settings)
    assert topic_of(settings).id != before.id


def test_checkpoint_of_a_topic_that_was_made_anew_is_refused(
    settings: Settings, signals: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    check_topic(settings, EVERY)  # the very first start, which may end before a batch does
    make_anew(settings)
    check_topic(settings, EVERY)
    begin(settings, "live-0", "live-1", "final", "archive", "lake")
    check_topic(settings, EVERY)
    make_anew(settings)
    for query, part in (("live", "live-0"), ("final", "final"), ("archive", "archive")):
        told = f"the topic {settings.topic(TICKS)} was made anew since the checkpoint began; move .*/{part} away"
        with pytest.raises(ConfigError, match=told):
            check_topic(settings, [query])
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert stream.main(["--queries", "archive"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("stream: the topic") and "docs/upgrading.md" in said[-1]
    settings.checkpoint_path.rename(settings.data_path / "moved away")
    check_topic(settings, EVERY)


def test_partitions_that_were_added_need_new_checkpoints_but_of_the_archive(settings: Settings) -> None:
    begin(settings, "live-0", "live-1", "final", "archive", "lake")
    check_topic(settings, EVERY)
    name = settings.topic(TICKS)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    admin.create_partitions([NewPartitions(name, 3)])[name].result(30)
    deadline = time.monotonic() + 60
    while topic_of(settings).partitions != 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for query in ("live", "final"):
        with pytest.raises(ConfigError, match="has 3 partitions now, and 2 when the checkpoint began; move"):
            check_topic(settings, [query])
    check_topic(settings, ["archive", "reconcile"])


def test_broker_that_does_not_answer_is_a_store_that_is_down(settings: Settings, monkeypatch) -> None:
    monkeypatch.setattr("jobs.checkpoint_topic.ASK_SECONDS", 1.0)
    with pytest.raises(StoreUnavailable, match="kafka: topic "):
        check_topic(settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{free_port()}"}), EVERY)
