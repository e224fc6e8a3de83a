"""Reads of what one bar was made of: the records of the tick log around it, and what was said of its trades."""

from typing import Any

from core.corrections import Placed
from core.records import Tick
from stores.pooled import Pooled
from stores.postgres import EPOCH_US, to_time
from stores.range_sql import tick_columns

_COLUMNS = tick_columns(as_text=True)
# Corrections and cancels come later than their trade, on any day; they have an index of their own.
_LOG = f"""
    WITH trades AS MATERIALIZED (
        SELECT * FROM ticks WHERE symbol = %(symbol)s AND event_time >= %(since)s AND event_time < %(until)s
            AND kind = 'trade' LIMIT %(limit)s),
    told AS MATERIALIZED (
        SELECT a.* FROM ticks AS a WHERE a.symbol = %(symbol)s AND a.kind IN ('correct', 'cancel')
            AND a.trade_id IN (SELECT trade_id FROM trades) LIMIT %(limit)s)
    SELECT {_COLUMNS} FROM (SELECT * FROM trades UNION ALL SELECT * FROM told) AS log
"""
_BEGINS = f"SELECT {EPOCH_US.format('min(event_time)')} AS begins_us FROM ticks WHERE symbol = %s"
_FIELDS = tuple(name for name in Tick.__struct_fields__ if name != "v")


class ExplainReads(Pooled):
    """Its calls raise what those of Pooled do."""

    async def log_around(self, symbol: str, since_us: int, until_us: int, limit: int) -> list[Placed]:
        """The trades of a symbol in `[since_us, until_us)`, in no order, and all corrections and cancels of them.

        At most `limit` of either.
        """
        asked = {"symbol": symbol, "since": to_time(since_us), "until": to_time(until_us), "limit": limit}
        return [_placed(row) for row in await self._rows(_LOG, asked)]

    async def log_begins(self, symbol: str) -> int | None:
        """Event time of the oldest record of a symbol, epoch microseconds; None where there is none."""
        (row,) = await self._rows(_BEGINS, [symbol])
        begins_us: int | None = row["begins_us"]
        return begins_us


def _placed(row: dict[str, Any]) -> Placed:
    fields = {name: row[name] for name in _FIELDS}
    return Tick(**fields), row["kafka_partition"], row["kafka_offset"]
