"""The scheduler's jobs as answered: the schedule of the settings beside the runs that the database has."""

from collections.abc import Sequence
from typing import Any

from api.render import time_text
from conf.schedule import JOBS, Entry, entries
from conf.settings import Settings
from core.errors import ConfigError
from core.intervals import MINUTE_US, SECOND_US
from stores.job_runs import JobRun

# The scheduler looks every few seconds, and once a minute while the database is away.
GRACE_US = 5 * MINUTE_US
_HOUR_US = 60 * MINUTE_US


def jobs_json(runs: Sequence[JobRun], settings: Settings, now_us: int) -> dict[str, Any]:
    """Every job, with its runs in the order given. A schedule that cannot be read is told, not raised."""
    planned: dict[str, Entry] = {}
    problem = None
    try:
        planned = {each.name: each for each in entries(settings.schedule, settings.schedule_time_zone)}
    except ConfigError as error:
        problem = str(error)
    missed_us = int(settings.schedule_missed_hours * _HOUR_US)
    return {
        "at": time_text(now_us),
        "time_zone": settings.schedule_time_zone,
        "problem": problem,
        "jobs": [
            _job_json(name, planned.get(name), [run for run in runs if run.job == name], now_us, missed_us)
            for name in JOBS
        ],
    }


def _job_json(name: str, entry: Entry | None, runs: Sequence[JobRun], now_us: int, missed_us: int) -> dict[str, Any]:
    return {
        "job": name,
        "what": JOBS[name],
        "cron": None if entry is None else entry.cron,
        "next": None if entry is None else time_text(next(entry.after(now_us))),
        "state": runs[0].state if runs else "never",
        "overdue": entry is not None and _overdue(entry, runs, now_us, missed_us),
        "runs": [_run_json(run, now_us) for run in runs],
    }


def _overdue(entry: Entry, runs: Sequence[JobRun], now_us: int, missed_us: int) -> bool:
    """Whether a time passed for which the scheduler would still begin a run.

    Not so before the first run: a scheduler makes up for nothing from before it was started, and when that was is
    not known here.
    """
    if not runs or runs[0].state == "running":
        return False
    ended_us = next((run.due_us for run in runs if run.state in ("done", "failed")), 0)
    return next(entry.after(max(ended_us, now_us - missed_us - 1))) <= now_us - GRACE_US


def _run_json(run: JobRun, now_us: int) -> dict[str, Any]:
    until_us = now_us if run.state == "running" else run.ended_us
    return {
        "due": time_text(run.due_us),
        "began": time_text(run.began_us),
        "ended": time_text(run.ended_us),
        "seconds": None if until_us is None else max(0, until_us - run.began_us) / SECOND_US,
        "state": run.state,
        "exit_code": run.exit_code,
        "detail": run.detail,
    }
