"""A backup into an empty stack: database, lake, models, topics, the newest bars for Redis.

Kafka's offsets and the queries' checkpoints are not brought back: a new broker counts anew. The queries begin with
fresh checkpoints on a topic `ticks` that holds what their open bars are made of, see `jobs.backups.tail`.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from conf.settings import Settings
from conf.topics import DEAD, INDICATORS, TICKS
from core.errors import InputError
from jobs.backups import database, files, places, tail, topics
from jobs.backups.create import shown
from jobs.backups.manifest import Manifest, problems
from jobs.backups.newest import fill_redis, open_states, publish_states
from jobs.backups.topics import Topics
from producers.topics import ensure_topics
from stores.migrations import Retention, migrate, migrations
from stores.postgres import connect_args, translated
from stores.redis import RedisReader

_NAMED = 5
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Restored:
    """Rows by table; ticks that go through the queries again, that came too late for them, that were refused."""

    tables: dict[str, int]
    files: int
    again: int
    logged: int
    refused: int
    dead: int
    warnings: list[str]


def restore(settings: Settings, folder: Path, manifest: Manifest, *, progress: Progress) -> Restored:
    """Bring a backup back. The stack's programs must not run; its servers must.

    Raises InputError where anything is there already, or the backup is damaged: then nothing was changed.
    A restore that fails later leaves parts behind: empty the stack and repeat it.
    """
    refuse_damaged(folder, manifest)
    database.check_known(manifest.migrations)
    refuse_filled(settings, with_kafka=manifest.places is not None)
    migrate_to(settings, manifest)
    held = files.place(folder / "lake", settings.lake_path, progress)
    held += files.place(folder / "models", settings.models_path, progress)
    _fill_database(settings, folder, manifest, progress)
    fill_redis(settings)
    open_states(settings)
    done, dead = tail.Done(0, 0, 0), 0
    if manifest.places is not None:
        ensure_topics(settings)
        publish_states(settings)
        dead = topics.send(settings, DEAD, topics.read_file(folder / "topics" / f"{DEAD}.zst"))
        done = tail.replay(settings, topics.read_file(folder / "topics" / f"{TICKS}.zst"), manifest.places)
    return Restored(manifest.tables, held, *done, dead, warnings(settings, manifest))


def refuse_damaged(folder: Path, manifest: Manifest) -> None:
    """Raises InputError naming the first file that is not what the manifest says."""
    problem = next(problems(folder, manifest), None)
    if problem is not None:
        raise InputError(f"{folder} is damaged: {problem}")


def refuse_filled(settings: Settings, with_kafka: bool = True) -> None:
    """Raises InputError, naming all of it, when the stack holds anything."""
    found = list(_filled(settings, with_kafka))
    if found:
        raise InputError(f"the stack is not empty: {'; '.join(found)}. A restore goes into an empty one only")


def warnings(settings: Settings, manifest: Manifest) -> list[str]:
    """Settings that were others when the backup was made."""
    now = shown(settings)
    return [
        f"TICKSTREAM_{name.upper()} is {now[name]!r}, the backup was made with {value!r}"
        for name, value in manifest.settings.items()
        if name in now and now[name] != value and name != "topic_prefix"
    ]


def migrate_to(settings: Settings, manifest: Manifest) -> None:
    """Make the tables as the backup's database had them."""
    then = [each for each in migrations() if each.name in manifest.migrations]
    with translated(), psycopg.connect(**_args(settings), autocommit=True) as connection:
        ahead = sorted(set(database.applied(connection)) - set(manifest.migrations))
        if ahead:
            raise InputError(f"the database has migrations that are newer than the backup: {', '.join(ahead)}; "
                             "drop it and create an empty one")  # fmt: skip
        migrate(connection, _kept(settings), then)


def _fill_database(settings: Settings, folder: Path, manifest: Manifest, progress: Progress) -> None:
    """All tables in one transaction, then the migrations that the backup did not have."""
    with translated(), psycopg.connect(**_args(settings), autocommit=True) as connection:
        with connection.transaction():
            database.load(connection, folder / "database", manifest.tables, manifest.sequences, progress)
        connection.execute("ANALYZE")
        migrate(connection, _kept(settings))


def _filled(settings: Settings, with_kafka: bool) -> Iterator[str]:
    with translated(), psycopg.connect(**_args(settings)) as connection:
        tables = database.filled(connection)
    if tables:
        yield f"the database has rows in {', '.join(tables)}"
    for what, path in (("lake", settings.lake_path), ("models", settings.models_path)):
        if files.holds_files(path):
            yield f"{what} at {path}"
    queries = places.checkpoints(settings.checkpoint_path)
    if queries:
        yield f"checkpoints of {', '.join(queries)} at {settings.checkpoint_path}"
    if with_kafka:
        yield from _filled_topics(settings)
    if symbols := asyncio.run(_live_symbols(settings)):
        yield f"Redis has bars of {', '.join(symbols[:_NAMED])}" + (" and others" if len(symbols) > _NAMED else "")


def _filled_topics(settings: Settings) -> Iterator[str]:
    reader = Topics(settings)
    try:
        for topic in (TICKS, DEAD, INDICATORS):
            if any(end for _, end in reader.bounds(topic).values()):
                yield f"the topic {settings.topic(topic)} has records (stop what feeds it)"
    finally:
        reader.close()


async def _live_symbols(settings: Settings) -> list[str]:
    reader = RedisReader(settings.redis_url.get_secret_value())
    try:
        return await reader.symbols()
    finally:
        await reader.close()


def _args(settings: Settings) -> dict[str, object]:
    return connect_args(settings.postgres_dsn.get_secret_value())


def _kept(settings: Settings) -> Retention:
    return Retention(settings.retention_ticks_days, settings.retention_bars_days)
