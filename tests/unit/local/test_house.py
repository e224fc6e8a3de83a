"""The house's own files: the example of settings, the links of the pages, the Makefile, the doctor."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conf.settings import Settings, load_settings, variable
from local.docs_check import anchor, broken_links
from local.doctor import java_version
from local.env_example import env_example
from local.jars import ROOT

EXAMPLE = ROOT / "conf" / ".env.example"


def run(*command: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, timeout=60)


def test_env_example_lists_exactly_the_settings() -> None:
    listed = re.findall(r"^#(\w+)=", EXAMPLE.read_text(), re.MULTILINE)
    assert listed == [variable(field) for field in Settings.model_fields]
    assert EXAMPLE.read_text() == env_example(), "python -m local env-example > conf/.env.example"


def test_env_example_uncommented_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(re.sub(r"^#(\w+=)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE))
    assert load_settings({}, env_file=file) == Settings()


def test_pages_of_the_project_have_no_broken_link() -> None:
    assert broken_links(ROOT) == []


def test_broken_links_are_named(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Top here\n[up](../README.md#one) [gone](b.md)")
    (tmp_path / "README.md").write_text(
        "# One\n[a](docs/a.md#top-here) [web](https://example.com/x) `[code](no.md)`\n"
        "![picture](docs/p.png) [b](docs/a.md#bottom) [self](#one)"
    )
    assert broken_links(tmp_path) == [
        "README.md: docs/p.png does not exist",
        "README.md: docs/a.md#bottom has no such heading",
        "docs/a.md: b.md does not exist",
    ]
    assert anchor("What `make up` does, in short") == "what-make-up-does-in-short"


@pytest.mark.parametrize(
    ("text", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ("The operation couldn't be completed", 0),
    ],
)
def test_java_version_is_the_major_number(text: str, major: int) -> None:
    assert java_version(text) == major


def test_make_alone_lists_the_commands() -> None:
    done = run("make", "--no-print-directory")
    assert done.returncode == 0
    listed = {line.split()[0] for line in done.stdout.splitlines()[1:]}
    assert {"up", "test", "check", "bench", "docs", "help", "clean"} <= listed


def test_make_without_a_suitable_python_says_so_in_one_line(tmp_path: Path) -> None:
    done = run("make", f"VENV={tmp_path}/venv", "PYTHON=no-such-python", "check")
    assert done.returncode != 0
    assert "error: Python 3.11 to 3.14 is needed" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_without_the_packages_says_how_to_get_them() -> None:
    done = run(sys.executable, "-S", "-m", "local", "doctor", PYTHONPATH="")
    assert done.returncode == 1
    assert re.search(r"^MISSING packages +not as pinned: .*\n +-> pip install", done.stdout, re.MULTILINE)
    assert done.stderr == ""


def test_up_without_the_packages_is_one_line(tmp_path: Path) -> None:
    done = run(sys.executable, "-S", "-m", "local", "up", TICKSTREAM_DATA_PATH=str(tmp_path))
    assert done.returncode == 1
    assert re.fullmatch(r"error: \w+ is not installed here .*`make up` installs all\n", done.stderr)


def test_doctor_without_java_says_what_to_install(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "local", "doctor", PATH=str(tmp_path), JAVA_HOME="")
    assert done.returncode == 1
    assert re.search(r"^MISSING java +not found\n +-> install a JRE of version 17", done.stdout, re.MULTILINE)


def test_doctor_names_a_given_server_that_does_not_answer_without_its_password() -> None:
    done = run(sys.executable, "-m", "local", "doctor", POSTGRES_DSN="postgresql://u:hidden@127.0.0.1:1/x")
    assert done.returncode == 1
    assert "MISSING POSTGRES_DSN postgresql://u:***@127.0.0.1:1/x does not answer" in done.stdout
    assert "hidden" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--feed", "coinbsae"], "unknown feed 'coinbsae'"),
        (["--feed", "replay"], "needs data"),
        (["--feed", "replay", "--data", "no/such/path"], "no such data to replay: no/such/path"),
    ],
)
def test_up_with_a_wrong_feed_is_one_line(arguments: list[str], problem: str, tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "local", "up", *arguments, TICKSTREAM_DATA_PATH=str(tmp_path), FEED="", DATA="")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1
