"""Histograms that are one append: nothing is lost, and every observation is in its bucket."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from metrics import latency
from metrics.latency import Latencies, quantile

BOUNDS = (0.001, 0.01, 0.1)


def made(registry: CollectorRegistry | None = None, **more: object) -> Latencies:
    return Latencies("x_seconds", "Time", "stage", ("a", "b"), bounds=BOUNDS, registry=registry or CollectorRegistry())


@given(st.lists(st.floats(0, 1) | st.sampled_from(BOUNDS)))
def test_exposition_is_that_of_the_library_s_own_histogram(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    series = made(ours).of("a")
    for value in values[:3]:
        series.record(value)
    series.record_us([1e6 * value for value in values[3:]])
    histogram = Histogram("x_seconds", "Time", ["stage"], buckets=BOUNDS, registry=theirs).labels("a")
    for value in values:
        histogram.observe(value)
    for name in ("x_seconds_bucket", "x_seconds_count"):
        for bound in ("0.001", "0.01", "0.1", "+Inf") if name.endswith("bucket") else (None,):
            labels = {"stage": "a"} | ({} if bound is None else {"le": bound})
            assert ours.get_sample_value(name, labels) == theirs.get_sample_value(name, labels)
    assert ours.get_sample_value("x_seconds_sum", {"stage": "a"}) == pytest.approx(sum(values))


def test_only_what_was_used_is_shown_and_only_declared_values_can_be() -> None:
    registry = CollectorRegistry()
    latencies = made(registry)
    latencies.of("b").record(0.5)
    text = generate_latest(registry).decode()
    assert 'stage="b"' in text and 'stage="a"' not in text
    with pytest.raises(KeyError):
        latencies.of("AAPL")


def test_clock_that_runs_behind_counts_as_no_time_at_all() -> None:
    series = made().of("a")
    series.record(-0.25)
    counts, total = series.read()
    assert counts.tolist() == [1, 0, 0, 0] and total == 0.0


def test_threads_that_record_while_others_read_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "FOLD_AT", 50)
    series = made().of("a")
    writers = [threading.Thread(target=lambda: [series.record(0.05) for _ in range(5_000)]) for _ in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        series.read()
    assert series.read()[0].tolist() == [0, 0, 20_000, 0]


def test_nobody_who_reads_costs_no_memory_without_end() -> None:
    series = made().of("a")
    for _ in range(3 * latency.FOLD_AT):
        series.record(0.05)
    assert len(series._waiting) < latency.FOLD_AT


def test_quantile_is_interpolated_in_its_bucket() -> None:
    assert quantile([0, 0, 0, 0], BOUNDS, 0.5) is None
    assert quantile([10, 0, 0, 0], BOUNDS, 0.5) == pytest.approx(0.0005)
    assert quantile([50, 50, 0, 0], BOUNDS, 0.99) == pytest.approx(0.001 + 0.009 * 0.98)
    assert quantile([0, 0, 0, 4], BOUNDS, 0.5) == 0.1  # beyond them all: nobody knows


@given(st.lists(st.floats(0, 0.1), min_size=1), st.floats(0.01, 1))
def test_quantile_lies_in_the_bucket_of_the_exact_one(values: list[float], share: float) -> None:
    series = made().of("a")
    series.record_us([1e6 * value for value in values])
    found = quantile(series.read()[0].tolist(), BOUNDS, share)
    assert found is not None
    above = min(bound for bound in BOUNDS if bound >= found * (1 - 1e-9))
    below = max((bound for bound in BOUNDS if bound < found * (1 - 1e-9)), default=-1.0)
    counted = [sum(value <= bound for value in values) for bound in (below, above)]
    assert counted[0] <= share * len(values) * (1 + 1e-9) and counted[1] >= share * len(values) * (1 - 1e-9)
