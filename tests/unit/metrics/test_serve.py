"""Ports: one for each program, off at 0, and one that is taken stops nobody."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from conf.settings import Settings
from local.server import free_port
from metrics import serve as serving
from metrics.serve import OFFSETS, ports, serve


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


def test_programs_have_ports_of_their_own() -> None:
    spans = [ports(program, 9100) for program in OFFSETS]
    assert ports("live", 9100) == range(9100, 9101)
    assert sum(map(len, spans)) == len({port for span in spans for port in span})


def test_metrics_are_read_on_loopback() -> None:
    registry = CollectorRegistry()
    Counter("seen", "Seen", registry=registry).inc(3)
    first = free_port() - OFFSETS["relay"]
    port = serve("relay", Settings(metrics_port=first), registry)
    assert port == first + OFFSETS["relay"]
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.status_code == 200 and "seen_total 3.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_zero_is_none() -> None:
    assert serve("relay", Settings(metrics_port=0)) is None


def test_port_that_is_taken_is_one_line_that_says_what_to_do() -> None:
    port = free_port()
    with taken(port), capture_logs() as logs:
        assert serve("live", Settings(metrics_port=port), CollectorRegistry()) is None
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("no metrics of this process", "warning")]
    assert "TICKSTREAM_METRICS_PORT" in logs[0]["help"] and str(port) in logs[0]["port"]


def test_second_worker_of_the_api_takes_the_next_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_WORKERS", 3)
    first = free_port()
    with taken(first):
        port = serve("api", Settings(metrics_port=first - OFFSETS["api"]), CollectorRegistry())
    assert port in (first + 1, first + 2)
