"""A stretch of time out of the database into Parquet files: one snapshot for all of them, rows in one order.

The same rows make the same bytes: files are ordered by symbol and time, in the order of bytes whatever the database's
collation, and nothing of the moment of the export is in them.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from psycopg import sql

from core.indicators import columns_of, parse_all
from stores.daily_reads import OF_ALL_SYMBOLS
from stores.postgres import connect_args, to_time, translated
from stores.schema import BAR_SCHEMA, TICK_SCHEMA, TIME, values_of

EXPORTED_BARS = BAR_SCHEMA.append(pa.field("known_at", TIME, nullable=False))
_BLOCK_BYTES = 8 << 20
_PRICE = pa.decimal128(18, 8)
_DAY_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(("open", "high", "low", "close"), _PRICE),
    "volume": pa.decimal128(38, 8),
    "notional": pa.decimal128(38, 16),
    "vwap": _PRICE,
    "trade_count": pa.int64(),
    "open_us": pa.int64(),
    "close_us": pa.int64(),
    "rev": pa.int32(),
}
EXPORTED_DAYS = pa.schema(
    [("symbol", pa.string()), ("day", pa.date32()), ("session", pa.string()), *_DAY_TYPES.items()]
)
_INDICATORS = pa.schema(
    [
        ("symbol", pa.string()),
        ("interval", pa.string()),
        ("start", TIME),
        ("rev", pa.int32()),
        ("ready", pa.bool_()),
        ("stable", pa.bool_()),
        ("values", pa.string()),
    ]
)
# Symbol by symbol: that is how the indexes begin.
_OF_SERIES = """
    SELECT {columns} FROM symbols CROSS JOIN LATERAL (
        SELECT * FROM {table} AS t WHERE t.symbol = symbols.symbol
        AND t."interval" = {interval} AND t."start" >= {start} AND t."start" < {end}) AS found
    ORDER BY found.symbol COLLATE "C", {order}
"""
_NO_NAMES = pa.schema([("symbol", pa.string()), *_DAY_TYPES.items()])


class Snapshot:
    """What the database holds at one moment. Each write makes a file of a stretch `[start_us, end_us)`, and tells how
    many rows it has: none, and no file, where there are none."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        row = connection.execute("SELECT (extract(epoch FROM now()) * 1000000)::bigint").fetchone()
        assert row is not None
        self.known_at_us: int = row[0]

    def write_bars(self, path: Path, interval: str, start_us: int, end_us: int) -> int:
        """The newest revision of each final bar, EXPORTED_BARS."""
        query = _of_series("bars", EXPORTED_BARS.names, interval, start_us, end_us)
        return self._write(path, query, EXPORTED_BARS, EXPORTED_BARS)

    def write_revisions(self, path: Path, interval: str, start_us: int, end_us: int) -> int:
        """The revisions that newer ones have replaced, EXPORTED_BARS."""
        query = _of_series("bar_revisions", EXPORTED_BARS.names, interval, start_us, end_us, "known_at")
        return self._write(path, query, EXPORTED_BARS, EXPORTED_BARS)

    def write_indicators(self, path: Path, interval: str, start_us: int, end_us: int) -> int:
        """A row for each bar that has indicators, with a column of doubles for each output."""
        found = _of_series("indicators", ["specs", "start"], interval, start_us, end_us)
        specs = self._connection.execute(
            sql.SQL("SELECT DISTINCT specs FROM ({}) AS asked ORDER BY specs").format(found)
        ).fetchall()
        names = list(dict.fromkeys(name for (text,) in specs for each in parse_all(text) for name in columns_of(each)))
        schema = pa.schema([*list(_INDICATORS)[:-1], *(pa.field(name, pa.float64()) for name in names)])
        query = _of_series("indicators", _INDICATORS.names, interval, start_us, end_us)
        return self._write(path, query, _INDICATORS, schema, lambda table: _spread(table, names))

    def write_ticks(self, path: Path, start_us: int, end_us: int) -> int:
        """The tick log by event time, TICK_SCHEMA, with the corrections and cancels that fall in the stretch."""
        query = sql.SQL(
            "SELECT {} FROM symbols CROSS JOIN LATERAL (SELECT * FROM ticks AS t WHERE t.symbol = symbols.symbol"
            " AND t.event_time >= {} AND t.event_time < {}) AS found"
            ' ORDER BY found.symbol COLLATE "C", found.event_time, found.seq, found.identity COLLATE "C"'
        ).format(_named(TICK_SCHEMA.names), to_time(start_us), to_time(end_us))
        return self._write(path, query, TICK_SCHEMA, TICK_SCHEMA)

    def days(self, start_us: int, end_us: int) -> pa.Table:
        """The 1-minute bars of the stretch rolled up, by symbol: EXPORTED_DAYS without day and session."""
        values = {"interval": "1m", "begin": to_time(start_us), "end": to_time(end_us)}
        cursor = self._connection.execute(OF_ALL_SYMBOLS.encode(), values)
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in cursor.fetchall()], schema=_NO_NAMES)

    def _write(
        self,
        path: Path,
        query: sql.Composed,
        read: pa.Schema,
        written: pa.Schema,
        change: Callable[[pa.Table], pa.Table] = lambda table: table,
    ) -> int:
        statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(query)
        count = 0
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            writer = None
            for table in _tables(map(bytes, copy), read):
                writer = writer or pq.ParquetWriter(path, written, compression="zstd")
                writer.write_table(change(table).cast(written))
                count += table.num_rows
            if writer is not None:
                writer.close()
        return count


