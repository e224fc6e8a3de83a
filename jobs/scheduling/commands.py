"""The jobs that a schedule may name, and the command that each of them is."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from conf.settings import Settings
from core.errors import ConfigError


@dataclass(frozen=True)
class Day:
    """The whole day before a job was due, in the schedule's time zone."""

    date: date
    zone: ZoneInfo

    @property
    def start(self) -> str:
        """Its first moment, RFC 3339."""
        return datetime.combine(self.date, time(), self.zone).isoformat()

    @property
    def end(self) -> str:
        """The first moment after it; a day may have 23 or 25 hours."""
        return datetime.combine(self.date + timedelta(days=1), time(), self.zone).isoformat()


@dataclass(frozen=True)
class Job:
    """What it does in words, and its command for a day."""

    text: str
    command: Callable[[Settings, Day], Sequence[str]]


def _python(*words: str) -> list[str]:
    return [sys.executable, "-u", "-m", *words]


def _verify(settings: Settings, day: Day) -> list[str]:
    ticks = settings.lake_path / "ticks" / f"date={day.date:%Y-%m-%d}"
    return _python("jobs.verify", "--data", str(ticks), "--engine", "python", "--ruleset", settings.ruleset)


JOBS: dict[str, Job] = {
    "backup": Job("a backup, older ones removed", lambda _, __: _python("jobs.backup", "create")),
    "check-backup": Job("every byte of the newest backup", lambda _, __: _python("jobs.backup", "check")),
    "export": Job(
        "the newest days as Parquet, amended ones anew", lambda _, __: _python("jobs.export", "--last", "3", "--force")
    ),
    "reconcile": Job(
        "every bar of the day before against the tick log",
        lambda _, day: ["./spark-submit.sh", "jobs/reconcile.py", "--from", day.start, "--to", day.end],
    ),
    "retention": Job("rows that are too old", lambda _, __: _python("stores", "retention")),
    "verify": Job("the lake's ticks of the day before (in UTC) under schedules that must not matter", _verify),
}


def job_named(name: str) -> Job:
    """Raises ConfigError for an unknown one."""
    if name not in JOBS:
        raise ConfigError(f"unknown job {name!r}; known: {', '.join(JOBS)}")
    return JOBS[name]


def day_before(due: datetime) -> Day:
    """The day before a moment in its time zone."""
    assert isinstance(due.tzinfo, ZoneInfo)
    return Day(due.date() - timedelta(days=1), due.tzinfo)
