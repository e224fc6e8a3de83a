"""When jobs are due, and the scheduler's decisions: what was missed, what runs already, a database that is away."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from conf.schedule import JOBS, Entry, entries
from conf.settings import Settings
from core.clock import ManualClock
from core.errors import ConfigError, StoreUnavailable
from jobs.scheduling import scheduler
from jobs.scheduling.commands import COMMANDS, day_before
from jobs.scheduling.runner import ALREADY_RUNS, INTERRUPTED, NO_STORE
from jobs.scheduling.scheduler import Scheduler
from local.jars import ROOT

HOUR = 3_600_000_000


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000_000


def entry(cron: str, zone: str = "UTC") -> Entry:
    (found,) = entries(f"backup={cron}", zone)
    return found


def dues(cron: str, zone: str, since: str, count: int) -> list[str]:
    each = entry(cron, zone)
    found = each.after(us(since))
    return [each.local(next(found)).isoformat() for _ in range(count)]


def test_due_times_are_of_the_time_zone_through_its_changes() -> None:
    assert dues("0 3 * * *", "UTC", "2026-03-08T00:00Z", 2) == [
        "2026-03-08T03:00:00+00:00",
        "2026-03-09T03:00:00+00:00",
    ]
    # New York has no 02:30 on 8 March 2026, and 01:30 twice on 1 November.
    forward = ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"]
    assert dues("30 2 * * *", "America/New_York", "2026-03-07T12:00Z", 2) == forward
    back = ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]
    assert dues("30 1 * * *", "America/New_York", "2026-10-31T12:00Z", 2) == back


def test_newest_due_is_after_the_last_run_and_not_in_the_future() -> None:
    each = entry("0 3 * * *")
    assert each.newest_due(us("2026-03-01T03:00Z"), us("2026-03-02T02:59:59Z")) is None
    assert each.newest_due(us("2026-03-01T03:00Z"), us("2026-03-02T03:00Z")) == us("2026-03-02T03:00Z")
    assert each.newest_due(us("2026-03-01T03:00Z"), us("2026-03-05T12:00Z")) == us("2026-03-05T03:00Z")


@pytest.mark.parametrize(
    ("text", "zone", "told"),
    [
        ("backup", "UTC", "not name=cron"),
        ("bakup=0 3 * * *", "UTC", "unknown job 'bakup'; known: backup"),
        ("backup=0 25 * * *", "UTC", "no cron line"),
        ("backup=0 3 * *", "UTC", "no cron line"),
        ("backup=0 3 * * *; backup=0 4 * * *", "UTC", "twice"),
        ("backup=0 3 * * *", "Nowhere/Land", "no time zone"),
        ("backup=0 3 31 2 *", "UTC", "no cron line"),
    ],
)
def test_wrong_schedule_is_refused_with_the_reason(text: str, zone: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        entries(text, zone)


def test_schedule_may_be_of_several_lines_and_empty() -> None:
    assert [each.name for each in entries("backup=0 3 * * *\n retention = 5 4 * * 1 ;;", "UTC")] == [
        "backup",
        "retention",
    ]
    assert entries("", "UTC") == []
    assert entries(Settings().schedule, Settings().schedule_time_zone), "the default is a schedule"


def test_day_before_is_a_whole_day_of_the_zone() -> None:
    day = day_before(datetime(2026, 3, 9, 0, 30, tzinfo=ZoneInfo("America/New_York")))
    assert (day.start, day.end) == ("2026-03-08T00:00:00-05:00", "2026-03-09T00:00:00-04:00")


def test_every_job_of_a_schedule_has_a_command() -> None:
    assert COMMANDS.keys() == JOBS.keys()


@pytest.mark.parametrize("name", JOBS)
def test_commands_of_jobs_exist(name: str) -> None:
    day = day_before(datetime(2026, 3, 9, 0, 30, tzinfo=ZoneInfo("UTC")))
    command = COMMANDS[name](Settings(), day)
    if command[0] == sys.executable:
        path = ROOT / command[3].replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()
    else:
        assert (ROOT / command[0]).exists() and (ROOT / command[1]).exists()


class Started:
    """What the scheduler began, and how each of them ends."""

    def __init__(self) -> None:
        self.due: list[tuple[str, str]] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, each: Entry, due_us: int) -> "subprocess.Popen[bytes]":
        self.due.append((each.name, datetime.fromtimestamp(due_us / 1e6, UTC).isoformat()))
        process = subprocess.Popen(["sh", "-c", "read code; exit $code"], stdin=subprocess.PIPE)
        self.processes.append(process)
        return process

    def end(self, code: int) -> None:
        self.processes[-1].communicate(f"{code}\n".encode(), timeout=10)

    def die(self, how: signal.Signals | int) -> None:
        """End by a signal, or with an exit code."""
        if isinstance(how, signal.Signals):
            self.processes[-1].send_signal(how)
            self.processes[-1].communicate(timeout=10)
        else:
            self.end(how)


@pytest.fixture
def started() -> Iterator[Started]:
    made = Started()
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.communicate(b"0\n", timeout=10)
        elif process.stdin is not None:
            process.stdin.close()


def scheduling(now: str, started: Started, last: str = "", **settings: float) -> tuple[Scheduler, ManualClock]:
    """A scheduler of `backup`, at 3 o'clock, that last ran when it was due at `last`."""
    clock = ManualClock(us(now))
    held = {"backup": us(last)} if last else {}
    planned = entries("backup=0 3 * * *", "UTC")
    return Scheduler(planned, Settings(**settings), clock, lambda: dict(held), started), clock


