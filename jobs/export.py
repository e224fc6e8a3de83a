"""Days of final bars with their indicators as Parquet, a folder each, with a manifest that says what is in it.

Plain Python: rows go from PostgreSQL's COPY to Arrow to Parquet, in one snapshot, without a Spark session.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from conf.settings import Settings, load_settings
from core.clock import Clock, SystemClock
from core.errors import InputError, TickstreamError
from core.intervals import DAILY, DAY_US, INTERVALS, MINUTE_US, SECOND_US
from core.sessions import ALWAYS_OPEN
from core.trading_days import EPOCH, TradingDay, regular_days, trading_days
from core.version import VERSION, definition_hash
from jobs.exported import (
    MANIFEST,
    changes,
    content_of,
    damage,
    described,
    lost_by,
    problems,
    read_manifest,
    rulesets_of,
    told,
    unwritable,
    write_manifest,
)
from jobs.folders import own_folder, put, recover
from stores.day_export import Snapshot, snapshot, write_days
from stores.postgres import to_time

_AROUND_US = 2 * DAY_US
_HOLIDAYS = 14  # the longest of an exchange
_EXAMPLES = """examples:
  python -m jobs.export --day 2026-11-20                          into data/exports/date=2026-11-20
  python -m jobs.export --from 2026-11-01 --to 2026-11-20 --out /backup/bars --ticks
  python -m jobs.export --day 2026-11-20 --interval 1m,1d
  python -m jobs.export --last 3 --force                          each night: the newest days, amended ones anew
  python -m jobs.export --check data/exports                      hold every folder against its manifest

A day is the trading day of TICKSTREAM_CALENDAR: of 24/7 the UTC day, of an exchange its session with what trades before
and after. It has to be over. --to is included.

The same content makes the same hashes: a day that is there already with the same content is left as it is; one with
another is refused, with what has changed, unless you say --force. In DuckDB:

  SELECT symbol, count(*), avg(rsi_14)
  FROM 'data/exports/date=*/bars-5m.parquet' JOIN 'data/exports/date=*/indicators-5m.parquet' USING (symbol, start)
  GROUP BY symbol;"""


def main(arguments: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Exit code: 0 when done, 1 with one line on what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        if options.check:
            return _check(options.check)
        settings = load_settings()
        _export(settings, options, clock or SystemClock())
    except TickstreamError as error:
        sys.stderr.write(f"export: {error}\n")
        return 1
    return 0


def _export(settings: Settings, options: argparse.Namespace, clock: Clock) -> None:
    started = time.monotonic()
    intervals = _intervals(options.interval or f"{settings.intervals},{DAILY}")
    days = _days(options, settings, clock.now_us())
    out = options.out or settings.data_path / "exports"
    rows = 0
    for day in (bar := tqdm(days, desc="exporting", unit="day", disable=None)):
        bar.set_postfix_str(str(day.date))
        with snapshot(settings.postgres_dsn.get_secret_value()) as held:
            rows += _export_day(held, day, out / f"date={day.date}", intervals, settings.calendar, options)
    seconds = time.monotonic() - started
    sys.stdout.write(f"export: {len(days)} days, {rows:,} rows in {seconds:.1f} s -> {out}\n")


def _export_day(
    held: Snapshot, day: TradingDay, place: Path, intervals: Sequence[str], calendar: str, options: argparse.Namespace
) -> int:
    """Write one day beside its place, then let it take it; how many rows."""
    try:
        recover(place)
        with own_folder(place.parent, f".{place.name}.") as own:
            made = own / place.name
            made.mkdir()
            for name, write in _files(held, day, intervals, calendar, options.ticks):
                write(made / f"{name}.parquet")
            return _settle(held, day, made, place, calendar, options.force)
    except OSError as error:
        raise unwritable(error) from None


def _files(
    held: Snapshot, day: TradingDay, intervals: Sequence[str], calendar: str, ticks: bool
) -> Iterator[tuple[str, Callable[[Path], int]]]:
    """The files of a day and what makes each; one without rows is not made."""
    for interval in intervals:
        span = (interval, day.start, day.end)
        if interval == DAILY:
            yield f"bars-{DAILY}", lambda path: write_days(path, _rolled(held, day, calendar))
            continue
        yield f"bars-{interval}", lambda path, span=span: held.write_bars(path, *span)  # type: ignore[misc]
        yield f"revisions-{interval}", lambda path, span=span: held.write_revisions(path, *span)  # type: ignore[misc]
        yield f"indicators-{interval}", lambda path, span=span: held.write_indicators(path, *span)  # type: ignore[misc]
    if ticks:
        yield "ticks", lambda path: held.write_ticks(path, day.start, day.end)


def _rolled(held: Snapshot, day: TradingDay, calendar: str) -> list[pa.Table]:
    """The daily bars of a day: of the regular session, and under an exchange's calendar of the whole day too."""
    regular = [each for each in regular_days(day.start, day.end, calendar) if each.day == day.day]
    parts = [("rth", each) for each in regular] + ([] if calendar == ALWAYS_OPEN else [("all", day)])
    made = []
    for session, each in parts:
        rows = held.days(each.start, each.end)
        named = {"day": pa.array([day.date] * rows.num_rows, pa.date32()), "session": [session] * rows.num_rows}
        for place, (name, column) in enumerate(named.items(), start=1):
            rows = rows.add_column(place, name, pa.array(column))
        made.append(rows)
    return made


