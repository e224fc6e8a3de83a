"""Kafka topics: names and how each is kept."""

TICKS = "ticks"
DEAD = "ticks.dead"
BARS_LIVE = "bars.live"
BARS = "bars"

# Ticks carry the broker's own clock, so that "stamped in the future" is a property of the record:
# every query, restart and replay of the log judges it alike, whatever the producer's clock says.
TOPIC_CONFIG: dict[str, dict[str, str]] = {
    TICKS: {"message.timestamp.type": "LogAppendTime", "retention.ms": str(7 * 86_400_000)},
    DEAD: {"retention.ms": str(30 * 86_400_000)},
    BARS_LIVE: {"cleanup.policy": "compact,delete", "retention.ms": str(86_400_000), "segment.bytes": str(256 << 20)},
    BARS: {"retention.ms": str(7 * 86_400_000)},
}
