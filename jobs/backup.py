"""Back up what cannot be made again, and bring it back: database, lake, models, and what only Kafka holds."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from conf.settings import Settings, load_settings
from core.clock import SystemClock
from core.errors import InputError, TickstreamError
from jobs.backups.create import create, prune
from jobs.backups.manifest import Manifest, backups, load, problems
from producers.times import iso

_EXAMPLES = """examples:
  python -m jobs.backup create                    into TICKSTREAM_BACKUP_PATH, while everything runs
  python -m jobs.backup list
  python -m jobs.backup check                     every byte of the newest one against its manifest
  python -m local up --servers-only               then, in another terminal with the URLs that it prints:
  python -m jobs.backup restore /backups/backup-20261121T031500Z

A restore goes into an empty stack only, verifies the backup before it changes anything, and tells what is lost: what
was acknowledged after the backup's moment. Start the programs afterwards. docs/operations.md has the drill."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when done, 1 with one line on what went wrong."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        command: Callable[[argparse.Namespace, Settings], int] = options.run
        return command(options, settings)
    except TickstreamError as error:
        sys.stderr.write(f"backup: {error}\n")
        return 1


def _create(options: argparse.Namespace, settings: Settings) -> int:
    into = options.into or settings.backups_path
    with _bar("backing up") as bar:
        made = create(settings, into, SystemClock(), with_kafka=not options.without_kafka, progress=bar.update)
    sys.stdout.write(f"backup: {into / made.name}\n{_told(made)}\n")
    keep = settings.backup_keep if options.keep is None else options.keep
    for name in prune(into, keep):
        sys.stdout.write(f"removed {name}: {keep} are kept\n")
    return 0


def _restore(options: argparse.Namespace, settings: Settings) -> int:
    from jobs.backups.restore import restore  # brings the final query's parts, which `list` needs not wait for

    folder: Path = options.backup
    manifest = load(folder)
    with _bar("restoring") as bar:
        done = restore(settings, folder, manifest, progress=bar.update)
    rows = sum(done.tables.values())
    sys.stdout.write(f"restored {folder.name}: {rows:,} rows in {len(done.tables)} tables, {done.files:,} files\n")
    sys.stdout.write(
        f"{done.again:,} ticks go through the queries again, {done.logged:,} went into the tick log straight,"
        f" {done.dead + done.refused:,} refused records\n"
    )
    sys.stdout.write(f"lost: what was acknowledged after {iso(manifest.complete_until_us)}\n")
    for line in done.warnings:
        sys.stdout.write(f"warning: {line}\n")
    return 0


def _check(options: argparse.Namespace, settings: Settings) -> int:
    folder = options.backup or _newest(settings)
    manifest = load(folder)
    with _bar("checking", manifest.bytes) as bar:
        found = list(problems(folder, manifest, bar.update))
    for line in found:
        sys.stdout.write(f"{line}\n")
    outcome = f"{len(found)} files are wrong" if found else "as its manifest says"
    sys.stdout.write(f"backup: {folder.name}: {len(manifest.files):,} files, {outcome}\n")
    return 1 if found else 0


def _list(options: argparse.Namespace, settings: Settings) -> int:
    folder = options.into or settings.backups_path
    found = backups(folder)
    for path in found:
        sys.stdout.write(f"{path}\n{_told(load(path))}\n")
    if not found:
        sys.stdout.write(f"no backup in {folder}\n")
    return 0


def _newest(settings: Settings) -> Path:
    found = backups(settings.backups_path)
    if not found:
        raise InputError(f"no backup in {settings.backups_path}")
    return found[-1]


def _told(manifest: Manifest) -> str:
    rows, records = sum(manifest.tables.values()), sum(manifest.records.values())
    kafka = f"{records:,} records" if manifest.places is not None else "without Kafka"
    return (
        f"  {manifest.bytes / 1e6:,.1f} MB, {rows:,} rows, {len(manifest.files):,} files, {kafka};"
        f" complete until {iso(manifest.complete_until_us)}"
    )


def _bar(text: str, total: int | None = None) -> "tqdm[None]":
    return tqdm(desc=text, total=total, unit="B", unit_scale=True, disable=None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.backup",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    make = commands.add_parser("create", help="make a backup; it appears once it is complete")
    make.set_defaults(run=_create)
    make.add_argument("--into", type=Path, metavar="DIR", help="folder of backups (default: TICKSTREAM_BACKUP_PATH)")
    make.add_argument("--keep", type=int, metavar="N", help="remove all but the newest N (default: the setting)")
    make.add_argument(
        "--without-kafka", action="store_true", help="the broker is down: leave out what the tick log lacks"
    )
    back = commands.add_parser("restore", help="bring a backup back into an empty stack whose servers run")
    back.set_defaults(run=_restore)
    back.add_argument("backup", type=Path, metavar="BACKUP", help="the backup's folder")
    check = commands.add_parser("check", help="hold every file against the manifest; exit 1 if one is wrong")
    check.set_defaults(run=_check)
    check.add_argument("backup", type=Path, nargs="?", metavar="BACKUP", help="(default: the newest)")
    shown = commands.add_parser("list", help="the backups that there are")
    shown.set_defaults(run=_list)
    shown.add_argument("--into", type=Path, metavar="DIR", help="folder of backups (default: TICKSTREAM_BACKUP_PATH)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
