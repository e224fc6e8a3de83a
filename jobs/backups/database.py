"""The database as files: every table by COPY, all of one snapshot, with the migrations that made the tables.

COPY instead of pg_dump: the rows fit a plain PostgreSQL and a TimescaleDB alike, of any version, and a backup can be
restored by newer code, which applies the migrations that came since.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import zstandard
from psycopg import sql

from core.errors import InputError
from stores.migrations import migrations
from stores.postgres import connect_args, translated

SUFFIX = ".zst"
LEVEL = 3
_CHUNK = 1 << 20
_MIGRATIONS = "schema_migrations"
# What came with the extensions is theirs.
_TABLES = """
    SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> %s
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1
"""
_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""
_SEQUENCES = """
    SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = current_schema() AND last_value IS NOT NULL
"""
# Where the stack was in topics of a broker that will be another one.
PLACES_OF_A_BROKER = ("alert_offsets",)


@contextmanager
def snapshot(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection that sees one moment of the database for as long as it lasts."""
    with translated(), psycopg.connect(**connect_args(dsn)) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection


def applied(connection: psycopg.Connection) -> dict[str, str]:
    """The migrations that the database has, with their checksums; none where it was never migrated."""
    if connection.execute("SELECT to_regclass(%s)", [_MIGRATIONS]).fetchone() == (None,):
        return {}
    return dict(connection.execute("SELECT name, checksum FROM schema_migrations ORDER BY name").fetchall())


def tables(connection: psycopg.Connection) -> list[str]:
    """The tables of ours, by name."""
    return [name for (name,) in connection.execute(_TABLES, [_MIGRATIONS]).fetchall()]


def filled(connection: psycopg.Connection) -> list[str]:
    """The tables that hold a row."""
    asked = ((name, sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(name)))
             for name in tables(connection))  # fmt: skip
    return [name for name, query in asked if connection.execute(query).fetchone() == (True,)]


def dump(connection: psycopg.Connection, folder: Path, progress: Callable[[int], object]) -> dict[str, int]:
    """Every table to a file of its own; rows by table. `progress` is told of bytes as they come."""
    folder.mkdir(parents=True)
    return {name: _dump_table(connection, name, folder / (name + SUFFIX), progress) for name in tables(connection)}


def sequences(connection: psycopg.Connection) -> dict[str, int]:
    """The last number that each sequence gave."""
    return dict(connection.execute(_SEQUENCES).fetchall())


def load(
    connection: psycopg.Connection,
    folder: Path,
    counts: dict[str, int],
    numbers: dict[str, int],
    progress: Callable[[int], object],
) -> None:
    """Fill the empty tables of a database that has the backup's migrations. The transaction is the caller's.

    Raises InputError where a file holds another number of rows than the manifest says.
    """
    for name, rows in counts.items():
        if name in PLACES_OF_A_BROKER:
            continue
        found = _load_table(connection, name, folder / (name + SUFFIX), progress)
        if found != rows:
            raise InputError(f"the table {name} has {found:,} rows in the backup, its manifest says {rows:,}")
    for name, number in numbers.items():
        connection.execute("SELECT setval(%s::text::regclass, %s)", [name, number])


def check_known(had: dict[str, str]) -> None:
    """Raises InputError when the backup is of a database that this code does not know."""
    known = {each.name: each.checksum for each in migrations()}
    unknown = sorted(name for name, checksum in had.items() if known.get(name) != checksum)
    if unknown:
        raise InputError(f"the backup's database has migrations that this code lacks: {', '.join(unknown)}")


def _dump_table(connection: psycopg.Connection, name: str, path: Path, progress: Callable[[int], object]) -> int:
    statement = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(_columns(connection, name), sql.Identifier(name))
    with (
        path.open("wb") as file,
        zstandard.ZstdCompressor(LEVEL).stream_writer(file, closefd=False) as packed,
        connection.cursor() as cursor,
    ):
        with cursor.copy(statement) as copy:
            for block in copy:
                packed.write(block)
                progress(len(block))
        rows = cursor.rowcount
        packed.flush(zstandard.FLUSH_FRAME)
        os.fsync(file.fileno())
    return rows


def _load_table(connection: psycopg.Connection, name: str, path: Path, progress: Callable[[int], object]) -> int:
    target = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), _columns(connection, name))
    with path.open("rb") as file, connection.cursor() as cursor:
        with cursor.copy(target) as copy, zstandard.ZstdDecompressor().stream_reader(file) as plain:
            while block := plain.read(_CHUNK):
                copy.write(block)
                progress(len(block))
        return cursor.rowcount


def _columns(connection: psycopg.Connection, name: str) -> sql.Composed:
    names = connection.execute(_COLUMNS, [sql.Identifier(name).as_string(connection)]).fetchall()
    return sql.SQL(", ").join(sql.Identifier(column) for (column,) in names)
