"""The stores, as those who write to them see them."""

from prometheus_client import Counter

from metrics.latency import Latencies

NAMES = ("timescale", "redis", "influx", "lake", "kafka")
OTHER = "other"

SECONDS = Latencies("tickstream_store_seconds", "Time of a store's answer to one call", "store", (*NAMES, OTHER))
UNAVAILABLE = Counter("tickstream_store_unavailable", "Calls that a store did not answer; they are repeated", ["store"])
FAILURES = Counter("tickstream_store_failures", "Calls given up after TICKSTREAM_STORE_RETRY_SECONDS", ["store"])
ROWS = Counter("tickstream_store_rows", "Rows given to a store, repeats included", ["store", "kind"])
for _name in NAMES:  # a rate needs a number to begin with
    UNAVAILABLE.labels(_name)
    FAILURES.labels(_name)


def label(store: str) -> str:
    """The label value of a store's name: one of NAMES, or OTHER."""
    return store if store in NAMES else OTHER
