"""Where the stack keeps what it writes."""

import socket
from pathlib import Path

import pytest

from conf.settings import Settings
from local.errors import LocalError
from local.programs import Feed
from local.server import free_port
from local.stack import _addresses, _place
from metrics.serve import OFFSETS


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


def test_dashboard_reads_the_api_that_was_started(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        defaults = Settings.model_construct(
            **{**dict(Settings()), "api_port": taken.getsockname()[1]}, _fields_set=set()
        )
        env = _addresses(defaults)
    port = env["TICKSTREAM_API_PORT"]
    assert port != str(defaults.api_port) and "api: port" in capsys.readouterr().out
    assert env["TICKSTREAM_DASHBOARD_API_URL"] == f"http://127.0.0.1:{port}"
    assert int(env["TICKSTREAM_DASHBOARD_PORT"]) > 0


def test_ports_of_metrics_give_way_unless_they_were_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    first = free_port()
    with socket.create_server(("127.0.0.1", first + OFFSETS["relay"])):
        ports = {"api_port": free_port(), "dashboard_port": free_port()}
        defaults = Settings.model_construct(**{**dict(Settings()), **ports, "metrics_port": first}, _fields_set=set())
        moved = int(_addresses(defaults)["TICKSTREAM_METRICS_PORT"])
        assert moved not in (0, first) and f"taking those from {moved} on" in capsys.readouterr().out
        for asked in (first, 0):
            kept = _addresses(Settings(**ports, metrics_port=asked))["TICKSTREAM_METRICS_PORT"]
            assert kept == str(asked) and capsys.readouterr().out == ""


def test_api_that_was_named_is_kept_and_a_port_that_was_named_is_not_changed() -> None:
    asked = Settings(api_port=free_port(), dashboard_port=free_port(), dashboard_api_url="http://api.example:1")
    assert "TICKSTREAM_DASHBOARD_API_URL" not in _addresses(asked)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", asked.dashboard_port))
        taken.listen()
        with pytest.raises(LocalError, match="TICKSTREAM_DASHBOARD_PORT"):
            _addresses(asked)
