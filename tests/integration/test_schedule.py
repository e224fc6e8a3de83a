"""Jobs that run on a real PostgreSQL: noted with how they ended, never twice at once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from conf.settings import Settings
from jobs.scheduling.runner import ALREADY_RUNS, NO_STORE, run_job
from local.jars import ROOT
from stores.job_runs import JobRuns
from stores.timescale import TimescaleStore
from tests.receivers import until

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


RUNNER = """
import sys, pathlib
from pydantic import SecretStr
from conf.settings import Settings
from jobs.scheduling.runner import run_job
settings = Settings(postgres_dsn=SecretStr(sys.argv[1]), data_path=pathlib.Path(sys.argv[2]))
sys.exit(run_job(settings, "backup", ["sh", "-c", sys.argv[3]], 1))
"""
# A program with a child, as spark-submit is one, that says nothing, so that no broken pipe ends it; asked to end, it
# takes until the file `go` is there.
SLOW = """
exec > errors 2>&1
trap 'while [ ! -e go ]; do sleep 0.05; done; exit 9' TERM
sleep 300 &
echo $$ $! > pids.new && mv pids.new pids
while true; do sleep 0.05; done
"""


@pytest.fixture
def runner(own: Settings, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that runs the job `backup`, which has begun."""
    text = f"cd {tmp_path}; {SLOW}"
    command = [sys.executable, "-c", RUNNER, own.postgres_dsn.get_secret_value(), str(own.data_path), text]
    with subprocess.Popen(command, cwd=ROOT) as process:
        until((tmp_path / "pids").exists, "the beginning of the job", seconds=60)
        yield process
        process.kill()
        for number in job_processes(tmp_path):
            os.kill(number, signal.SIGKILL)


def job_processes(folder: Path) -> list[int]:
    """Those of the job that are alive."""
    return [number for number in map(int, (folder / "pids").read_text().split()) if is_alive(number)]


def is_alive(number: int) -> bool:
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_job_whose_runner_is_killed_ends_and_none_begins_beside_it(
    own: Settings, tmp_path: Path, runner: "subprocess.Popen[bytes]", capfd: pytest.CaptureFixture[str]
) -> None:
    runner.send_signal(signal.SIGKILL)
    runner.wait(10)
    assert run_job(own, "backup", shell("true"), DUE) == ALREADY_RUNS, "it has its lock until it is gone"
    assert "backup runs already" in capfd.readouterr().err
    until(lambda: len(job_processes(tmp_path)) == 1, "the end of the child")
    (tmp_path / "go").touch()
    until(lambda: not job_processes(tmp_path), "the end of the job", seconds=60)
    until(lambda: run_job(own, "backup", shell("true"), DUE) == 0, "a run of its own")
    with runs_of(own) as runs:
        assert [run.state for run in runs.latest(9)] == ["done", "lost"]


def test_run_has_its_lock_through_a_restart_of_the_database(
    own: Settings, tmp_path: Path, runner: "subprocess.Popen[bytes]"
) -> None:
    with psycopg.connect(own.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert run_job(own, "backup", shell("true"), DUE) == ALREADY_RUNS
    runner.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    runner.wait(60)
    assert job_processes(tmp_path) == []


def test_full_disk_under_the_log_ends_no_job(own: Settings) -> None:
    (own.data_path / "jobs").mkdir()
    (own.data_path / "jobs" / "retention.log").symlink_to("/dev/full")
    assert run_job(own, "retention", shell("echo made room; exit 3"), DUE) == 3
    with runs_of(own) as runs:
        assert [(run.state, run.detail) for run in runs.latest(9)] == [("failed", "made room")]


def test_job_is_not_run_where_its_lock_cannot_be(own: Settings, tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file")
    assert run_job(own, "backup", shell(f"touch {tmp_path}/ran"), DUE) == NO_STORE
    assert not (tmp_path / "ran").exists()


def test_signal_that_ends_a_job_is_told_as_a_shell_tells_it(own: Settings) -> None:
    assert run_job(own, "backup", shell("kill -9 $$"), DUE) == 137
