"""Producers: what they sent, and how their providers fare."""

from prometheus_client import Counter, Gauge

from metrics.pulled import Pulled

TICKS = Counter("tickstream_producer_ticks", "Ticks queued for the topic `ticks`, heartbeats not counted")
HEARTBEATS = Counter("tickstream_producer_heartbeats", "Heartbeats queued for the topic `ticks`")
FAILED = Counter("tickstream_producer_failed", "Records that the broker did not take within their time")
PENDING = Gauge("tickstream_producer_pending_records", "Records queued and not yet acknowledged by the broker")
POLLS = Counter("tickstream_polls", "Polls of latest prices, by how they ended", ["provider", "outcome"])

STATES = ("connecting", "live", "mute", "waiting", "refused")
STATE = Pulled(
    "feed", {"state": "1 for the state that a provider's stream is in, 0 for the others"}, ["provider", "state"]
)
FEEDS = Pulled(
    "feed",
    {
        "ticks_total": "New ticks that a provider brought, also those that fill gaps",
        "repeats_total": "Ticks that had come before and were dropped",
        "connections_total": "Connections begun",
        "messages_refused_total": "Messages that could not be understood",
        "gaps_filled_total": "Gaps whose ticks came later",
        "gaps_lost_total": "Gaps that nobody could fill",
        "gaps_open": "Gaps that are being filled",
        "session_open": "1 while the provider's market is in session",
    },
    ["provider"],
)
FAILOVER = Pulled("feed", {"changes_total": "Changes from one provider to another, each of one symbol"})