def test_job_runs_when_it_is_due_and_once(started: Started) -> None:
    made, clock = scheduling("2026-03-02T02:00Z", started)
    made.look()
    assert started.due == []
    clock.advance(HOUR)
    made.look()
    made.look()
    assert started.due == [("backup", "2026-03-02T03:00:00+00:00")]
    started.end(0)
    made.look()
    assert len(started.due) == 1


def test_missed_runs_are_made_up_for_once_with_the_newest(started: Started) -> None:
    made, _ = scheduling("2026-03-02T12:00Z", started, "2026-02-20T03:00Z")
    made.look()
    assert started.due == [("backup", "2026-03-02T03:00:00+00:00")]
    started.end(1)
    made.look()
    assert len(started.due) == 1, "a run that failed was a run"


def test_run_missed_too_long_ago_is_left_out(started: Started) -> None:
    made, _ = scheduling("2026-03-02T12:00Z", started, "2026-02-20T03:00Z", schedule_missed_hours=5)
    made.look()
    assert started.due == []


def test_first_start_makes_up_for_nothing(started: Started) -> None:
    made, _ = scheduling("2026-03-02T12:00Z", started)
    made.look()
    assert started.due == []


def test_job_does_not_overlap_itself_and_what_came_due_meanwhile_runs_once(started: Started) -> None:
    made, clock = scheduling("2026-03-02T03:00Z", started, "2026-03-01T03:00Z")
    made.look()
    clock.advance(50 * HOUR)
    made.look()
    assert len(started.due) == 1 and made.running == ["backup"]
    started.end(0)
    made.look()
    assert started.due[1:] == [("backup", "2026-03-04T03:00:00+00:00")]


def test_run_without_a_database_is_tried_again_and_one_elsewhere_is_not(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "AGAIN_SECONDS", 0.0)
    made, _ = scheduling("2026-03-02T03:00Z", started, "2026-03-01T03:00Z")
    made.look()
    started.end(NO_STORE)
    made.look()
    assert [due for _, due in started.due] == ["2026-03-02T03:00:00+00:00"] * 2
    started.end(ALREADY_RUNS)
    made.look()
    assert len(started.due) == 2


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, INTERRUPTED])
def test_run_whose_runner_died_is_made_up_for(
    started: Started, monkeypatch: pytest.MonkeyPatch, how: signal.Signals | int
) -> None:
    made, clock = scheduling("2026-03-02T03:00Z", started, "2026-03-01T03:00Z", schedule_missed_hours=5)
    made.look()
    started.die(how)
    made.look()
    assert len(started.due) == 1, "not at once"
    monkeypatch.setattr(scheduler, "AGAIN_SECONDS", 0.0)
    made._not_before.clear()
    made.look()
    assert [due for _, due in started.due] == ["2026-03-02T03:00:00+00:00"] * 2
    clock.advance(6 * HOUR)
    started.die(how)
    made.look()
    assert len(started.due) == 2, "too long ago"


def test_run_that_was_noted_before_its_runner_died_is_not_repeated(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "AGAIN_SECONDS", 0.0)
    noted = {"backup": us("2026-03-01T03:00Z")}
    planned = entries("backup=0 3 * * *", "UTC")
    made = Scheduler(planned, Settings(), ManualClock(us("2026-03-02T03:00Z")), lambda: dict(noted), started)
    made.look()
    noted["backup"] = us("2026-03-02T03:00Z")
    started.die(INTERRUPTED)
    made.look()
    assert len(started.due) == 1


def test_scheduler_that_ends_its_runs_begins_none_anew(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(scheduler, "LOOK_SECONDS", 0.01)
    made, _ = scheduling("2026-03-02T03:00Z", started, "2026-03-01T03:00Z")
    stopping = threading.Event()
    thread = threading.Thread(target=made.run, args=[stopping])
    thread.start()
    while not started.due:
        time.sleep(0.01)
    stopping.set()
    thread.join(10)
    assert not thread.is_alive() and [each.returncode for each in started.processes] == [-signal.SIGTERM]


def test_database_that_is_away_at_the_start_is_asked_again(started: Started) -> None:
    answers: list[Any] = [StoreUnavailable("timescale", "away"), {"backup": us("2026-03-01T03:00Z")}]

    def last_due() -> dict[str, int]:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return dict(found)

    planned = entries("backup=0 3 * * *", "UTC")
    made = Scheduler(planned, Settings(), ManualClock(us("2026-03-02T03:00Z")), last_due, started)
    made.look()
    assert started.due == []
    made.look()
    assert len(started.due) == 1
