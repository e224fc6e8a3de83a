"""Archives of classes: used where they are, made again where Java or the jars are others. No JVM here."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from local import classes, jars
from local.classes import NAMES, options, up_to_date
from local.jars import ROOT


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of archives that fits a Java and jars of its own."""
    spark = tmp_path / "pyspark"
    for file in ("connector/a.jar", "broker/b.jar", "pyspark/c.jar", "java/bin/java"):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
        path.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    monkeypatch.setattr(classes, "pyspark_jars", lambda: spark)
    for name in NAMES:
        (tmp_path / f"{name}.jsa").write_bytes(b"archive")
    (tmp_path / "classes.json").write_text(json.dumps(classes._made_of(tmp_path)))
    return tmp_path


def test_a_jvm_is_told_of_its_archive_where_there_is_one(made: Path) -> None:
    for name in NAMES:
        assert options(name, made)[0] == f"-XX:SharedArchiveFile={made / f'{name}.jsa'}"
    (made / "driver.jsa").unlink()
    assert options("driver", made) == [] and options("broker", made)


@pytest.mark.parametrize("file", ["connector/a.jar", "broker/b.jar", "pyspark/c.jar", "java/bin/java"])
def test_archives_are_of_these_jars_and_this_java(made: Path, file: str) -> None:
    assert up_to_date(made)
    (made / file).write_bytes(b"123456")
    assert not up_to_date(made)


@pytest.mark.parametrize("file", ["broker.jsa", "driver.jsa", "classes.json"])
def test_a_missing_file_is_made_again(made: Path, file: str) -> None:
    (made / file).unlink()
    assert not up_to_date(made)


def test_archives_that_fit_are_not_made_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "ensure_jars", lambda folder: jars.Jars(folder / "connector", folder / "broker"))
    monkeypatch.setattr(classes, "_train", lambda *_: pytest.fail("nothing has changed"))
    classes.ensure_classes(lambda _: None, made)


def test_a_run_that_fails_leaves_no_archive(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the old ones: they are of other jars."""

    def fail(_: Path, fresh: dict[str, Path], __: object) -> None:
        fresh["broker"].write_bytes(b"half")
        raise classes.LocalError("no")

    monkeypatch.setattr(classes, "ensure_jars", lambda folder: jars.Jars(folder / "connector", folder / "broker"))
    monkeypatch.setattr(classes, "_train", fail)
    (made / "connector" / "a.jar").write_bytes(b"another one")
    with pytest.raises(classes.LocalError):
        classes.ensure_classes(lambda _: None, made)
    assert not any(options(name, made) for name in NAMES)


def submitted(root: Path) -> str:
    """What the spark-submit.sh of a folder tells a Spark that only repeats it."""
    spark = root / "pyspark" / "bin" / "spark-submit"
    spark.parent.mkdir(parents=True, exist_ok=True)
    spark.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python = root / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && echo {root}/pyspark || echo a.jar\n')
    for program in (spark, python):
        program.chmod(0o755)
    shutil.copy(ROOT / "spark-submit.sh", root)
    command = [str(root / "spark-submit.sh"), "job.py"]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin", "SUBMIT_PYTHON": str(python)}, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def java_options(root: Path) -> list[str]:
    """What the driver's JVM is told; Spark takes the text apart as a shell does."""
    lines = submitted(root).splitlines()
    return shlex.split(lines[lines.index("--driver-java-options") + 1])


@pytest.mark.parametrize("name", ["tickstream", "a folder of mine"])
def test_a_submitted_driver_is_told_the_same_as_python_would(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    folder = root / ".jars"
    folder.mkdir(parents=True)
    assert not any("SharedArchiveFile" in option for option in java_options(root))
    (folder / "driver.jsa").write_bytes(b"archive")
    told = java_options(root)
    assert [option for option in told if option in options("driver", folder)] == options("driver", folder)
    assert f"-Dlog4j2.configurationFile={root}/conf/log4j2.properties" in told
    assert all(option.startswith("-") for option in told)
