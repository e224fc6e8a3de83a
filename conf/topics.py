"""Kafka topics: names and how each is kept."""

TICKS = "ticks"
DEAD = "ticks.dead"
BARS_LIVE = "bars.live"
BARS = "bars"
INDICATORS = "indicators"
PREDICTIONS = "predictions"
ANOMALIES = "anomalies"

# Ticks carry the broker's own clock, so that "stamped in the future" is a property of the record:
# every query, restart and replay of the log judges it alike, whatever the producer's clock says.
#
# Compacting a busy `bars.live` costs the broker seconds of a core at a time, which live's tail shows
# (docs/decisions/0004): a quiet topic is compacted after half an hour, a busy one cut at 4 GiB a partition.
# A forming bar that nobody touched for so long has left Redis, by its time to live, long before.
TOPIC_CONFIG: dict[str, dict[str, str]] = {
    TICKS: {"message.timestamp.type": "LogAppendTime", "retention.ms": str(7 * 86_400_000)},
    DEAD: {"retention.ms": str(30 * 86_400_000)},
    BARS_LIVE: {
        "cleanup.policy": "compact,delete",
        "min.compaction.lag.ms": str(30 * 60_000),
        "retention.ms": str(86_400_000),
        "retention.bytes": str(4 << 30),
    },
    BARS: {"retention.ms": str(7 * 86_400_000)},
    # The newest state of a key is what its live values are made from, for as long as a market may be closed.
    INDICATORS: {"cleanup.policy": "compact,delete", "retention.ms": str(30 * 86_400_000)},
    PREDICTIONS: {"retention.ms": str(7 * 86_400_000)},
    ANOMALIES: {"retention.ms": str(7 * 86_400_000)},
}
