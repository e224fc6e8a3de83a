"""What queries say of themselves: figures for the metrics, and late ticks, which are counted and logged."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import structlog
from pyspark.sql.streaming.query import StreamingQuery

from metrics import queries, stages

_log = structlog.get_logger("jobs.progress")
Progress = Mapping[str, Any]


class Reports:
    """Follows the queries of a driver: each batch is told once, also one that ended between two looks."""

    def __init__(self, delay_seconds: float) -> None:
        self._newest: dict[str, Progress] = {}
        queries.DELAY.set(delay_seconds)

    def look(self, running: Sequence[StreamingQuery]) -> None:
        """Log and count what ended since the last look."""
        for label in {label_of(query.name) for query in running}:
            queries.UP.labels(label).set(sum(query.isActive for query in running if label_of(query.name) == label))
            queries.LATE.labels(label)  # 0 is a number, too: a rate needs one to begin with
        for query in running:
            for progress in self._news(query):
                tell(query.name, progress)

    def _news(self, query: StreamingQuery) -> Iterator[Progress]:
        newest, before = query.lastProgress, self._newest.get(query.name)
        if newest is None or (before is not None and newest["batchId"] <= before["batchId"]):
            return
        if before is not None and newest["batchId"] > before["batchId"] + 1:
            # Costs a call into the JVM for each report that is kept, so only where one was missed.
            known = range(before["batchId"] + 1, newest["batchId"])
            yield from (each for each in query.recentProgress if each["batchId"] in known)
        self._newest[query.name] = newest
        yield newest
        label = label_of(query.name)
        set_gauges(label, [each for name, each in self._newest.items() if label_of(name) == label])


def label_of(name: str) -> str:
    """`live-0` and `live-1` are parts of `live`."""
    return name.partition("-")[0]


def tell(name: str, progress: Progress) -> None:
    """Count one batch, and log the late ticks that it dropped."""
    label = label_of(name)
    queries.BATCHES.labels(label).inc()
    queries.ROWS.labels(label).inc(progress.get("numInputRows") or 0)
    queries.SECONDS.of(label).record(_seconds(progress))
    late = late_ticks(progress)
    if late:
        queries.LATE.labels(label).inc(late)
        watermark = progress["eventTime"].get("watermark")
        _log.warning("late ticks dropped", query=name, ticks=late, batch=progress["batchId"], watermark=watermark)


def set_gauges(label: str, parts: Sequence[Progress]) -> None:
    """Where a query stands, by the newest batch of each of its parts: the one that is furthest behind counts."""
    operators = [each for part in parts for each in part.get("stateOperators") or []]
    queries.STATE_BYTES.labels(label).set(sum(each.get("memoryUsedBytes", 0) for each in operators))
    queries.PROGRESS.labels(label).set(min(_time(part["timestamp"]) + _seconds(part) for part in parts))
    lags = [lag for part in parts for source in part.get("sources") or [] if (lag := _lag(source)) is not None]
    if lags:
        queries.LAG.labels(label).set(sum(lags))
    events = [_time(text) for part in parts if (text := part.get("eventTime", {}).get("max"))]
    if events:  # a batch without a tick tells none, and the newest stays what it was
        queries.EVENT.labels(label).set(max(events))
    marks = [us for part in parts if (us := watermark_us(part))]
    if len(marks) == len(parts):
        queries.WATERMARK.labels(label).set(min(marks) / 1e6)


def tell_final(bars: pa.Table) -> None:
    """How long it took to final bars that are stored: a batch with the columns of BAR_SCHEMA."""
    columns = [bars[name].cast(pa.int64()).to_pylist() for name in ("received_us", "end", "processed_us")]
    stages.final_bars(zip(*columns, strict=True))


def watermark_us(progress: Progress | None) -> int | None:
    """The watermark that a batch used, in microseconds; None before the first batch has ended."""
    text = (progress or {}).get("eventTime", {}).get("watermark")
    return None if text is None else round(_time(text) * 1000) * 1000


def late_ticks(progress: Progress) -> int:
    """Ticks of one batch that came after the watermark: the first stateful operator sees each tick once."""
    operators = progress.get("stateOperators") or []
    dropped = [operator.get("numRowsDroppedByWatermark", 0) for operator in operators]
    # Operators are listed from the sink up; deduplication, the one that drops ticks, is the last.
    return dropped[-1] if dropped else 0


def _lag(source: Mapping[str, Any]) -> int | None:
    """Records of a Kafka source that a batch left unread; None where that is not known."""
    try:
        end, latest = (json.loads(source[name]) for name in ("endOffset", "latestOffset"))
        return sum(
            max(0, offset - end[topic].get(number, 0))
            for topic, offsets in latest.items()
            for number, offset in offsets.items()
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _seconds(progress: Progress) -> float:
    return float(progress.get("durationMs", {}).get("triggerExecution", 0)) / 1000


def _time(text: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
