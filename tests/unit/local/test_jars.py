"""Fetching the jars: nothing twice, nothing half, and one clear line when it cannot be done."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from local.errors import LocalError
from local.jars import IVY_FILE, SETS, ensure_jars, java, up_to_date


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the jars that are there; hard links, to spare the disk."""
    jars = ensure_jars()
    copy = tmp_path / "jars"
    shutil.copytree(jars.connector.parent, copy, copy_function=lambda source, target: Path(target).hardlink_to(source))
    stamp = copy / "stamp.json"
    text = stamp.read_text()
    stamp.unlink()
    stamp.write_text(text)
    return copy


def test_sets_hold_every_jar_that_ivy_xml_names() -> None:
    jars = ensure_jars()
    for dependency in ET.parse(IVY_FILE).iter("dependency"):
        name, configuration = f"{dependency.get('name')}-{dependency.get('rev')}.jar", dependency.get("conf", "")
        assert (getattr(jars, configuration.partition("->")[0]) / name).exists()
    assert len(list(jars.connector.glob("*.jar"))) == 4, "the connector set has no transitive dependencies"


def test_jar_that_is_gone_is_noticed_and_comes_back(folder: Path) -> None:
    assert up_to_date(folder)
    victim = next((folder / "broker").glob("kafka_2*.jar"))
    size = victim.stat().st_size
    victim.unlink()
    assert not up_to_date(folder)
    ensure_jars(folder)
    assert victim.stat().st_size == size
    assert up_to_date(folder)


def test_jar_of_another_size_or_another_ivy_xml_is_noticed(folder: Path) -> None:
    extra = folder / "connector" / "foreign-1.jar"
    extra.write_bytes(b"x")
    assert not up_to_date(folder)
    extra.unlink()
    assert up_to_date(folder)
    stamp = json.loads((folder / "stamp.json").read_text())
    (folder / "stamp.json").write_text(json.dumps(stamp | {"ivy": "of another version"}))
    assert not up_to_date(folder)


def test_network_down_says_what_to_do_and_leaves_no_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IVY_CACHE", str(tmp_path / "cache"))
    nowhere = "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=1 -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=1"
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", nowhere)
    with pytest.raises(LocalError, match=r"could not be fetched, .*Connection refused\); check the network") as caught:
        ensure_jars(tmp_path / "jars", attempts=1)
    assert "\n" not in str(caught.value)
    assert not up_to_date(tmp_path / "jars")
    assert not any((tmp_path / "jars" / name).exists() for name in SETS)


def test_java_missing_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match="Java is missing: install a JRE of version 17"):
        java()
