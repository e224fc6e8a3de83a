"""What goes to InfluxDB: each observation in one report, and in none twice."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from metrics.latency import Latencies
from metrics.report import Figures, Report


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def stages(registry: CollectorRegistry) -> Latencies:
    return Latencies("x_seconds", "Time", "stage", ("a", "b"), bounds=(0.001, 0.01, 0.1), registry=registry)


def latencies(report: Report) -> list[Figures]:
    return [each for each in report.figures() if each.measurement == "latency_metrics"]


def test_report_has_the_quantiles_of_what_came_since_the_last_one(
    registry: CollectorRegistry, stages: Latencies
) -> None:
    report = Report("relay", stages, registry)
    assert report.figures() == []
    stages.of("a").record_us([500] * 99 + [50_000])
    (first,) = latencies(report)
    assert first.tags == {"stage": "a", "program": "relay"}
    assert first.fields["count"] == 100 and first.fields["p50_ms"] < 1 < first.fields["mean_ms"] * 2
    report.keep()
    assert latencies(report) == []
    stages.of("a").record(0.005)
    (second,) = latencies(report)
    assert second.fields["count"] == 1 and second.fields["mean_ms"] == pytest.approx(5)
    assert 1 <= second.fields["p99_ms"] <= 10


def test_report_that_was_not_kept_is_part_of_the_next_one(registry: CollectorRegistry, stages: Latencies) -> None:
    report = Report("relay", stages, registry)
    stages.of("b").record(0.005)
    latencies(report)
    stages.of("b").record(0.005)
    assert [each.fields["count"] for each in latencies(report)] == [2]


def test_figures_of_kafka_are_one_point_for_each_set_of_labels(registry: CollectorRegistry, stages: Latencies) -> None:
    lag = Gauge("tickstream_query_lag_records", "Lag", ["query"], registry=registry)
    lag.labels("final").set(7)
    lag.labels("lake").set(9)
    Counter("tickstream_query_input_rows", "Rows", ["query"], registry=registry).labels("final").inc(5)
    Gauge("tickstream_http_cache_bytes", "Not of Kafka", registry=registry).set(1)
    found = {each.tags["query"]: each for each in Report("stores", stages, registry).figures()}
    assert found["final"] == Figures(
        "kafka_metrics", {"query": "final", "program": "stores"}, {"query_lag_records": 7, "query_input_rows_total": 5}
    )
    assert found.keys() == {"final", "lake"}
