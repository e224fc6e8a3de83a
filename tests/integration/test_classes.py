"""Archives of classes on real JVMs: mapped where they fit, ignored where they do not."""

from pathlib import Path
from typing import Any

import pytest

from local import kafka
from local.classes import options, up_to_date
from local.kafka import Kafka

archived = pytest.mark.skipif(not up_to_date(), reason="no archives: `python -m local classes` makes them")
linux = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux shows what a process has mapped")


def maps(pid: int | None) -> str:
    """The files that a process has in its memory."""
    return Path(f"/proc/{pid}/maps").read_text()


@archived
@linux
def test_broker_starts_from_its_archive(kafka_server: Kafka) -> None:
    assert "/broker.jsa" in maps(kafka_server.pid)


@archived
@linux
@pytest.mark.spark
def test_driver_starts_from_its_archive(spark: Any) -> None:
    assert "/driver.jsa" in maps(spark._jvm.java.lang.ProcessHandle.current().pid())


@linux
def test_broker_starts_without_an_archive_that_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a disk that filled, or of another Java: nothing is said, and nothing of it is in memory."""
    (tmp_path / "broker.jsa").write_bytes(b"no archive" * 1000)
    monkeypatch.setattr(kafka, "class_options", lambda name: options(name, tmp_path))
    with Kafka(tmp_path / "kafka", heap="256m") as broker:
        assert (
            "broker.jsa" not in maps(broker.pid)
            and f"{tmp_path}/broker.jsa" in Path(f"/proc/{broker.pid}/cmdline").read_text()
        )
        assert "archive" not in broker.log.read_text()
