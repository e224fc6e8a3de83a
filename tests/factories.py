"""Records for tests, with a default for every argument."""

import json
import struct
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa

from core.intervals import INTERVALS
from core.records import Bar, Tick
from stores.schema import INDICATOR_SCHEMA

MONDAY_US = 1_709_551_800_000_000  # 2024-03-04T11:30:00Z, the edge of a 15-minute bar


def tick(**overrides: Any) -> Tick:
    """A good trade of 100 at 190.25, with any field replaced."""
    fields: dict[str, Any] = {
        "symbol": "AAPL",
        "event_us": MONDAY_US,
        "price": "190.25",
        "size": "100",
        "seq": 0,
        "source": "test",
        "received_us": MONDAY_US + 1_000,
    }
    return Tick(**(fields | overrides))


def heartbeat(**overrides: Any) -> Tick:
    """A heartbeat, with any field replaced."""
    fields: dict[str, Any] = {"symbol": "_heartbeat", "price": None, "size": None, "kind": "heartbeat"}
    return tick(**(fields | overrides))


def bar(**overrides: Any) -> Bar:
    """A final one-minute bar of one trade, with any field replaced; `end` follows `interval` and `start`."""
    start = overrides.get("start", MONDAY_US)
    interval = overrides.get("interval", "1m")
    fields: dict[str, Any] = {
        "symbol": "AAPL",
        "interval": interval,
        "start": start,
        "end": start + INTERVALS[interval].us,
        "open": Decimal("190.25000000"),
        "high": Decimal("190.25000000"),
        "low": Decimal("190.25000000"),
        "close": Decimal("190.25000000"),
        "volume": Decimal("100.00000000"),
        "notional": Decimal("19025.0000000000000000"),
        "vwap": Decimal("190.25000000"),
        "trade_count": 1,
        "open_us": start,
        "close_us": start,
        "first_trade_id": None,
        "last_trade_id": None,
        "kafka_partition": 0,
        "first_offset": 0,
        "last_offset": 0,
        "rev": 1,
        "state": "final",
        "reason": None,
        "ruleset": "all@1",
        "received_us": start + 1_000,
        "processed_us": start + 2_000,
    }
    return Bar(**(fields | overrides))


def indicators(of: Bar, values: Mapping[str, float | None] | None = None, **overrides: Any) -> dict[str, Any]:
    """The row of INDICATOR_SCHEMA of a bar, with any field replaced; `values` is written as compact JSON."""
    shown = {"sma_5": 101.25, "rsi_14": None} if values is None else values
    fields: dict[str, Any] = {
        "symbol": of.symbol,
        "interval": of.interval,
        "start": of.start,
        "rev": of.rev,
        "specs": "sma:5 rsi:14",
        "values": json.dumps(shown, separators=(",", ":"), allow_nan=False),
        "ready": False,
        "stable": False,
        "state": None,
        "processed_us": of.processed_us,
    }
    return fields | overrides


def indicators_table(*rows: dict[str, Any]) -> pa.Table:
    """Rows of `indicators` as a batch."""
    return pa.Table.from_pylist(list(rows), schema=INDICATOR_SCHEMA)


def state(*numbers: float) -> bytes:
    """The memory of a key: little-endian doubles."""
    return struct.pack(f"<{len(numbers)}d", *numbers)
