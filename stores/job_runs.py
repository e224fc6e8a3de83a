"""Runs of scheduled jobs: table `job_runs`, and the lock that keeps a job from running twice at once."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from stores.postgres import EPOCH_US, connect_args, to_time, translated

KEPT_DAYS = 90
_COLUMNS = sql.SQL(
    f"id, job, {EPOCH_US.format('due_at')} AS due_us, {EPOCH_US.format('began_at')} AS began_us,"
    f" {EPOCH_US.format('ended_at')} AS ended_us, state, exit_code, detail"
)
_NEWEST = sql.SQL(
    "SELECT DISTINCT ON (job) {} FROM job_runs WHERE state IN ('done', 'failed') ORDER BY job, due_at DESC, id DESC"
)
_LATEST = sql.SQL("SELECT {} FROM job_runs ORDER BY id DESC LIMIT %s")
_LOCK_SPACE = 1_720_314  # any number that nobody else uses as the first of two
# A run whose runner died is noted as lost when the next one begins; until then nobody holds its lock.
LAST_RUNS = f"""
    SELECT run.id, asked.job, {EPOCH_US.format("run.due_at")} AS due_us, {EPOCH_US.format("run.began_at")} AS began_us,
           {EPOCH_US.format("run.ended_at")} AS ended_us, run.exit_code, run.detail,
           CASE WHEN run.state <> 'running' OR EXISTS (
               SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid::bigint = {_LOCK_SPACE}
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND objid::bigint = hashtext(asked.job)::bigint & 4294967295)
           THEN run.state ELSE 'lost' END AS state
    FROM unnest(%(jobs)s::text[]) AS asked (job), LATERAL (
        SELECT * FROM job_runs WHERE job_runs.job = asked.job ORDER BY due_at DESC, id DESC LIMIT %(count)s) AS run
    ORDER BY asked.job, run.due_at DESC, run.id DESC
"""
"""The last `count` runs of each of `jobs`, newest first, as `JobRun` has them."""


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run; times in epoch microseconds."""

    id: int
    job: str
    due_us: int
    began_us: int
    ended_us: int | None
    state: str
    exit_code: int | None
    detail: str


class JobRuns:
    """One connection. Use as a context manager; every call raises StoreUnavailable or ConfigError."""

    def __init__(self, dsn: str) -> None:
        self._args = connect_args(dsn)

    def __enter__(self) -> Self:
        with translated():
            self._connection = psycopg.connect(**self._args, autocommit=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def lock(self, job: str) -> bool:
        """Whether the job is ours to run, from now until the connection closes."""
        with translated():
            row = self._connection.execute(
                "SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_LOCK_SPACE, job]
            ).fetchone()
        return row == (True,)

    def begin(self, job: str, due_us: int) -> int:
        """Note a run of a job that is locked; its number. Runs of it that never ended are lost, old ones removed."""
        with translated(), self._connection.transaction():
            self._connection.execute(
                "UPDATE job_runs SET state = 'lost', ended_at = clock_timestamp() WHERE job = %s AND state = 'running'",
                [job],
            )
            self._connection.execute(
                "DELETE FROM job_runs WHERE job = %s AND began_at < now() - make_interval(days => %s)", [job, KEPT_DAYS]
            )
            row = self._connection.execute(
                "INSERT INTO job_runs (job, due_at) VALUES (%s, %s) RETURNING id", [job, to_time(due_us)]
            ).fetchone()
        assert row is not None
        return int(row[0])

    def end(self, number: int, exit_code: int, detail: str) -> None:
        """Note how a run ended."""
        state = "done" if exit_code == 0 else "failed"
        with translated():
            self._connection.execute(
                "UPDATE job_runs SET state = %s, exit_code = %s, detail = %s, ended_at = clock_timestamp()"
                " WHERE id = %s",
                [state, exit_code, detail.replace("\0", "")[:500], number],
            )

    def newest(self) -> dict[str, JobRun]:
        """The newest run of each job that came to an end, by name."""
        with translated(), self._connection.cursor(row_factory=class_row(JobRun)) as cursor:
            return {run.job: run for run in cursor.execute(_NEWEST.format(_COLUMNS)).fetchall()}

    def latest(self, count: int) -> list[JobRun]:
        """The last runs of all jobs, the newest first."""
        with translated(), self._connection.cursor(row_factory=class_row(JobRun)) as cursor:
            return cursor.execute(_LATEST.format(_COLUMNS), [count]).fetchall()
