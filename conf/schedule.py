"""What TICKSTREAM_SCHEDULE says: which job is due when, as lines of name=cron in one time zone. Pure.

Where clocks go forward, a time that does not exist is due at the first one that does; where they go back, a time that
exists twice is due once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from core.errors import ConfigError

JOBS = {
    "backup": "a backup, older ones removed",
    "check-backup": "every byte of the newest backup",
    "export": "the newest days as Parquet, amended ones anew",
    "reconcile": "every bar of the day before against the tick log",
    "retention": "rows that are too old",
}
"""The jobs that a schedule may name, and what each does; `jobs.scheduling.commands` has how."""


@dataclass(frozen=True)
class Entry:
    """One line of a schedule."""

    name: str
    cron: str
    zone: ZoneInfo

    def after(self, us: int) -> Iterator[int]:
        """The times at which it is due after a moment, all in epoch microseconds."""
        for due in CronSim(self.cron, self.local(us)):
            yield round(due.timestamp()) * 1_000_000

    def local(self, us: int) -> datetime:
        """A moment in the schedule's time zone."""
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(self.zone)

    def newest_due(self, after_us: int, until_us: int) -> int | None:
        """The last time in `(after_us, until_us]` at which it was due; None for none."""
        found = None
        for due_us in self.after(after_us):
            if due_us > until_us:
                return found
            found = due_us
        return found


def entries(text: str, zone: str) -> list[Entry]:
    """A schedule. Raises ConfigError naming the line that is wrong."""
    try:
        place = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"TICKSTREAM_SCHEDULE_TIME_ZONE: no time zone {zone!r}") from None
    lines = [line.strip() for line in re.split(r"[;\n]", text) if line.strip()]
    found = [_entry(line, place) for line in lines]
    names = [each.name for each in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"TICKSTREAM_SCHEDULE: {', '.join(twice)} is there twice")
    return found


def _entry(line: str, zone: ZoneInfo) -> Entry:
    name, separator, cron = (part.strip() for part in line.partition("="))
    if not separator:
        raise ConfigError(f"TICKSTREAM_SCHEDULE: {line!r} is not name=cron")
    known(name)
    try:
        next(CronSim(cron, datetime(2024, 1, 1, tzinfo=zone)))
    except (CronSimError, StopIteration):
        raise ConfigError(f"TICKSTREAM_SCHEDULE: {cron!r} of {name} is no cron line such as 15 3 * * 1-5") from None
    return Entry(name, cron, zone)


def known(name: str) -> str:
    """The name of a job. Raises ConfigError for an unknown one."""
    if name not in JOBS:
        raise ConfigError(f"unknown job {name!r}; known: {', '.join(JOBS)}")
    return name
