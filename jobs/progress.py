"""What a query says of itself: late ticks are counted and logged, never lost in silence."""

from datetime import datetime
from typing import Any

import structlog
from pyspark.sql.streaming.query import StreamingQuery

_log = structlog.get_logger("jobs.progress")


def report(query: StreamingQuery, reported: dict[str, int]) -> None:
    """Log the query's newest batch once, when it dropped late ticks; `reported` remembers batch ids by query."""
    progress = query.lastProgress
    if progress is None or reported.get(query.name) == progress["batchId"]:
        return
    reported[query.name] = progress["batchId"]
    late = late_ticks(progress)
    if late:
        watermark = progress["eventTime"].get("watermark")
        _log.warning("late ticks dropped", query=query.name, ticks=late, batch=progress["batchId"], watermark=watermark)


def watermark_us(progress: dict[str, Any] | None) -> int | None:
    """The watermark that a batch used, in microseconds; None before the first batch has ended."""
    text = (progress or {}).get("eventTime", {}).get("watermark")
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000) * 1000


def late_ticks(progress: dict) -> int:
    """Ticks of one batch that came after the watermark: the first stateful operator sees each tick once."""
    operators = progress.get("stateOperators") or []
    dropped = [operator.get("numRowsDroppedByWatermark", 0) for operator in operators]
    # Operators are listed from the sink up; deduplication, the one that drops ticks, is the last.
    return dropped[-1] if dropped else 0
