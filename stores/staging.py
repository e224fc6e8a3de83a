"""A batch into a table by way of a temporary one: COPY, then one statement. The transaction is the caller's."""

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg


@dataclass(frozen=True, slots=True)
class Staging:
    """How the rows of a batch meet the rows of `table`.

    Of a batch's rows with one `key` the first in `order` counts, where `ctid` is the order in which they came;
    `conflict` says what becomes of a row that is there already.
    """

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    order: str
    conflict: str

    def write(self, connection: psycopg.Connection, data: bytes) -> None:
        """Write `data`, the CSV of `columns`."""
        staging, columns, key = f"{self.table}_staging", quoted(self.columns), quoted(self.key)
        create = f"CREATE TEMP TABLE IF NOT EXISTS {staging} (LIKE {self.table}) ON COMMIT DELETE ROWS"
        connection.execute(create.encode())
        copy_csv(connection, staging, self.columns, data)
        # Sorted by key, so that two writers of the same rows queue up instead of locking each other out.
        merge = f"""
            INSERT INTO {self.table} ({columns})
            SELECT DISTINCT ON ({key}) {columns} FROM {staging} ORDER BY {key}, {self.order}
            ON CONFLICT ({key}) {self.conflict}
        """
        connection.execute(merge.encode())


def replaced(columns: Iterable[str], key: Iterable[str], where: str) -> str:
    """The `conflict` that puts the new row in the place of the held one, where the condition holds."""
    keys = set(key)
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in keys)
    return f"DO UPDATE SET {changes} WHERE {where}"


def copy_csv(connection: psycopg.Connection, table: str, columns: Iterable[str], data: bytes) -> None:
    """COPY CSV without a header into a table."""
    statement = f"COPY {table} ({quoted(columns)}) FROM STDIN (FORMAT csv)"
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.write(data)


def quoted(names: Iterable[str]) -> str:
    """Names as a list of SQL identifiers."""
    return ", ".join(f'"{name}"' for name in names)
