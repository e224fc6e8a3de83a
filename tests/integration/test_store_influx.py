"""InfluxDB's write path, against a server that accepts the v2 write API: VictoriaMetrics."""

import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr

from conf.settings import Settings
from core.errors import ConfigError, InputError, StoreUnavailable
from local.server import HOST, Server
from metrics import queries
from metrics.stages import STAGES
from stores.influx import InfluxStore, Point, make_influx
from stores.influx_metrics import Export, export_metrics
from tests.batches import make_bar, make_bars
from tests.factories import indicators, indicators_table, state

TOKEN = "s3cret-t0ken"


class VictoriaMetrics(Server):
    """The Debian package's single-node server; it keeps milliseconds, and numbers only."""

    name = "victoria-metrics"

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def _command(self) -> list[str]:
        return [
            "victoria-metrics",
            f"-storageDataPath={self.folder / 'data'}",
            f"-httpListenAddr={HOST}:{self.port}",
            "-retentionPeriod=100y",
            "-search.latencyOffset=0s",
        ]

    def _answers(self) -> bool:
        return httpx.get(f"{self.url}/health").status_code == 200


@pytest.fixture(scope="module")
def server(servers_folder: Path) -> Iterator[VictoriaMetrics]:
    if shutil.which("victoria-metrics") is None:
        pytest.skip("no victoria-metrics on PATH (Debian: apt-get install victoria-metrics)")
    with VictoriaMetrics(servers_folder / "victoria") as started:
        yield started


@pytest.fixture
def store(server: VictoriaMetrics) -> Iterator[InfluxStore]:
    with _store(server.url) as made:
        yield made


@contextmanager
def _store(url: str) -> Iterator[InfluxStore]:
    made = InfluxStore(url, token=TOKEN, org="tickstream", bucket="market")
    made.setup()
    yield made
    made.close()


def exported(server: VictoriaMetrics, match: str) -> dict[str, list[tuple[int, float]]]:
    """Metric name -> (milliseconds, value) of the series that match."""
    httpx.get(f"{server.url}/internal/force_flush")
    answer = httpx.get(
        f"{server.url}/api/v1/export",
        params={"match[]": match, "start": "0", "end": "4102444800", "reduce_mem_usage": "1"},
    )
    points: dict[str, set[tuple[int, float]]] = {}
    for block in map(json.loads, answer.text.splitlines()):  # a long series comes in several
        points.setdefault(block["metric"]["__name__"], set()).update(
            zip(block["timestamps"], block["values"], strict=True)
        )
    return {name: sorted(found) for name, found in points.items()}


def test_bar_is_written_with_all_its_numbers(server: VictoriaMetrics, store: InfluxStore) -> None:
    bar = make_bar(0, symbol="XRP/ETH", high=None)
    store.write_bars(make_bars(bar))
    at = bar.start // 1000
    assert exported(server, '{symbol="XRP/ETH",interval="1m"}') == {
        "bars_open": [(at, 167.41)],
        "bars_low": [(at, 167.10000001)],
        "bars_close": [(at, 167.9)],
        "bars_volume": [(at, 1200.5)],
        "bars_notional": [(at, 201323.85)],
        "bars_vwap": [(at, 167.7)],
        "bars_trade_count": [(at, 42)],
        "bars_rev": [(at, 1)],
        "bars_is_final": [(at, 1)],
    }


