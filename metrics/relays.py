"""The two relays: what they carried and what they left out."""

from metrics.pulled import Pulled

RELAY = Pulled(
    "relay",
    {
        "read_total": "Rows of `bars.live` read",
        "conflated_total": "Rows that a newer one of the same bar replaced before they were written",
        "written_total": "Rows written to Redis",
        "published_total": "Rows that were news to Redis and so were published",
        "lag_records": "Rows of `bars.live` that are not read yet",
    },
)
TICK_RELAY = Pulled(
    "tick_relay",
    {
        "published_total": "Ticks published to those who listen",
        "invalid_total": "Records of `ticks` passed over because they are no ticks",
        "symbols": "Symbols that somebody listens to",
    },
)
