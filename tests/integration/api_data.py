"""Bars and ticks of 2013-06-03, 13:30 UTC on, with a default for every argument."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from core.records import Bar
from stores.schema import TICK_SCHEMA

MINUTE = 60_000_000
BASE = 1_370_266_200_000_000


def make_bar(minute: int, **changes: Any) -> Bar:
    """A final one-minute bar of symbol A that starts `minute` minutes after BASE."""
    start = BASE + minute * MINUTE
    fields: dict[str, Any] = {
        "symbol": "A",
        "interval": "1m",
        "start": start,
        "end": start + MINUTE,
        "open": Decimal("10"),
        "high": Decimal("11"),
        "low": Decimal("9.5"),
        "close": Decimal("10.5"),
        "volume": Decimal("3"),
        "notional": Decimal("31.5"),
        "vwap": Decimal("10.5"),
        "trade_count": 2,
        "open_us": start,
        "close_us": start + MINUTE - 1,
        "first_trade_id": "t1",
        "last_trade_id": "t2",
        "kafka_partition": 0,
        "first_offset": 7,
        "last_offset": 8,
        "rev": 1,
        "state": "final",
        "reason": None,
        "ruleset": "all@1",
        "received_us": start + MINUTE + 2,
        "processed_us": None,
    }
    return Bar(**fields | changes)


def ticks_table(symbol: str, rows: list[tuple[int, int, str, str]], received_us: int = BASE) -> pa.Table:
    """Trades of (event_us, seq, price, size) as a batch."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    ticks = [
        dict.fromkeys(TICK_SCHEMA.names)
        | {"symbol": symbol, "event_time": epoch + timedelta(microseconds=event_us), "seq": seq}
        | {"price": Decimal(price), "size": Decimal(size), "source": "test", "kind": "trade"}
        | {"received_us": received_us, "identity": f"{event_us}-{seq}"}
        for event_us, seq, price, size in rows
    ]
    return pa.Table.from_pylist(ticks, schema=TICK_SCHEMA)