@contextmanager
def snapshot(dsn: str) -> Iterator[Snapshot]:
    """A read-only view of the database as it is now. Raises StoreUnavailable; ConfigError without the tables."""
    with translated(), psycopg.connect(**connect_args(dsn)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield Snapshot(connection)


def write_days(path: Path, parts: Sequence[pa.Table]) -> int:
    """Tables of EXPORTED_DAYS as one file; how many rows."""
    rows = pa.concat_tables(parts).cast(EXPORTED_DAYS).sort_by([("symbol", "ascending"), ("session", "ascending")])
    if rows.num_rows:
        pq.write_table(rows, path, compression="zstd")
    return int(rows.num_rows)


def _of_series(
    table: str, names: Sequence[str], interval: str, start_us: int, end_us: int, *order: str
) -> sql.Composed:
    """The rows of all symbols that start in a stretch, in order of symbol, start and what else is given."""
    return sql.SQL(_OF_SERIES).format(
        columns=_named(names),
        table=sql.Identifier(table),
        interval=interval,
        start=to_time(start_us),
        end=to_time(end_us),
        order=_named(["start", *order]),
    )


def _named(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier("found", name) for name in names)


def _spread(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The JSON of values as a column per name."""
    values = [values_of(text) for text in table["values"].to_pylist()]
    columns = {name: pa.array([each.get(name) for each in values], pa.float64()) for name in names}
    kept = table.drop_columns(["values"])
    for name, column in columns.items():
        kept = kept.append_column(name, column)
    return kept


def _tables(rows: Iterator[bytes], schema: pa.Schema) -> Iterator[pa.Table]:
    """CSV rows, as COPY gives them one by one, as tables of some megabytes."""
    held: list[bytes] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row)
        if size >= _BLOCK_BYTES:
            yield _table(b"".join(held), schema)
            held, size = [], 0
    if held:
        yield _table(b"".join(held), schema)


def _table(data: bytes, schema: pa.Schema) -> pa.Table:
    # COPY writes NULL as nothing, an empty text as "" and booleans as t and f.
    convert = pc.ConvertOptions(
        column_types=schema,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["t"],
        false_values=["f"],
    )
    read = pc.ReadOptions(column_names=schema.names, block_size=2 * len(data))
    return pc.read_csv(io.BytesIO(data), read, pc.ParseOptions(newlines_in_values=True), convert).cast(schema)