def test_indicators_are_written_with_their_bars(server: VictoriaMetrics, store: InfluxStore) -> None:
    bars = [make_bar(n, symbol="IND") for n in range(2)]
    values = {"sma_5": 101, "rsi_14": None, "macd_12_26_9": -1e-300}
    rows = [indicators(bars[0], values, state=state(1.0)), indicators(bars[1], {"rsi_14": None})]
    store.write_bars(make_bars(*bars), indicators_table(*rows))
    first, second = (bar.start // 1000 for bar in bars)
    found = exported(server, '{symbol="IND",interval="1m"}')
    assert {name: points for name, points in found.items() if name.startswith("indicators_")} == {
        "indicators_sma_5": [(first, 101)],
        "indicators_macd_12_26_9": [(first, -1e-300)],
        "indicators_rev": [(first, 1), (second, 1)],
    }
    assert len(found["bars_rev"]) == 2


def test_many_bars_arrive_whole_and_twice_is_once(server: VictoriaMetrics, store: InfluxStore) -> None:
    batch = make_bars(*(make_bar(n, symbol="MANY", trade_count=n + 1) for n in range(6_000)))
    store.write_bars(batch)
    store.write_bars(batch)
    counts = exported(server, '{symbol="MANY"}')["bars_trade_count"]
    assert [value for _, value in counts] == list(range(1, 6_001))


def test_backslash_at_the_end_of_a_symbol_does_not_break_the_line(server: VictoriaMetrics, store: InfluxStore) -> None:
    store.write_bars(make_bars(make_bar(0, symbol="END\\")))
    assert len(exported(server, '{symbol="END\\\\_",interval="1m"}')["bars_trade_count"]) == 1


@pytest.mark.parametrize("symbol", ["A,B", "A=B", "A B", 'A"B', "A\\B", "{A}", "%41"])
def test_symbols_are_escaped(server: VictoriaMetrics, store: InfluxStore, symbol: str) -> None:
    store.write_bars(make_bars(make_bar(0, symbol=symbol, trade_count=7)))
    assert len(exported(server, f"{{symbol={json.dumps(symbol)}}}")["bars_trade_count"]) == 1


def test_points_of_any_measurement_are_written(server: VictoriaMetrics, store: InfluxStore) -> None:
    tags = {"stage": "live path", "host": ""}
    fields = {
        "p99_ms": 7.25,
        "count": 12,
        "exact": Decimal("0.00000001"),
        "ok": True,
        "note": 'a "b" \\ c',
        "none": None,
    }
    store.write_points("latency_metrics", [Point(1_700_000_000_000_000, tags, fields), Point(1, {}, {"none": None})])
    assert exported(server, '{stage="live path"}') == {
        "latency_metrics_p99_ms": [(1_700_000_000_000, 7.25)],
        "latency_metrics_count": [(1_700_000_000_000, 12)],
        "latency_metrics_exact": [(1_700_000_000_000, 1e-8)],
        "latency_metrics_ok": [(1_700_000_000_000, 1)],
        "latency_metrics_note": [(1_700_000_000_000, 0)],  # a text, to a server that keeps numbers only
    }


def test_latencies_and_figures_of_kafka_are_written(server: VictoriaMetrics) -> None:
    off = Settings(influx_url=server.url, influx_token=SecretStr(TOKEN), metrics_influx_seconds=0)
    assert export_metrics("relay", off) is None and export_metrics("relay", Settings()) is None
    export = export_metrics("obs-test", off.model_copy(update={"metrics_influx_seconds": 0.1}))
    assert export is not None
    STAGES.of("live_to_redis").record_us([4000] * 10)
    queries.LAG.labels("final").set(17)
    export.stop()
    found = exported(server, '{program="obs-test",stage="live_to_redis"}')
    assert sum(value for _, value in found["latency_metrics_count"]) >= 10
    assert all(0 < value < 10_000 for _, value in found["latency_metrics_p99_ms"])
    lags = exported(server, '{program="obs-test",query="final"}')["kafka_metrics_query_lag_records"]
    assert {value for _, value in lags} == {17}


def test_figures_of_an_outage_are_in_the_first_write_that_arrives(server: VictoriaMetrics) -> None:
    settings = Settings(influx_url="http://127.0.0.1:9", influx_token=SecretStr(TOKEN))
    before = int(STAGES.of("received_to_tick").read()[0].sum())
    with structlog.testing.capture_logs() as logs:
        export = Export("obs-outage", settings)
        export.write()
        STAGES.of("received_to_tick").record_us([4000] * 7)
        export.write()
    told = [entry for entry in logs if entry["event"] == "latencies are not written to InfluxDB"]
    assert len(told) == 1 and TOKEN not in str(told)
    with _store(server.url) as export._store:
        export.write()
        export.write()
    counts = exported(server, '{program="obs-outage",stage="received_to_tick"}')["latency_metrics_count"]
    assert [value for _, value in counts] == [before + 7]


def test_killed_server_is_unavailable_and_then_written(server: VictoriaMetrics) -> None:
    with _store(server.url) as store:
        store.write_bars(make_bars(make_bar(0, symbol="CRASH")))
        server.kill()
        with pytest.raises(StoreUnavailable, match="influx"):
            store.write_bars(make_bars(make_bar(1, symbol="CRASH")))
        server.start()
        for n in (0, 1):  # what the killed server had not flushed is written again by the retried batch
            store.write_bars(make_bars(make_bar(n, symbol="CRASH")))
    assert len(exported(server, '{symbol="CRASH"}')["bars_rev"]) == 2


class _Answer(http.server.BaseHTTPRequestHandler):
    """Answers every write with the status that the path's host was told to give."""

    status, body, headers_out = 204, b"", dict[str, str]()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        for name, value in self.headers_out.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


@contextmanager
def answering(status: int, message: str = "", **headers: str) -> Iterator[str]:
    body = json.dumps({"code": "a word", "message": message}).encode() if message else b""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    handler = type("Answer", (_Answer,), {"status": status, "body": body, "headers_out": named})
    with http.server.ThreadingHTTPServer((HOST, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [(429, {"Retry_After": "17"}, 17.0), (503, {"Retry_After": "soon"}, 1.0), (500, {}, 1.0), (503, {}, 1.0)],
)
def test_passing_refusal_says_when_to_come_back(status: int, headers: dict[str, str], seconds: float) -> None:
    with answering(status, **headers) as url, _store(url) as store:
        with pytest.raises(StoreUnavailable) as caught:
            store.write_bars(make_bars(make_bar()))
        assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [(401, ConfigError, "INFLUX_TOKEN"), (404, ConfigError, "bucket 'market'"), (400, InputError, "HTTP 400")],
)
def test_lasting_refusal_is_no_reason_to_retry(status: int, error: type[Exception], says: str) -> None:
    with answering(status) as url, _store(url) as store:
        with pytest.raises(error, match=says) as caught:
            store.write_bars(make_bars(make_bar()))
        assert TOKEN not in str(caught.value) + repr(store)


DROPPED = "failure writing points to database: partial write: "


@pytest.mark.parametrize(
    "message",
    [
        f"{DROPPED}points beyond retention policy dropped=2",
        f"{DROPPED}dropped 2 points outside retention policy of duration 24h0m0s - oldest point bars,symbol=A at"
        " 2024-03-01T14:30:00Z dropped because it violates a Retention Policy Lower Bound dropped=2",
    ],
)
def test_points_older_than_the_bucket_keeps_are_told_of_once_and_done(message: str) -> None:
    batch = make_bars(*(make_bar(n) for n in range(6_000)))  # two requests
    with answering(422, message) as url, _store(url) as store, structlog.testing.capture_logs() as logs:
        store.write_bars(batch)
    assert [(entry["log_level"], entry["bucket"]) for entry in logs] == [("warning", "market")]


@pytest.mark.parametrize(
    "message",
    ["", f"{DROPPED}field type conflict: bars.rev dropped=1 for database: d for retention policy: autogen"],
)
def test_points_that_cannot_be_read_are_refused(message: str) -> None:
    with answering(422, message) as url, _store(url) as store, pytest.raises(InputError, match="HTTP 422"):
        store.write_bars(make_bars(make_bar()))


def test_silent_server_is_unavailable() -> None:
    began = time.monotonic()
    with _store("http://127.0.0.1:9") as store, pytest.raises(StoreUnavailable):
        store.write_bars(make_bars(make_bar()))
    assert time.monotonic() - began < 6


def test_no_url_means_no_sink_and_says_so() -> None:
    with structlog.testing.capture_logs() as logs:
        assert make_influx(Settings()) is None
    assert [entry["event"] for entry in logs] == ["INFLUX_URL is not set: the InfluxDB sink is off"]
