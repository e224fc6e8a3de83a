"""Where the stack keeps what it writes."""

from pathlib import Path

import pytest

from conf.settings import Settings
from local.programs import Feed
from local.stack import _place


@pytest.fixture(autouse=True)
def no_folder_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TICKSTREAM_DATA_PATH", raising=False)


def test_replay_starts_in_an_emptied_folder_of_its_own(tmp_path: Path) -> None:
    old = tmp_path / "replay" / "checkpoints" / "final"
    kept = tmp_path / "checkpoints" / "final"
    old.mkdir(parents=True)
    kept.mkdir(parents=True)
    placed = _place(Feed("replay", (tmp_path,), "max"), Settings(data_path=tmp_path))
    assert placed.data_path == tmp_path / "replay"
    assert not placed.data_path.exists()
    assert kept.exists()


def test_folder_that_was_set_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "replay").mkdir()
    monkeypatch.setenv("TICKSTREAM_DATA_PATH", str(tmp_path))
    assert _place(Feed("replay", (tmp_path,), "max"), Settings(data_path=tmp_path)).data_path == tmp_path
    assert (tmp_path / "replay").exists()


def test_simulator_keeps_what_earlier_runs_wrote(tmp_path: Path) -> None:
    assert _place(Feed(), Settings(data_path=tmp_path)).data_path == tmp_path
