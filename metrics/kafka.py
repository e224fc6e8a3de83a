"""What the Kafka clients of a process say of themselves, from librdkafka's statistics."""

import msgspec

from metrics.pulled import Pulled, Row

EVERY_MS = 5_000

KAFKA = Pulled(
    "kafka_client",
    {
        "retries_total": "Requests that were sent again",
        "errors_total": "Requests that could not be sent",
        "messages_total": "Records sent or received",
        "bytes_total": "Bytes sent and received, protocol included",
        "queue_records": "Records that wait in the client",
        "round_trip_seconds": "99th percentile of a request's time; a consumer's wait for records is in it",
        "queue_wait_seconds": "99th percentile of a record's wait in the client before it is sent",
    },
    ["client"],
)


class _Window(msgspec.Struct, frozen=True):
    """Microseconds."""

    p99: int = 0


class _Broker(msgspec.Struct, frozen=True):
    txretries: int = 0
    txerrs: int = 0
    rtt: _Window = _Window()
    int_latency: _Window = _Window()


class _Statistics(msgspec.Struct, frozen=True):
    type: str = ""
    msg_cnt: int = 0
    tx_bytes: int = 0
    rx_bytes: int = 0
    txmsgs: int = 0
    rxmsgs: int = 0
    brokers: dict[str, _Broker] = {}


_decode = msgspec.json.Decoder(_Statistics).decode


class Client:
    """The newest statistics of one client; `settings` are what the client's own need to have them told."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._newest: _Statistics | None = None
        KAFKA.watch(self.rows)

    @property
    def settings(self) -> dict[str, object]:
        return {"statistics.interval.ms": EVERY_MS, "stats_cb": self.take}

    def take(self, text: str) -> None:
        """Called by the client from its poll."""
        self._newest = _decode(text)

    def rows(self) -> list[Row]:
        found = self._newest
        if found is None:
            return []
        brokers = list(found.brokers.values())
        numbers = {
            "retries_total": sum(each.txretries for each in brokers),
            "errors_total": sum(each.txerrs for each in brokers),
            "messages_total": found.txmsgs + found.rxmsgs,
            "bytes_total": found.tx_bytes + found.rx_bytes,
            "queue_records": found.msg_cnt,
            "round_trip_seconds": max((each.rtt.p99 for each in brokers), default=0) / 1e6,
        }
        if found.type == "producer":
            numbers["queue_wait_seconds"] = max((each.int_latency.p99 for each in brokers), default=0) / 1e6
        return [([self._name], numbers)]
