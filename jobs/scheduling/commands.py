"""The command that each job of a schedule is; their names are in `conf.schedule`."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from conf.schedule import known
from conf.settings import Settings


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


Command = Callable[[Settings, Day], Sequence[str]]


def _python(*words: str) -> list[str]:
    return [sys.executable, "-u", "-m", *words]


COMMANDS: dict[str, Command] = {
    "backup": lambda _, __: _python("jobs.backup", "create"),
    "check-backup": lambda _, __: _python("jobs.backup", "check"),
    "export": lambda _, __: _python("jobs.export", "--last", "3", "--force"),
    "reconcile": lambda _, day: ["./spark-submit.sh", "jobs/reconcile.py", "--from", day.start, "--to", day.end],
    "retention": lambda _, __: _python("stores", "retention"),
}


def command_of(name: str) -> Command:
    """Raises ConfigError for an unknown job."""
    return COMMANDS[known(name)]


def day_before(due: datetime) -> Day:
    """The day before a moment in its time zone."""
    assert isinstance(due.tzinfo, ZoneInfo)
    return Day(due.date() - timedelta(days=1), due.tzinfo)
