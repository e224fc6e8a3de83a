"""The Arrow schemas that batches of ticks, bars and indicators travel in, the same for every store."""

import msgspec
import pyarrow as pa

from core.errors import InputError
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

INDICATOR_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("interval", pa.string(), nullable=False),
        pa.field("start", TIME, nullable=False),
        pa.field("rev", pa.int32(), nullable=False),
        # The set that was computed: canonical specs, one space between.
        pa.field("specs", pa.string(), nullable=False),
        # A compact JSON object, column -> number or null.
        pa.field("values", pa.string(), nullable=False),
        pa.field("ready", pa.bool_(), nullable=False),
        pa.field("stable", pa.bool_(), nullable=False),
        # Little-endian doubles: the memory of the key after this bar. Only on the newest bar of its key in a batch.
        pa.field("state", pa.binary()),
        pa.field("processed_us", pa.int64()),
    ]
)

# What indicators are continued from, one row per (symbol, interval); `start` in microseconds since the epoch.
STATE_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("interval", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("rev", pa.int32(), nullable=False),
        pa.field("specs", pa.string(), nullable=False),
        pa.field("state", pa.binary(), nullable=False),
    ]
)

assert tuple(BAR_SCHEMA.names) == BAR_COLUMNS

_values = msgspec.json.Decoder(dict[str, float | None])


def bars_table(bars: list[Bar]) -> pa.Table:
    """Bar records as a batch."""
    columns = {name: [getattr(bar, name) for bar in bars] for name in BAR_COLUMNS}
    return pa.table(columns, schema=BAR_SCHEMA)


def values_of(text: str | bytes) -> dict[str, float | None]:
    """The column `values` of INDICATOR_SCHEMA as doubles. Raises InputError when it is not such an object."""
    try:
        return _values.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not the JSON of indicator values: {error}") from None
