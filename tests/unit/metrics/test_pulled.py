"""Numbers read when somebody asks: added up, counted up, and none hides the others."""

from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from metrics import quality
from metrics.kafka import Client
from metrics.pulled import Pulled


def test_rows_with_equal_labels_are_added_and_unknown_numbers_left_out() -> None:
    registry = CollectorRegistry()
    pulled = Pulled("hub", {"sent_total": "Sent", "clients": "Open"}, ["worker"], registry)
    pulled.watch(lambda: [(["a"], {"sent_total": 3, "clients": None}), (["b"], {"sent_total": 1})])
    pulled.watch(lambda: [(["a"], {"sent_total": 4})])
    assert registry.get_sample_value("tickstream_hub_sent_total", {"worker": "a"}) == 7
    assert registry.get_sample_value("tickstream_hub_sent_total", {"worker": "b"}) == 1
    assert registry.get_sample_value("tickstream_hub_clients", {"worker": "a"}) is None
    text = generate_latest(registry).decode()
    assert "# TYPE tickstream_hub_sent_total counter" in text and "# TYPE tickstream_hub_clients gauge" in text


def test_number_that_cannot_be_read_hides_no_other() -> None:
    registry = CollectorRegistry()
    pulled = Pulled("hub", {"clients": "Open"}, (), registry)
    pulled.watch(lambda: [((), {"clients": 1 / 0})])
    pulled.watch(lambda: [((), {"clients": 5})])
    with capture_logs() as logs:
        assert registry.get_sample_value("tickstream_hub_clients") == 5
    assert logs[0]["error"] == "ZeroDivisionError: division by zero"


def test_statistics_of_a_kafka_client_are_summed_over_brokers_in_base_units() -> None:
    client = Client("test")
    assert client.rows() == []
    brokers = """{"a": {"txretries": 2, "txerrs": 1, "rtt": {"p99": 1500}, "int_latency": {"p99": 2000}},
                  "b": {"txretries": 3, "rtt": {"p99": 700}}}"""
    totals = '"msg_cnt": 9, "tx_bytes": 10, "rx_bytes": 5, "txmsgs": 7'
    client.take(f'{{"type": "producer", {totals}, "brokers": {brokers}}}')
    ((labels, numbers),) = client.rows()
    assert labels == ["test"]
    assert numbers == {
        "retries_total": 5,
        "errors_total": 1,
        "messages_total": 7,
        "bytes_total": 15,
        "queue_records": 9,
        "round_trip_seconds": 0.0015,
        "queue_wait_seconds": 0.002,
    }


def test_match_ratio_is_over_all_symbols_and_the_worst_ones_by_name() -> None:
    quality.set_match(86_400.0, [("A", 100, 100), ("B", 100, 90), ("C", 0, 0), ("D", 50, 49)], 2)
    assert quality.MATCH is not None
    rows = quality._newest.total()
    assert rows == [((), {"match_ratio": 239 / 250, "day_timestamp_seconds": 86_400.0})]
    assert [labels for labels, _ in quality._newest.by_symbol()] == [["B"], ["D"]]
    quality.set_match(0.0, (), 0)
    assert quality._newest.total() == []
