"""When a job counts as overdue, how long a run took, and a schedule that cannot be read."""

from datetime import datetime

import pytest

from api.job_states import jobs_json
from conf.schedule import JOBS
from conf.settings import Settings
from stores.job_runs import JobRun

NIGHTLY = {"schedule": "backup=0 3 * * *", "schedule_time_zone": "UTC"}


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def run(due: str, state: str = "done", seconds: float | None = 2.5) -> JobRun:
    due_us = us(due)
    ended = None if seconds is None else due_us + round(seconds * 1e6)
    return JobRun(1, "backup", due_us, due_us, ended, state, 0 if state == "done" else None, "")


def backup(now: str, *runs: JobRun, **settings: object) -> dict[str, object]:
    body = jobs_json(runs, Settings(**NIGHTLY | settings), us(now))
    return next(job for job in body["jobs"] if job["job"] == "backup")


@pytest.mark.parametrize(
    ("now", "runs", "overdue"),
    [
        ("2026-03-02T12:00Z", [run("2026-03-02T03:00Z")], False),
        ("2026-03-02T12:00Z", [run("2026-03-02T03:00Z", "failed")], False),  # a run that failed was a run
        ("2026-03-02T12:00Z", [run("2026-03-01T03:00Z")], True),
        ("2026-03-02T03:04Z", [run("2026-03-01T03:00Z")], False),  # the scheduler may be about to begin it
        ("2026-03-02T03:05Z", [run("2026-03-01T03:00Z")], True),
        ("2026-03-02T12:00Z", [run("2026-03-02T03:00Z", "lost"), run("2026-03-01T03:00Z")], True),
        ("2026-03-04T12:00Z", [run("2026-03-02T03:00Z", "running", None)], False),  # nothing runs beside itself
        ("2026-03-02T12:00Z", [], False),  # the first start makes up for nothing
    ],
)
def test_job_is_overdue_when_the_scheduler_would_have_begun_it(now: str, runs: list[JobRun], overdue: bool) -> None:
    assert backup(now, *runs)["overdue"] is overdue


def test_time_that_is_missed_for_too_long_is_not_overdue() -> None:
    late = {"schedule": "backup=0 3 * * 1", "schedule_missed_hours": 5}
    old = run("2026-02-23T03:00Z")
    assert backup("2026-03-02T07:00Z", old, **late)["overdue"] is True
    assert backup("2026-03-02T09:00Z", old, **late)["overdue"] is False
    assert backup("2026-03-02T09:00Z", old, schedule="retention=0 3 * * *")["overdue"] is False


def test_next_time_is_of_the_schedules_zone_and_a_job_without_one_has_none() -> None:
    job = backup("2026-03-02T12:00Z", schedule_time_zone="America/New_York")
    assert (job["cron"], job["next"], job["state"]) == ("0 3 * * *", "2026-03-03T08:00:00.000000Z", "never")
    job = backup("2026-03-02T12:00Z", schedule="")
    assert (job["cron"], job["next"]) == (None, None)


def test_run_that_goes_on_has_a_duration_so_far_and_one_that_was_lost_has_none() -> None:
    now = "2026-03-02T03:01Z"
    job = backup(now, run("2026-03-02T03:00Z", "running", None), run("2026-03-01T03:00Z", "lost", None))
    assert job["state"] == "running"
    assert [each["seconds"] for each in job["runs"]] == [60.0, None]
    assert backup(now, run("2026-03-01T03:00Z"))["runs"][0]["seconds"] == 2.5


def test_schedule_that_cannot_be_read_is_told_and_the_jobs_stay() -> None:
    body = jobs_json([run("2026-03-02T03:00Z")], Settings(schedule="backup=0 25 * * *"), us("2026-03-02T12:00Z"))
    assert "0 25 * * *" in body["problem"]
    assert [job["job"] for job in body["jobs"]] == list(JOBS)
    assert {job["cron"] for job in body["jobs"]} == {None}
    assert body["jobs"][0]["runs"][0]["state"] == "done"
