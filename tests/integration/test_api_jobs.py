"""The scheduler's jobs over the API, from runs that a real PostgreSQL has."""

import httpx
import pytest
from pydantic import SecretStr

from api.models_pipeline import JobsAnswer
from conf.schedule import JOBS
from conf.settings import Settings
from core.clock import ManualClock
from stores.job_runs import JobRuns
from stores.timescale import TimescaleStore
from tests.receivers import until
from tests.serving import serving

PATH = "/api/v1/metrics/jobs"
DUE = 1_700_000_000_000_000
MINUTE = 60_000_000


@pytest.fixture
def scheduled(store_settings: Settings, database: TimescaleStore) -> Settings:
    return store_settings.model_copy(update={"schedule": "backup=0 3 * * *", "schedule_time_zone": "Asia/Tokyo"})


def jobs_of(client: httpx.Client, **params: int) -> dict[str, dict[str, object]]:
    answer = client.get(PATH, params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    JobsAnswer.model_validate(body, strict=True)
    assert (body["time_zone"], body["problem"]) == ("Asia/Tokyo", None)
    assert [job["job"] for job in body["jobs"]] == list(JOBS)
    return {job["job"]: job for job in body["jobs"]}


def test_jobs_have_their_times_and_their_last_runs_newest_first(scheduled: Settings) -> None:
    with JobRuns(scheduled.postgres_dsn.get_secret_value()) as runs:
        for number, code in enumerate((0, 3, 0)):
            runs.end(runs.begin("backup", DUE + number * MINUTE), code, f"line {number}")
        runs.end(runs.begin("export", DUE), 1, "no space left")
    with serving(scheduled, ManualClock(DUE + 10 * MINUTE)) as client:
        found = jobs_of(client, runs=2)
        assert client.get(PATH, params={"runs": 0}).status_code == 422
    backup, export = found["backup"], found["export"]
    assert (backup["cron"], backup["next"]) == ("0 3 * * *", "2023-11-15T18:00:00.000000Z")
    assert (export["cron"], export["next"], export["state"]) == (None, None, "failed")
    told = [(run["due"], run["state"], run["exit_code"], run["detail"]) for run in backup["runs"]]
    assert told == [
        ("2023-11-14T22:15:20.000000Z", "done", 0, "line 2"),
        ("2023-11-14T22:14:20.000000Z", "failed", 3, "line 1"),
    ]
    assert all(0 <= run["seconds"] < 60 for run in backup["runs"])
    assert (found["retention"]["state"], found["retention"]["runs"]) == ("never", [])


def test_run_is_running_while_its_runner_lives_and_lost_when_it_died(scheduled: Settings) -> None:
    dsn = scheduled.postgres_dsn.get_secret_value()
    with serving(scheduled, ManualClock(DUE)) as client:
        for job in ("backup", "export"):  # of one the hash is negative
            with JobRuns(dsn) as runs, JobRuns(dsn) as other:
                # A server notices a moment later that the one before has gone.
                until(lambda job=job, runs=runs, other=other: runs.lock(job) and other.lock("retention"))
                runs.begin(job, DUE)
                other.begin("retention", DUE)
                assert jobs_of(client)[job]["state"] == "running"
            until(lambda job=job: jobs_of(client)[job]["state"] == "lost")
            with JobRuns(dsn) as other:
                assert other.lock("verify"), "the lock of another job is none of this one's"
                assert jobs_of(client)[job]["state"] == "lost"


def test_jobs_say_503_while_the_database_is_away(scheduled: Settings) -> None:
    away = scheduled.model_copy(update={"postgres_dsn": SecretStr("postgresql://postgres@127.0.0.1:1/postgres")})
    with serving(away, ManualClock(DUE)) as client:
        answer = client.get(PATH)
    assert answer.status_code == 503 and answer.json()["store"] == "timescale"
