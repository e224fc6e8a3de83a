"""Rules on how the data come, whatever they say."""

from core.anomalies.base import Rule

SILENT_FEED = "silent_feed"

RULES = (
    Rule(
        name=SILENT_FEED,
        means="no trade for so many seconds of the session, by the clock of the batch",
        measure=lambda moment, _: moment.silent_s,
        limit="silence_seconds",
        needs="volume",
        again=False,
        shortest_only=True,
        text="{symbol} did not trade for {value} s of the session: {limit} s or more",
        over="{symbol} trades again, at {close}",
    ),
    Rule(
        name="latency",
        means="the last tick of a bar took more than so many milliseconds from its receipt to Redis",
        measure=lambda moment, _: moment.latency_ms,
        limit="latency_ms",
        needs="volume",
        again=False,
        shortest_only=True,
        text="{symbol}: the last tick of the bar took {value} ms from its receipt to Redis, more than {limit} ms",
        over="{symbol}: the last tick of the bar took {value} ms from its receipt to Redis, no more than {limit} ms",
    ),
)
