"""Numbered SQL files, each applied once, whoever comes first.

`schema_migrations` says what was applied and with which checksum; an advisory lock makes several processes
that start together apply it once; each file is one transaction. After the files come the hypertables and
policies of TimescaleDB, which are set again at every run because retention is a setting.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from core.errors import ConfigError
from stores import hypertables
from stores.hypertables import Retention

__all__ = ["Migration", "Retention", "migrate", "migrations", "pending"]

FOLDER = Path(__file__).parent / "sql"
_LOCK = 7_203_146_551  # any number that nobody else locks in this database

_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """The files `NNNN_name.sql` in order of their numbers. Raises ConfigError where two share one."""
    found = [Migration(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[0-9]*.sql"))]
    numbers = [migration.name.split("_")[0] for migration in found]
    if len(set(numbers)) != len(numbers):
        raise ConfigError(f"two migrations share a number: {', '.join(migration.name for migration in found)}")
    return found


def pending(connection: psycopg.Connection, known: Sequence[Migration] | None = None) -> list[str]:
    """Names of the migrations that the database has not seen.

    Raises ConfigError where one was changed after it had been applied.
    """
    known = migrations() if known is None else known
    applied = _applied(connection)
    changed = [m.name for m in known if m.name in applied and applied[m.name] != m.checksum]
    if changed:
        raise ConfigError(f"migration {', '.join(changed)} was changed after it was applied: add a new one instead")
    return [migration.name for migration in known if migration.name not in applied]


def migrate(
    connection: psycopg.Connection, retention: Retention, known: Sequence[Migration] | None = None
) -> list[str]:
    """Bring the database up to date over an autocommit connection; the names of what was applied now."""
    known = migrations() if known is None else known
    connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    try:
        connection.execute(_TABLE)
        todo = set(pending(connection, known))
        for migration in known:
            if migration.name in todo:
                _apply(connection, migration)
        hypertables.apply(connection, retention)
        return sorted(todo)
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    with connection.transaction():
        connection.execute(migration.sql.encode())
        connection.execute(
            "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)", [migration.name, migration.checksum]
        )


def _applied(connection: psycopg.Connection) -> dict[str, str]:
    if connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,):
        return {}
    return dict(connection.execute("SELECT name, checksum FROM schema_migrations").fetchall())
