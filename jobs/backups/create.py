"""Making a backup: first how far the tick log is, then the snapshot, then what is newer than both."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from conf.settings import Settings
from conf.topics import DEAD, TICKS
from core.clock import Clock
from core.errors import InputError, StoreUnavailable
from jobs.backups import database, files, places, topics
from jobs.backups.manifest import PREFIX, Manifest, Places, backups, entry_of, save
from jobs.backups.topics import Topics
from jobs.folders import locked

# What makes bars, and what a restored stack should be given again.
SETTINGS = ("intervals", "ruleset", "indicators", "calendar", "lateness_seconds", "future_tolerance_seconds",
            "symbols", "topic_prefix", "ticks_partitions", "bars_partitions",
            "retention_ticks_days", "retention_bars_days")  # fmt: skip
Progress = Callable[[int], object]


def create(settings: Settings, into: Path, clock: Clock, *, with_kafka: bool = True, progress: Progress) -> Manifest:
    """Make a backup below `into`; it appears there once it is complete. `progress` is told of bytes.

    Raises StoreUnavailable when a server does not answer, InputError when another backup is being made there.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        with _alone(into):
            made_us = clock.now_us()
            name = f"{PREFIX}{datetime.fromtimestamp(made_us // 1_000_000, UTC):%Y%m%dT%H%M%SZ}"
            if (into / name).exists():
                raise InputError(f"{into / name} exists already")
            _clear_unfinished(into)
            folder = into / f".{name}"
            folder.mkdir(mode=0o700)  # hashes of the API's keys are in it
            manifest = _fill(settings, folder, name, made_us, clock, with_kafka, progress)
            save(folder, manifest)
            folder.rename(into / name)
            return manifest
    except OSError as error:
        raise StoreUnavailable("backup", f"{error.strerror or error}: {error.filename or into}") from None


def prune(into: Path, keep: int) -> list[str]:
    """Remove all but the newest `keep` backups, 0 for none removed; the names of those that went."""
    old = backups(into)[:-keep] if keep else []
    for folder in old:
        gone = folder.with_name(f".{folder.name}")  # at once no backup any more, whatever stops us here
        folder.rename(gone)
        shutil.rmtree(gone)
    return [folder.name for folder in old]


def shown(settings: Settings) -> dict[str, str]:
    """The settings that a backup remembers."""
    held: dict[str, Any] = {name: getattr(settings, name) for name in SETTINGS}
    assert not any(isinstance(value, SecretStr) for value in held.values())
    return {name: str(value) for name, value in held.items()}


def _fill(
    settings: Settings, folder: Path, name: str, made_us: int, clock: Clock, with_kafka: bool, progress: Progress
) -> Manifest:
    # Before the snapshot: what a query has finished by now is in it.
    done = {query: places.finished(settings, query) for query in (places.TABLE, places.LAKE)}
    with database.snapshot(settings.postgres_dsn.get_secret_value()) as connection:
        had = database.applied(connection)
        if not had:
            raise InputError("the database has no tables of ours: nothing to back up")
        complete_us = clock.now_us()
        counts = database.dump(connection, folder / "database", progress)
        numbers = database.sequences(connection)
        stored = _stored(connection, done)
    _copy_folders(settings, folder, progress)
    found: Places | None = None
    records: dict[str, int] = {}
    if with_kafka:
        complete_us, found, records = _topics(settings, folder, stored, clock, progress)
    return Manifest(
        name=name,
        made_us=made_us,
        complete_until_us=complete_us,
        code=_code(),
        migrations=had,
        tables=counts,
        sequences=numbers,
        places=found,
        records=records,
        settings=shown(settings),
        files=[entry_of(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()],
    )


def _stored(connection: psycopg.Connection, done: dict[str, dict[int, int] | None]) -> dict[str, dict[int, int]]:
    """By query how far it is; without its checkpoint, how far the table says that the log is."""
    missing = [query for query, found in done.items() if found is None]
    table = places.stored(connection) if missing else {}
    return {query: table if found is None else found for query, found in done.items()}


def _copy_folders(settings: Settings, folder: Path, progress: Progress) -> None:
    earlier = backups(folder.parent)
    for name, root, found in (
        ("lake", settings.lake_path, files.lake_files(settings.lake_path)),
        ("models", settings.models_path, files.other_files(settings.models_path)),
    ):
        held = earlier[-1] / name if earlier else folder / name
        known = {path.relative_to(held): path for path in files.other_files(held)} if earlier else {}
        files.copy(found, root, folder / name, known, progress)


def _topics(
    settings: Settings, folder: Path, stored: dict[str, dict[int, int]], clock: Clock, progress: Progress
) -> tuple[int, Places, dict[str, int]]:
    """Until when the backup is complete, how far the log was, and the records that it lacked."""
    reader = Topics(settings)
    try:
        complete_us, bounds = clock.now_us(), reader.bounds(TICKS)
        found = {query: places.unfinished(known, bounds) for query, known in stored.items()}
        end = {number: last for number, (_, last) in bounds.items()}
        first = {number: min(each[number] for each in found.values()) for number in bounds}
        dead = reader.bounds(DEAD)
        dead_first, dead_end = ({number: edge[at] for number, edge in dead.items()} for at in (0, 1))
        counts = {
            name: topics.write(folder / "topics" / f"{name}.zst", reader.read(name, *span), progress)
            for name, span in ((TICKS, (first, end)), (DEAD, (dead_first, dead_end)))
        }
    finally:
        reader.close()
    return complete_us, Places(found[places.TABLE], found[places.LAKE], end), counts


@contextmanager
def _alone(into: Path) -> Iterator[None]:
    """Two at once would remove each other's unfinished folders."""
    with locked(into / ".lock") as lock:
        if lock is None:
            raise InputError(f"another backup is being made in {into}")
        yield


def _clear_unfinished(into: Path) -> None:
    for left in into.glob(f".{PREFIX}*"):
        shutil.rmtree(left)


def _code() -> str:
    try:
        return version("tickstream")
    except PackageNotFoundError:
        return "source"
