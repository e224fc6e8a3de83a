"""The tick log of the table as a Parquet file, so that a batch job reads it like the lake."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from psycopg import sql

from stores.postgres import connect_args, to_time, translated
from stores.schema import TICK_SCHEMA

_BLOCK_BYTES = 8 << 20
_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, TICK_SCHEMA.names))
# On the partial index of these.
_AMENDING = sql.SQL("SELECT {} FROM ticks WHERE kind IN ('correct', 'cancel')").format(_COLUMNS)


def export_ticks(
    dsn: str,
    path: Path,
    start_us: int,
    end_us: int,
    symbols: Sequence[str] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> int:
    """Copy the ticks of `[start_us, end_us)` by event time to a new Parquet file of TICK_SCHEMA; how many there were.

    Corrections and cancels come along whenever they happened: the trade that they name may be in the range.

    `progress` is told of each block how many rows it had.
    Raises StoreUnavailable, and ConfigError where the database has no such table.
    """
    within = sql.SQL("event_time >= {} AND event_time < {}").format(to_time(start_us), to_time(end_us))
    wanted = sql.SQL("true") if symbols is None else sql.SQL("symbol = ANY({})").format(list(symbols))
    query = sql.SQL("SELECT {0} FROM ticks WHERE {1} AND {2} UNION ALL {3} AND NOT ({1}) AND {2}").format(
        _COLUMNS, within, wanted, _AMENDING
    )
    return _copied(dsn, path, query, progress)


def export_windows(dsn: str, path: Path, windows: Sequence[tuple[str, int, int]]) -> int:
    """Copy the trades of `(symbol, start_us, end_us)`, none overlapping, and all that amends these symbols.

    Into a new Parquet file of TICK_SCHEMA; how many records there were. Raises as `export_ticks` does.
    """
    symbols = [symbol for symbol, _, _ in windows]
    starts, ends = [to_time(start) for _, start, _ in windows], [to_time(end) for _, _, end in windows]
    query = sql.SQL(
        "SELECT found.* FROM unnest({}::text[], {}::timestamptz[], {}::timestamptz[]) AS asked (s, a, b), LATERAL"
        " (SELECT {} FROM ticks WHERE symbol = s AND event_time >= a AND event_time < b AND kind = 'trade') AS found"
        " UNION ALL {} AND symbol = ANY({})"
    ).format(symbols, starts, ends, _COLUMNS, _AMENDING, sorted(set(symbols)))
    return _copied(dsn, path, query, lambda _: None)


def _copied(dsn: str, path: Path, query: sql.Composed, progress: Callable[[int], object]) -> int:
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(query)
    count = 0
    with (
        translated(),
        psycopg.connect(**connect_args(dsn)) as connection,
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
        pq.ParquetWriter(path, TICK_SCHEMA) as writer,
    ):
        for table in _tables(map(bytes, copy)):
            writer.write_table(table)
            progress(table.num_rows)
            count += table.num_rows
    return count


def _tables(rows: Iterator[bytes]) -> Iterator[pa.Table]:
    """CSV rows, as COPY gives them one by one, as tables of some megabytes."""
    held: list[bytes] = []
    size = 0
    for row in rows:
        held.append(row)
        size += len(row)
        if size >= _BLOCK_BYTES:
            yield _table(b"".join(held))
            held, size = [], 0
    if held:
        yield _table(b"".join(held))


def _table(data: bytes) -> pa.Table:
    # COPY writes NULL as nothing and an empty text as "".
    convert = pc.ConvertOptions(
        column_types=TICK_SCHEMA,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    read = pc.ReadOptions(column_names=TICK_SCHEMA.names, block_size=2 * len(data))
    parse = pc.ParseOptions(newlines_in_values=True)
    return pc.read_csv(io.BytesIO(data), read, parse, convert).cast(TICK_SCHEMA)
