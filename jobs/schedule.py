"""A light scheduler: runs export, retention, reconcile and backups at the times of TICKSTREAM_SCHEDULE."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

import structlog

from conf.logs import configure_logs
from conf.schedule import JOBS, Entry, entries
from conf.settings import Settings, load_settings
from core.clock import SystemClock
from core.errors import StoreUnavailable, TickstreamError
from jobs.scheduling.commands import command_of, day_before
from jobs.scheduling.runner import run_job
from jobs.scheduling.scheduler import Scheduler
from stores.job_runs import JobRun, JobRuns

_log = structlog.get_logger("jobs.schedule")
_EXAMPLES = """examples:
  TICKSTREAM_SCHEDULE="export=30 0 * * *; retention=17 2 * * *; backup=0 3 * * *" python -m jobs.schedule
  python -m jobs.schedule --list               what there is, when it is due, and how it went
  python -m jobs.schedule --run backup         now; noted like any other run, and never beside itself

Times are of TICKSTREAM_SCHEDULE_TIME_ZONE. A job works on the day before the time at which it was due, also when it
runs late: a run that was missed is made up for once, within TICKSTREAM_SCHEDULE_MISSED_HOURS. `make up` runs this."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when stopped; of --run, that of the job."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        planned = entries(settings.schedule, settings.schedule_time_zone)
        if options.list:
            return _list(settings, planned)
        return _run(settings, options.run, options.due) if options.run else _keep_running(settings, planned)
    except TickstreamError as error:
        sys.stderr.write(f"schedule: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _keep_running(settings: Settings, planned: Sequence[Entry]) -> int:
    configure_logs(settings.log_format)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    clock = SystemClock()
    for entry in planned:
        due = entry.local(next(entry.after(clock.now_us())))
        _log.info("scheduled", job=entry.name, cron=entry.cron, next=f"{due:%Y-%m-%d %H:%M %Z}")
    if not planned:
        _log.info("nothing is scheduled: see TICKSTREAM_SCHEDULE")
    Scheduler(planned, settings, clock).run(stopping)
    return 0


def _run(settings: Settings, name: str, due_us: int | None) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = command_of(name)
    due_us = SystemClock().now_us() if due_us is None else due_us
    (entry,) = entries(f"{name}=0 0 1 1 *", settings.schedule_time_zone)
    return run_job(settings, name, command(settings, day_before(entry.local(due_us))), due_us)


def _list(settings: Settings, planned: Sequence[Entry]) -> int:
    last = _last(settings)
    now_us = SystemClock().now_us()
    by_name = {entry.name: entry for entry in planned}
    for name, text in JOBS.items():
        entry = by_name.get(name)
        due = "not scheduled" if entry is None else f"{entry.local(next(entry.after(now_us))):%Y-%m-%d %H:%M %Z}"
        cron = "-" if entry is None else entry.cron
        sys.stdout.write(f"{name:<13} {cron:<14} next {due:<21} {_told(last, name)}  ({text})\n")
    return 0


def _last(settings: Settings) -> dict[str, JobRun] | None:
    try:
        with JobRuns(settings.postgres_dsn.get_secret_value()) as runs:
            return runs.newest()
    except (StoreUnavailable, TickstreamError):
        return None


def _told(last: dict[str, JobRun] | None, name: str) -> str:
    if last is None:
        return "last run unknown: the database does not answer"
    run = last.get(name)
    return "never ran" if run is None else f"last {run.state}" + (f" ({run.exit_code})" if run.exit_code else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.schedule",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="the jobs, when they are due next, how they went last")
    parser.add_argument("--run", metavar="JOB", help=f"run one now, to its end: {', '.join(JOBS)}")
    parser.add_argument("--due", type=int, metavar="US", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
