"""A batch into a table by way of a temporary one: COPY, then one statement. The transaction is the caller's.

At the end, how each table of ours is written.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg

from core.records import BAR_KEY
from stores.schema import BAR_SCHEMA, INDICATOR_SCHEMA, STATE_SCHEMA, TICK_SCHEMA


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
        like = f"LIKE {self.table} INCLUDING DEFAULTS"
        create = f"CREATE TEMP TABLE IF NOT EXISTS {staging} ({like}) ON COMMIT DELETE ROWS"
        connection.execute(create.encode())
        # An earlier write of this transaction may have left its rows; TRUNCATE is dearer for a series' few.
        connection.execute(f"DELETE FROM {staging}".encode())
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


TICKS = Staging(
    "ticks",
    tuple(TICK_SCHEMA.names),
    key=("symbol", "event_time", "identity"),
    order="kafka_offset NULLS LAST, ctid",
    conflict="DO NOTHING",
)
BARS = Staging(
    "bars",
    tuple(BAR_SCHEMA.names),
    key=BAR_KEY,
    order="rev DESC, ctid",
    # A bar that a provider made gives way to our own, which was made from trades.
    conflict=replaced(
        BAR_SCHEMA.names,
        BAR_KEY,
        "bars.rev < excluded.rev OR (bars.rev = excluded.rev AND bars.reason = 'provider'"
        " AND excluded.reason IS DISTINCT FROM 'provider')",
    ),
)
_INDICATOR_COLUMNS = tuple(name for name in INDICATOR_SCHEMA.names if name != "state")
INDICATORS = Staging(
    "indicators",
    _INDICATOR_COLUMNS,
    key=BAR_KEY,
    order="rev DESC, ctid",
    conflict=replaced(
        _INDICATOR_COLUMNS,
        BAR_KEY,
        "indicators.rev < excluded.rev OR (indicators.rev = excluded.rev AND indicators.specs <> excluded.specs)",
    ),
)
# After a bar was amended, those behind it keep their revision, and their indicators change.
AMENDED_INDICATORS = Staging(
    "indicators",
    _INDICATOR_COLUMNS,
    key=BAR_KEY,
    order="rev DESC, ctid",
    conflict=replaced(_INDICATOR_COLUMNS, BAR_KEY, "indicators.rev <= excluded.rev"),
)
_STATE_KEY = ("symbol", "interval")
STATES = Staging(
    "indicator_states",
    tuple(STATE_SCHEMA.names),
    key=_STATE_KEY,
    order='"start" DESC, rev DESC, ctid DESC',
    conflict=replaced(
        STATE_SCHEMA.names,
        _STATE_KEY,
        '(indicator_states."start", indicator_states.rev) <= (excluded."start", excluded.rev)',
    ),
)