def _settle(held: Snapshot, day: TradingDay, made: Path, place: Path, calendar: str, force: bool) -> int:
    files = described(made)
    rows = sum(each.rows for each in files)
    if not files:
        tqdm.write(f"{day.date}: no bars, no folder")
        return 0
    said: dict[str, Any] = {
        "day": str(day.date),
        "calendar": calendar,
        "start": rfc3339(day.start),
        "end": rfc3339(day.end),
        "known_at": rfc3339(held.known_at_us),
        "made_by": {"tickstream": VERSION, "definition": definition_hash()},
        "rulesets": rulesets_of(made),
        "revisions": sum(each.rows for each in files if each.file.startswith("revisions-")),
        "changes": None,
    }
    if place.exists():
        wrong = damage(place)
        if wrong is None and read_manifest(place)["content"] == content_of(files):
            tqdm.write(f"{day.date}: unchanged")
            return rows
        said["changes"] = None if wrong else changes(place, made)
        reason = f"damaged, {wrong}" if wrong else f"of other content, {told(said['changes'])}"
        if not force:
            raise InputError(f"{place} is there and {reason}; --force replaces it")
        if said["changes"] and (lost := lost_by(said["changes"], place, made)):
            raise InputError(f"{place} holds {lost}, which this export would lose: ask for the same, or move it away")
        tqdm.write(f"{day.date}: replaced what was {reason}")
    write_manifest(made, said, files)
    put(made, place)
    return rows


def _check(folder: Path) -> int:
    days = [folder] if (folder / MANIFEST).exists() else sorted(folder.glob("date=*"))
    if not days:
        raise InputError(f"{folder} holds no exported day")
    found = [line for day in tqdm(days, desc="checking", unit="day", disable=None) for line in problems(day)]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.stdout.write(f"export: {len(days)} days checked, {len(found) or 'no'} problems\n")
    return 1 if found else 0


def _days(options: argparse.Namespace, settings: Settings, now_us: int) -> list[TradingDay]:
    """The trading days asked for. Raises InputError where there is none, and for one that is not over."""
    over_us = now_us - round(settings.lateness_seconds * SECOND_US) - MINUTE_US
    if options.newest is not None:
        days = trading_days(over_us - (2 * options.newest + _HOLIDAYS) * DAY_US, over_us, settings.calendar)
        return [day for day in days if day.end <= over_us][-options.newest :]
    first, last = options.day or options.first, options.day or options.until
    if first is None or last is None or last < first:
        raise InputError("say --day, or --from and --to in order, or --last")
    begin, end = (_us(first) - _AROUND_US, _us(last) + DAY_US + _AROUND_US)
    days = [day for day in trading_days(begin, end, settings.calendar) if first <= day.date <= last]
    if not days:
        raise InputError(f"no trading day of {settings.calendar} in {first} to {last}")
    if days[-1].end > over_us:
        raise InputError(f"{days[-1].date} ends at {rfc3339(days[-1].end)}, and its last bars are not final yet")
    return days


def _intervals(text: str) -> list[str]:
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    known = [*INTERVALS, DAILY]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f"unknown interval {', '.join(unknown) or '(none)'}; known: {', '.join(known)}")
    return names


def _us(day: date) -> int:
    return (day - EPOCH).days * DAY_US


def rfc3339(us: int) -> str:
    """Epoch microseconds as text, UTC."""
    return to_time(us).isoformat().replace("+00:00", "Z")


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.export",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--day", type=date.fromisoformat, metavar="DATE", help="one day, such as 2026-11-20")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, metavar="DATE", help="the first of several")
    parser.add_argument("--to", dest="until", type=date.fromisoformat, metavar="DATE", help="the last of them")
    parser.add_argument("--last", dest="newest", type=_count, metavar="N", help="the newest N days that are over")
    parser.add_argument("--interval", metavar="1m,5m,15m,1d", help="which bars (default: the configured ones and 1d)")
    parser.add_argument("--ticks", action="store_true", help="the tick log of the day as well")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the folders go (default: data/exports)")
    parser.add_argument("--force", action="store_true", help="replace a day whose content has changed")
    parser.add_argument("--check", type=Path, metavar="DIR", help="only hold an export against its manifest")
    return parser


if __name__ == "__main__":
    sys.exit(main())
