"""Folders that go with their process, and such as take a place whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conf.settings import Settings
from jobs.folders import own_folder, put, recover
from jobs.recorded import table_folder
from local.jars import ROOT

HOLDING = """
import sys, pathlib
from jobs.folders import own_folder
with own_folder(pathlib.Path(sys.argv[1]), "table-") as folder:
    (folder / "ticks.parquet").write_bytes(b"x" * 1000)
    print(folder.name, flush=True)
    sys.stdin.read()
"""


def holding(parent: Path) -> tuple["subprocess.Popen[str]", Path]:
    """A process that has a folder, and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(parent)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, parent / process.stdout.readline().strip()


def test_folder_of_a_killed_process_is_swept_and_one_of_a_living_process_is_not(tmp_path: Path) -> None:
    killed, left = holding(tmp_path)
    alive, held = holding(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=10)
    assert (left / "ticks.parquet").exists()
    with table_folder(Settings(data_path=tmp_path)) as own:
        assert sorted(tmp_path.iterdir()) == sorted([own, held])
        assert (held / "ticks.parquet").exists()
    alive.communicate("", timeout=10)
    assert alive.returncode == 0 and list(tmp_path.iterdir()) == []


def test_lock_is_not_a_matter_of_process_numbers(tmp_path: Path) -> None:
    """In another container the holder's number may be nobody's, or anybody's."""
    alive, held = holding(tmp_path)
    assert str(alive.pid) not in held.name
    with own_folder(tmp_path, "table-"):
        assert held.exists()
    alive.communicate("", timeout=10)


def test_what_nobody_locked_is_left_unless_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "table-empty").mkdir()
    (tmp_path / "table-mine").mkdir()
    (tmp_path / "table-mine" / "notes.txt").write_text("?")
    (tmp_path / "table-file").write_text("?")
    with own_folder(tmp_path, "table-"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table-file", "table-mine"]


def test_many_at_once_sweep_none_of_each_other(tmp_path: Path) -> None:
    loop = (
        "import sys, pathlib; from jobs.folders import own_folder\n"
        "for _ in range(200):\n"
        "    with own_folder(pathlib.Path(sys.argv[1]), 'table-') as folder:\n"
        "        (folder / 'x').write_text('x'); assert (folder / 'x').exists()\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", loop, str(tmp_path)], cwd=ROOT) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("held", ["a folder", "a file", "nothing"])
def test_folder_takes_the_place_of_what_is_there_and_a_crash_between_is_undone(tmp_path: Path, held: str) -> None:
    place, made = tmp_path / "place", tmp_path / "made"
    if held == "a folder":
        place.mkdir()
        (place / "old").write_text("old")
    elif held == "a file":
        place.write_text("old")
    made.mkdir()
    (made / "new").write_text("new")
    if held != "nothing":
        os.rename(place, tmp_path / ".place.old")
        recover(place)
        assert place.exists()
    put(made, place)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["place", "place/new"]
