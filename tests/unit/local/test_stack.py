"""Where the stack keeps what it writes."""

import json
import re
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from conf.settings import Settings, load_settings
from local.__main__ import main
from local.errors import LocalError
from local.programs import Feed
from local.record import StackRecord
from local.server import free_port
from local.stack import SERVERS, _addresses, _chosen_ruleset, _place, down, status
from metrics.serve import OFFSETS

REPLAY = Feed("replay", (Path("ticks"),), "max")


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to stand in, and no settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_PATH", "RULESET"):
        monkeypatch.delenv(f"TICKSTREAM_{name}", raising=False)


def test_replay_starts_in_an_emptied_folder_of_its_own() -> None:
    old, kept = Path("data/replay/checkpoints/final"), Path("data/checkpoints/final")
    old.mkdir(parents=True)
    kept.mkdir(parents=True)
    placed = _place(REPLAY, load_settings())
    assert placed.data_path == Path("data/replay")
    assert not placed.data_path.exists()
    assert kept.exists()


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_what_was_set_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    (tmp_path / "mine" / "replay").mkdir(parents=True)
    chosen = {"TICKSTREAM_DATA_PATH": str(tmp_path / "mine"), "TICKSTREAM_RULESET": "all"}
    if where == ".env":
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in chosen.items()))
    else:
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)
    settings = load_settings()
    assert _place(REPLAY, settings).data_path == tmp_path / "mine"
    assert (tmp_path / "mine" / "replay").exists()
    assert _chosen_ruleset(REPLAY, None, settings) is None


def test_down_finds_what_a_killed_replay_left() -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as left:
        started = psutil.Process(left.pid).create_time()
        for kind in SERVERS.values():  # as a server's folder says who runs on it
            folder = Path("data/replay") / kind.name
            folder.mkdir(parents=True)
            (folder / "server.json").write_text(json.dumps({"pid": left.pid, "started": started, "port": 25_000}))
        assert ("replay/redis", f"process {left.pid} on redis://127.0.0.1:25000/0") in status()
        assert "left-over" in down()
        assert left.wait(10) < 0
    assert [name for name, _ in status()] == ["stack", *(kind.name for kind in SERVERS.values())]


@pytest.mark.parametrize("folder", ["data", "/elsewhere/data"])
def test_file_of_addresses_is_in_the_data_folder_that_was_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    (tmp_path / ".env").write_text(f"TICKSTREAM_DATA_PATH={folder}\n")
    assert main(["addresses"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / folder}/servers.env\n"


def test_simulator_keeps_what_earlier_runs_wrote() -> None:
    assert _place(Feed(), load_settings()).data_path == Path("data")


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


@pytest.mark.parametrize("command", ["up", "down"])
def test_data_folder_that_cannot_be_one_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("TICKSTREAM_DATA_PATH", "file/data")
    assert main([command]) == 1
    assert re.fullmatch(r"error: \S+/file/data\S*: Not a directory\n", capsys.readouterr().err)


def test_sessions_that_cannot_be_written_down_end_nothing_and_are_tried_again() -> None:
    """As on a full disk: what runs goes on, and is written down when there is room."""
    record = StackRecord(Path("data"))
    with record.held():
        Path("data").rename("away")
        Path("data").write_text("")
        record.note_sessions([17])
        Path("data").unlink()
        Path("away").rename("data")
        record.note_sessions([17])
        assert json.loads(Path("data/stack.json").read_text())["sessions"] == [17]
