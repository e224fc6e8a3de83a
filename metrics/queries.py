"""Spark's queries, as their progress reports tell."""

from prometheus_client import Counter, Gauge

from metrics.latency import Latencies

NAMES = ("live", "final", "archive", "lake")
"""Label values; the parts of the live query, one for each partition of `ticks`, count as one."""

UP = Gauge("tickstream_query_up", "1 while a query runs; of live, the parts that do", ["query"])
BATCHES = Counter("tickstream_query_batches", "Micro-batches that ended; in real-time mode, checkpoints", ["query"])
ROWS = Counter("tickstream_query_input_rows", "Records read, heartbeats included", ["query"])
SECONDS = Latencies("tickstream_query_batch_seconds", "Time of a micro-batch; final's include its rest", "query", NAMES)
RESTED = Counter("tickstream_query_rest_seconds", "Time that the final query rested because no bar could close")
LATE = Counter("tickstream_query_late_ticks", "Ticks dropped because they came after the watermark", ["query"])
LAG = Gauge("tickstream_query_lag_records", "Records of the topic that a batch left unread, as of its begin", ["query"])
STATE_BYTES = Gauge("tickstream_query_state_bytes", "Memory of the state stores", ["query"])
PROGRESS = Gauge("tickstream_query_progress_timestamp_seconds", "When the newest batch ended", ["query"])
EVENT = Gauge("tickstream_query_event_timestamp_seconds", "Newest event time that a query has read", ["query"])
WATERMARK = Gauge("tickstream_query_watermark_timestamp_seconds", "Watermark of the newest batch", ["query"])
DELAY = Gauge("tickstream_watermark_delay_seconds", "The setting: how long a bar waits for late ticks")
