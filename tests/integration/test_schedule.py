"""Jobs that run on a real PostgreSQL: noted with how they ended, never twice at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf.settings import Settings
from jobs.scheduling.runner import ALREADY_RUNS, NO_STORE, run_job
from local.jars import ROOT
from stores.job_runs import JobRuns
from stores.timescale import TimescaleStore

DUE = 1_700_000_000_000_000


@pytest.fixture
def own(store_settings: Settings, database: TimescaleStore, tmp_path: Path) -> Settings:
    return store_settings.model_copy(update={"data_path": tmp_path})


def runs_of(settings: Settings) -> JobRuns:
    return JobRuns(settings.postgres_dsn.get_secret_value())


def shell(text: str) -> list[str]:
    return ["sh", "-c", text]


def test_run_is_noted_with_its_exit_code_and_last_line(own: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_job(own, "backup", shell("echo begin; nice; echo; exit 3"), DUE) == 3
    assert capfd.readouterr().out == "begin\n19\n\n"
    assert run_job(own, "retention", shell("echo fine >&2"), DUE + 1) == 0
    with runs_of(own) as runs:
        newest = runs.newest()
        assert [run.job for run in runs.latest(9)] == ["retention", "backup"]
    told = {name: (run.due_us, run.state, run.exit_code, run.detail) for name, run in newest.items()}
    assert told == {"backup": (DUE, "failed", 3, "19"), "retention": (DUE + 1, "done", 0, "fine")}
    assert all(run.began_us <= (run.ended_us or 0) for run in newest.values())
    assert (own.data_path / "jobs" / "backup.log").read_text() == "begin\n19\n\n"


def test_job_never_runs_beside_itself_and_others_do(own: Settings) -> None:
    with runs_of(own) as running:
        assert running.lock("backup")
        assert run_job(own, "backup", shell("true"), DUE) == ALREADY_RUNS
        assert run_job(own, "retention", shell("true"), DUE) == 0
    assert run_job(own, "backup", shell("true"), DUE) == 0


def test_run_whose_runner_died_is_lost_and_does_not_count(own: Settings) -> None:
    with runs_of(own) as runs:
        assert runs.lock("backup")
        runs.end(runs.begin("backup", DUE), 0, "")
        runs.begin("backup", DUE + 1)
    with runs_of(own) as runs:
        assert runs.newest()["backup"].due_us == DUE, "to be made up for"
    assert run_job(own, "backup", shell("true"), DUE + 1) == 0
    with runs_of(own) as runs:
        assert [run.state for run in runs.latest(9)] == ["done", "lost", "done"]


def test_job_is_not_run_without_a_database(own: Settings, tmp_path: Path) -> None:
    from pydantic import SecretStr

    away = own.model_copy(update={"postgres_dsn": SecretStr("postgresql://postgres@127.0.0.1:1/postgres")})
    assert run_job(away, "backup", shell(f"touch {tmp_path}/ran"), DUE) == NO_STORE
    assert not (tmp_path / "ran").exists()


def test_command_runs_a_job_by_its_name(own: Settings) -> None:
    env = os.environ | {"POSTGRES_DSN": own.postgres_dsn.get_secret_value(), "TICKSTREAM_DATA_PATH": str(own.data_path)}
    command = [sys.executable, "-m", "jobs.schedule"]
    done = subprocess.run(
        [*command, "--run", "retention"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout[:7]) == (0, "deleted"), done.stderr
    listed = subprocess.run([*command, "--list"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    rows = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert "last done" in rows["retention"] and "next " in rows["retention"]
    assert "never ran" in rows["backup"] and "not scheduled" in rows["backup"]
