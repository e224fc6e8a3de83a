"""Real processes show their metrics, and the numbers are those of what they did."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from conf.settings import Settings
from conf.topics import BARS_LIVE
from core.records import Tick
from local.server import free_port, port_is_free
from metrics.serve import OFFSETS
from producers.heartbeat import Heartbeat
from producers.publish import Publisher
from stores.redis import live_rows
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.api_process import api_process
from tests.factories import MONDAY_US, bar
from tests.supervised import RELAY, Supervised

WAIT_SECONDS = 30.0
WAITED_SECONDS = 3


def read(port: int) -> dict[str, float]:
    """Samples of a process, by name and labels as Prometheus writes them; empty while nobody listens."""
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    except httpx.TransportError:
        return {}
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {f"{each.name}{json.dumps(each.labels) if each.labels else ''}": each.value for each in samples}


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def measured(settings: Settings) -> Settings:
    """With ports for metrics of which none that a test reads is taken: an API's worker would go on to the next."""
    offsets = (*OFFSETS.values(), OFFSETS["api"] + 1)
    firsts = (free_port() for _ in range(100))
    first = next(first for first in firsts if all(port_is_free(first + offset) for offset in offsets))
    return settings.model_copy(update={"metrics_port": first})


@pytest.fixture
def relay(measured: Settings, database: TimescaleStore, tmp_path: Path) -> Iterator[int]:
    """A running relay; the port of its metrics."""
    process = Supervised(RELAY, measured, tmp_path / "relay.log", TICKSTREAM_METRICS_PORT=str(measured.metrics_port))
    process.keep_alive()
    yield measured.metrics_port + OFFSETS["relay"]
    process.kill()


def send_forming(settings: Settings, count: int) -> None:
    """Rows of one bar as live writes them; the newest tick of each was received some seconds ago."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0})
    received_us = time.time_ns() // 1000 - WAITED_SECONDS * 1_000_000
    forming = {"start": MONDAY_US, "rev": 0, "state": "forming", "processed_us": None, "received_us": received_us}
    for offset in range(count):
        row = bar(last_offset=offset, **forming)
        producer.produce(settings.topic(BARS_LIVE), live_rows(bars_table([row]))[0].payload, key=b"k", partition=0)
    assert producer.flush(30) == 0


def test_relay_tells_what_it_carried_and_how_long_it_took(measured: Settings, relay: int) -> None:
    send_forming(measured, 40)
    eventually(lambda: read(relay).get("tickstream_relay_read_total") == 40)
    eventually(lambda: read(relay)["tickstream_relay_lag_records"] == 0)
    found = read(relay)
    written = found["tickstream_relay_written_total"]
    assert written >= 1 and written + found["tickstream_relay_conflated_total"] == 40
    assert found["tickstream_relay_published_total"] <= written

    def stage(name: str, of: str) -> float:
        return found[f'tickstream_stage_seconds_{of}{{"stage": "{name}"}}']

    assert {stage(name, "count") for name in ("received_to_live", "live_to_redis", "received_to_redis")} == {written}
    assert WAITED_SECONDS <= stage("received_to_redis", "sum") / written < WAITED_SECONDS + WAIT_SECONDS
    both = stage("received_to_live", "sum") + stage("live_to_redis", "sum")
    assert both == pytest.approx(stage("received_to_redis", "sum"), abs=0.002 * written)  # Kafka's stamps are of ms
    assert found["process_start_time_seconds"] < time.time()


def test_producer_tells_ticks_from_heartbeats_and_what_it_refused(settings: Settings) -> None:
    names = {
        "ticks": ("tickstream_producer_ticks_total", {}),
        "heartbeats": ("tickstream_producer_heartbeats_total", {}),
        "failed": ("tickstream_producer_failed_total", {}),
        "dead": ("tickstream_dead_letters_total", {"stage": "producer", "reason": "price"}),
    }

    def counted() -> dict[str, float]:
        return {key: REGISTRY.get_sample_value(*name) or 0.0 for key, name in names.items()}

    before = counted()
    with Publisher(settings) as publisher:
        for price in ("1.5", "1.6", "-1"):
            publisher.send(Tick(symbol="A", event_us=MONDAY_US, price=price, size="1", source="test", received_us=1))
        Heartbeat(publisher, "test").beat(MONDAY_US, MONDAY_US)
    grown = {key: number - before[key] for key, number in counted().items()}
    assert grown == {"ticks": 2, "heartbeats": settings.ticks_partitions, "failed": 0, "dead": 1}
    assert REGISTRY.get_sample_value("tickstream_producer_pending_records") == 0


def test_workers_of_the_api_count_answers_by_route_and_their_sockets(
    measured: Settings, database: TimescaleStore, tmp_path: Path
) -> None:
    ports = [measured.metrics_port + OFFSETS["api"] + number for number in (0, 1)]
    environ = {"TICKSTREAM_METRICS_PORT": str(measured.metrics_port)}
    with api_process(measured, tmp_path / "api.log", "--workers", "2", **environ) as api:
        eventually(lambda: all(map(read, ports)))

        def total(name: str, **labels: str) -> float:
            return sum(read(port).get(f"{name}{json.dumps(labels) if labels else ''}", 0) for port in ports)

        def answers(method: str, route: str, status: int) -> float:
            return total("tickstream_http_requests_total", method=method, route=route, status=str(status))

        with httpx.Client(base_url=api.url, timeout=15) as client:
            paths = ["/health/live", "/api/v1/bars/NOBODY", "/api/v1/bars/OTHER?interval=9m", "/nowhere/AAPL"]
            found = [client.get(path).status_code for path in paths]
            client.request("BREW", "/health/live")
        eventually(lambda: answers("GET", "none", found[3]) == 1)
        assert answers("GET", "/api/v1/bars/{symbol:path}", found[1]) >= 1
        assert answers("GET", "/health/live", 200) >= 1
        text = "".join(httpx.get(f"http://127.0.0.1:{port}/metrics").text for port in ports)
        assert "NOBODY" not in text and "AAPL" not in text and "BREW" not in text
        with connect(f"{api.url.replace('http', 'ws')}/ws") as socket:
            assert socket.recv(timeout=10)  # a heartbeat
            eventually(lambda: total("tickstream_socket_clients") == 1 and total("tickstream_socket_bytes_total") > 0)
        eventually(lambda: total("tickstream_socket_clients") == 0)
        assert total("tickstream_socket_connections_total") == 1
        assert total("tickstream_http_requests_in_progress") == 0
