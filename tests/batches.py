"""Batches of ticks and bars for the stores' tests: a default for everything, and rows back as plain dicts."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa

from core.records import Bar
from stores.schema import TICK_SCHEMA, bars_table

MINUTE_US = 60_000_000
START_US = 1_709_303_400_000_000  # 2024-03-01 14:30 UTC

Row = dict[str, Any]


def make_bar(minute: int = 0, **changes: Any) -> Bar:
    """A final 1-minute bar, `minute` minutes after START_US."""
    start = changes.pop("start", START_US + minute * MINUTE_US)
    values: Row = {
        "symbol": "AAPL",
        "interval": "1m",
        "start": start,
        "end": start + MINUTE_US,
        "open": Decimal("167.41000000"),
        "high": Decimal("168.00000000"),
        "low": Decimal("167.10000001"),
        "close": Decimal("167.90000000"),
        "volume": Decimal("1200.50000000"),
        "notional": Decimal("201323.8500000000000001"),
        "vwap": Decimal("167.70000000"),
        "trade_count": 42,
        "open_us": start + 1,
        "close_us": start + MINUTE_US - 1,
        "first_trade_id": "t-1",
        "last_trade_id": "t-42",
        "kafka_partition": 1,
        "first_offset": 100,
        "last_offset": 141,
        "rev": 1,
        "state": "final",
        "reason": None,
        "ruleset": "all@1",
        "received_us": start + MINUTE_US + 500,
        "processed_us": start + MINUTE_US + 2_000_000,
    }
    return Bar(**(values | changes))


def make_bars(*bars: Bar) -> pa.Table:
    return bars_table(list(bars))


def make_tick(number: int = 0, **changes: Any) -> Row:
    """A row of TICK_SCHEMA, trade `number`, that many milliseconds after START_US; `event_us` sets its time."""
    event_us = changes.pop("event_us", START_US + number * 1_000)
    trade_id = changes.get("trade_id", f"t-{number}")
    values: Row = {
        "symbol": "AAPL",
        "event_time": event_us,
        "seq": number,
        "price": Decimal("167.41000000"),
        "size": Decimal("100.00000000"),
        "trade_id": trade_id,
        "source": "simulator",
        "venue": "XNAS",
        "conditions": None,
        "kind": "trade",
        "reported_us": None,
        "received_us": event_us + 700,
        "kafka_partition": 0,
        "kafka_offset": number,
        "identity": f"id|XNAS|{trade_id}",
    }
    return values | changes


def make_ticks(*ticks: Row) -> pa.Table:
    return pa.Table.from_pylist(list(ticks), schema=TICK_SCHEMA)


def rows_of(table: pa.Table) -> list[Row]:
    """Rows as dicts, times as integer microseconds."""
    columns = {
        name: (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def by_key(rows: Iterable[Row]) -> list[Row]:
    """Bars or ticks in one order, whatever order a store gives them in."""
    return sorted(
        rows, key=lambda row: str([row.get(k) for k in ("symbol", "interval", "start", "event_time", "identity")])
    )
