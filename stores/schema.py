"""The Arrow schemas that batches of ticks and bars travel in, the same for every store."""

import pyarrow as pa

from core.records import BAR_COLUMNS, Bar

TIME = pa.timestamp("us", tz="UTC")
AMOUNT = pa.decimal128(18, 8)
VOLUME = pa.decimal128(28, 8)
NOTIONAL = pa.decimal128(38, 16)

BAR_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("interval", pa.string(), nullable=False),
        pa.field("start", TIME, nullable=False),
        pa.field("end", TIME, nullable=False),
        pa.field("open", AMOUNT),
        pa.field("high", AMOUNT),
        pa.field("low", AMOUNT),
        pa.field("close", AMOUNT),
        pa.field("volume", VOLUME, nullable=False),
        pa.field("notional", NOTIONAL, nullable=False),
        pa.field("vwap", AMOUNT),
        pa.field("trade_count", pa.int64(), nullable=False),
        pa.field("open_us", pa.int64()),
        pa.field("close_us", pa.int64()),
        pa.field("first_trade_id", pa.string()),
        pa.field("last_trade_id", pa.string()),
        pa.field("kafka_partition", pa.int32()),
        pa.field("first_offset", pa.int64()),
        pa.field("last_offset", pa.int64()),
        pa.field("rev", pa.int32(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("ruleset", pa.string(), nullable=False),
        pa.field("received_us", pa.int64(), nullable=False),
        pa.field("processed_us", pa.int64()),
    ]
)

TICK_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("event_time", TIME, nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("price", AMOUNT),
        pa.field("size", AMOUNT),
        pa.field("trade_id", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("venue", pa.string()),
        pa.field("conditions", pa.string()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("reported_us", pa.int64()),
        pa.field("received_us", pa.int64(), nullable=False),
        pa.field("kafka_partition", pa.int32()),
        pa.field("kafka_offset", pa.int64()),
        # What makes two records one trade, in one column: see core.bars.identity.
        pa.field("identity", pa.string(), nullable=False),
    ]
)

assert tuple(BAR_SCHEMA.names) == BAR_COLUMNS


def bars_table(bars: list[Bar]) -> pa.Table:
    """Bar records as a batch."""
    columns = {name: [getattr(bar, name) for bar in bars] for name in BAR_COLUMNS}
    return pa.table(columns, schema=BAR_SCHEMA)
