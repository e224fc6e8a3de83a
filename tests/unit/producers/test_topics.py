"""What a broker's client says, for people."""

from confluent_kafka import KafkaError

from producers.topics import _plain

_SAID = "sasl://h:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused"


def test_reason_is_told_without_connection_and_counts() -> None:
    for more in ("", " (after 0ms in state CONNECT)", " (after 3ms in state CONNECT, 7 identical error(s) suppressed)"):
        said = KafkaError(KafkaError._TRANSPORT, f"{_SAID}{more}")
        assert _plain(said) == "Connect to ipv4#127.0.0.1:9092 failed: Connection refused"
