"""Bars read back from where a run wrote them, and held against those that must come out."""

from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from conf.settings import Settings
from stores.schema import TIME

Key = tuple[str, str, int]
Bars = dict[Key, dict[str, Any]]
FIELDS = ("open", "high", "low", "close", "volume", "notional", "vwap", "trade_count", "open_us", "close_us")
_MICROSECONDS = '(extract(epoch FROM "start") * 1000000)::bigint'


def of_parquet(path: Path) -> Bars:
    """The bars of a Parquet file or folder, by symbol, interval and start in epoch microseconds."""
    table = pq.read_table(path)
    starts = table["start"].cast(TIME).cast(pa.int64()).to_pylist()
    keys = zip(table["symbol"].to_pylist(), table["interval"].to_pylist(), starts, strict=True)
    return dict(zip(keys, table.select(list(FIELDS)).to_pylist(), strict=True))


def of_database(settings: Settings) -> Bars:
    """All bars of the table `bars`."""
    columns = ", ".join(f'"{name}"' for name in FIELDS)
    rows = _query(settings, f'SELECT symbol, "interval", {_MICROSECONDS}, {columns} FROM bars')
    return {row[:3]: dict(zip(FIELDS, row[3:], strict=True)) for row in rows}


def ticks_of_database(settings: Settings) -> int:
    """How many rows the table `ticks` has."""
    return int(_query(settings, "SELECT count(*) FROM ticks")[0][0])


def compare(expected: Bars, found: Bars) -> str:
    """In words what differs, empty when nothing does. Decimals are equal when their values are."""
    missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
    different = [key for key in expected.keys() & found.keys() if expected[key] != found[key]]
    parts = [
        f"{len(keys):,} bars {what}, such as {' '.join(map(str, min(keys)))}"
        for what, keys in (("missing", missing), ("too many", extra), ("different", different))
        if keys
    ]
    return "; ".join(parts)


def _query(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        return connection.execute(statement).fetchall()
