"""Running one job to its end: alone, last in the queue for processors, its end noted in `job_runs`."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from conf.settings import Settings
from core.errors import StoreUnavailable
from jobs.folders import locked
from local.jars import ROOT
from local.priority import stand_back
from stores.job_runs import JobRuns
from stores.retry import retrying

NICE = 19
ALREADY_RUNS = 75
"""Exit code of a run that was not begun, since another one of the same job goes on."""
NO_STORE = 74
"""Exit code of a run that was not begun, since the database or the disk does not answer."""
INTERRUPTED = 130
"""Exit code of a runner that was asked to end. A command may end with it too: `job_runs` tells them apart."""
_END_SECONDS = 300.0


def run_job(settings: Settings, name: str, command: Sequence[str], due_us: int) -> int:
    """Run a command as the run of a job that was due; its exit code. Output goes through and to `jobs/NAME.log`.

    Two locks keep it from running beside itself: the database's goes for every machine, and is gone when the connection
    or this process is; the file's goes for this machine, until the last process of the run is gone.
    """
    dsn = settings.postgres_dsn.get_secret_value()
    folder = settings.data_path / "jobs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with JobRuns(dsn) as runs, locked(folder / f"{name}.lock") as lock:
            if lock is None or not runs.lock(name):
                sys.stderr.write(f"schedule: {name} runs already\n")
                return ALREADY_RUNS
            number = runs.begin(name, due_us)
            code, last = _run(command, lock, folder / f"{name}.log")
            _noted(dsn, runs, number, code, last)
            return code
    except (StoreUnavailable, OSError) as error:
        sys.stderr.write(f"schedule: {name} was not run: {error}\n")
        return NO_STORE


def _noted(dsn: str, runs: JobRuns, number: int, code: int, last: str) -> None:
    """Through a database that went away meanwhile: the job is done all the same."""
    try:
        runs.end(number, code, last)
    except StoreUnavailable:
        retrying("timescale", lambda: _note_anew(dsn, number, code, last), _END_SECONDS)


def _note_anew(dsn: str, number: int, code: int, last: str) -> None:
    with JobRuns(dsn) as runs:
        runs.end(number, code, last)


def _run(command: Sequence[str], lock: int, log: Path) -> tuple[int, str]:
    """The exit code of a command, and the last line that it wrote."""
    env = os.environ | {"SUBMIT_PYTHON": sys.executable}
    guard = [sys.executable, "-m", "jobs.scheduling.guard", str(lock)]
    with (
        log.open("wb", buffering=0) as file,
        subprocess.Popen(
            [*guard, "nice", "-n", str(NICE), *command],
            cwd=ROOT,
            env=env,
            pass_fds=[lock],
            stdin=subprocess.PIPE,  # the guard ends the command when it closes
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        stand_back(process.pid, NICE)  # where sessions are scheduled, niceness has to be said to them
        last = b""
        assert process.stdin is not None and process.stdout is not None
        try:
            for line in process.stdout:
                with suppress(OSError):  # a full disk ends no job, least of all the one that makes room
                    file.write(line)
                sys.stdout.buffer.write(line)
                sys.stdout.flush()
                last = line if line.strip() else last
        except BaseException:
            process.stdin.close()
            raise
        return process.wait(), last.decode(errors="replace").strip()
