"""The API and its sockets."""

from prometheus_client import Counter, Gauge, Histogram

from metrics.latency import BUCKETS
from metrics.pulled import Pulled

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

REQUESTS = Counter("tickstream_http_requests", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "tickstream_http_request_seconds", "Time of an answer, its body included", ["route"], buckets=BUCKETS
)
RUNNING = Gauge("tickstream_http_requests_in_progress", "Requests being answered")
CACHE = Pulled(
    "http_cache",
    {
        "hits_total": "Bodies of closed ranges that were still there",
        "misses_total": "Bodies that had to be rendered",
        "not_modified_total": "Answers 304 without a look at a body",
        "evicted_total": "Bodies given up for room",
        "bodies": "Bodies that are kept",
        "bytes": "Their size",
    },
)
SOCKETS = Pulled(
    "socket",
    {
        "clients": "Open WebSockets",
        "subscriptions": "Streams that they follow",
        "streams": "Different streams among them",
        "waiting_frames": "Messages that wait for busy clients",
        "busy_clients": "Clients that have not read all that was sent to them",
        "redis_connected": "1 while the sockets' connection to Redis stands",
        "connections_total": "WebSockets admitted",
        "sent_total": "Messages sent",
        "bytes_total": "Bytes of the messages sent",
        "conflated_total": "Forming bars replaced by newer ones while a client was busy",
        "dropped_total": "Ticks dropped while a client was busy; it is told how many",
        "slow_closes_total": "Clients closed because they did not read",
        "resyncs_total": "Times that a stream was read again because messages were missed",
        "refused_total": "Requests of clients refused",
        "malformed_total": "Messages of Redis that could not be understood",
    },
)
