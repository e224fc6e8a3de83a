"""Grafana's boards as tables of panels; `python -m metrics boards` writes the files that Grafana reads."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT, COLUMNS = 8, 8, 3


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: its title, Grafana's unit, and of each line legend and query."""

    title: str
    unit: str
    lines: Sequence[tuple[str, str]]
    about: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """Panels by the heading of their row."""

    title: str
    rows: dict[str, Sequence[Panel]]


def rate(name: str, by: str = "", match: str = "") -> str:
    """A counter's growth per second, summed over processes."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({name}{match}[$__rate_interval]))"


def grown(name: str, by: str, match: str = "") -> str:
    """A counter's growth over five minutes, in whole numbers."""
    return f"round(sum by ({by}) (increase({name}{match}[5m])))"


def quantile(share: float, name: str, by: str = "", match: str = "") -> str:
    """A quantile of a histogram over all processes."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({name}_bucket{match}[$__rate_interval])))"


def quantiles(name: str, match: str = "") -> list[tuple[str, str]]:
    return [(f"p{round(100 * share)}", quantile(share, name, match=match)) for share in (0.5, 0.95, 0.99)]


PIPELINE = Board(
    "tickstream: pipeline",
    {
        "Flow": (
            Panel(
                "Ticks",
                "cps",
                [
                    ("sent by producers", rate("tickstream_producer_ticks_total")),
                    ("in the tick log", rate("tickstream_store_rows_total", match='{store="timescale", kind="ticks"}')),
                ],
            ),
            Panel(
                "Forming bars",
                "cps",
                [
                    ("rows of live", rate("tickstream_relay_read_total")),
                    ("replaced on the way", rate("tickstream_relay_conflated_total")),
                    ("shown by Redis", rate("tickstream_relay_published_total")),
                ],
            ),
            Panel(
                "Final bars, of five minutes",
                "short",
                [("{{store}}", grown("tickstream_store_rows_total", "store", '{kind="bars"}'))],
            ),
        ),
        "Latency": (
            Panel(
                "Tick to Redis",
                "s",
                quantiles("tickstream_stage_seconds", '{stage="received_to_redis"}'),
                "From receipt by the producer to Redis, of rows that were not replaced on the way.",
            ),
            Panel("Stages of the live way, p99", "s", [("{{stage}}", quantile(
                0.99, "tickstream_stage_seconds", "stage",
                '{stage=~"event_to_received|received_to_live|live_to_redis|received_to_tick"}'))]),
            Panel("Stages of the stored way, p95", "s", [("{{stage}}", quantile(
                0.95, "tickstream_stage_seconds", "stage",
                '{stage=~"received_to_log|received_to_final|close_to_final"}'))]),
        ),
        "Queries": (
            Panel("Behind the topic", "short", [
                ("{{query}}", "sum by (query) (tickstream_query_lag_records)"),
                ("relay", "sum(tickstream_relay_lag_records)"),
            ], "Records that the newest batch left unread; of live, its newest checkpoint."),
            Panel("Time of a batch, p95", "s", [
                ("{{query}}", quantile(0.95, "tickstream_query_batch_seconds", "query", '{query!="live"}')),
            ], "Final's batches include their rest while no bar can close."),
            Panel("Watermark behind the newest tick", "s", [
                ("{{query}}", 'tickstream_query_event_timestamp_seconds{query="final"}'
                 " - on (query, instance) tickstream_query_watermark_timestamp_seconds"),
                ("setting", "max(tickstream_watermark_delay_seconds)"),
            ]),
            Panel("State", "bytes", [("{{query}}", "sum by (query) (tickstream_query_state_bytes)")]),
            Panel("Records read", "cps", [("{{query}}", rate("tickstream_query_input_rows_total", "query"))]),
            Panel("Late ticks, of five minutes", "short", [
                ("{{query}}", grown("tickstream_query_late_ticks_total", "query")),
            ], "Dropped by the watermark; reconciling brings them into their bars."),
        ),
        "Stores": (
            Panel("Time of a call, p95", "s", [("{{store}}", quantile(0.95, "tickstream_store_seconds", "store"))]),
            Panel("Calls not answered, of five minutes", "short", [
                ("{{store}}", grown("tickstream_store_unavailable_total", "store")),
            ]),
            Panel("Room on the disk", "bytes", [("{{folder}}", "min by (folder) (tickstream_disk_free_bytes)")]),
        ),
        "Trust": (
            Panel("Bars right as first made", "percentunit", [
                ("all", "tickstream_reconcile_match_ratio"),
                ("worst symbol", "min(tickstream_reconcile_symbol_match_ratio)"),
            ]),
            Panel("Revisions, of five minutes", "short", [
                ("{{reason}}", grown("tickstream_reconcile_amended_bars_total", "reason")),
            ]),
            Panel("Refused records, of five minutes", "short", [
                ("{{stage}}: {{reason}}", grown("tickstream_dead_letters_total", "stage, reason")),
            ]),
        ),
        "Feeds": (
            Panel("State of the streams", "short", [
                ("{{provider}}: {{state}}", "max by (provider, state) (tickstream_feed_state) == 1"),
            ]),
            Panel("Gaps, of five minutes", "short", [
                ("{{provider}}: filled", grown("tickstream_feed_gaps_filled_total", "provider")),
                ("{{provider}}: lost", grown("tickstream_feed_gaps_lost_total", "provider")),
            ]),
            Panel("Kafka's round trip, p99", "s", [
                ("{{client}}", "max by (client) (tickstream_kafka_client_round_trip_seconds)"),
            ]),
        ),
    },
)  # fmt: skip
SERVING = Board(
    "tickstream: serving and processes",
    {
        "API": (
            Panel("Requests", "reqps", [("{{status}}", rate("tickstream_http_requests_total", "status"))]),
            Panel("Time of an answer, p99", "s", [
                ("{{route}}", f'topk(8, {quantile(0.99, "tickstream_http_request_seconds", "route")})'),
            ]),
            Panel("Bodies that were still there", "percentunit", [
                ("hit ratio", f"{rate('tickstream_http_cache_hits_total')} / "
                 f"({rate('tickstream_http_cache_hits_total')} + {rate('tickstream_http_cache_misses_total')})"),
            ]),
        ),
        "Sockets": (
            Panel("Clients", "short", [
                ("open", "sum(tickstream_socket_clients)"),
                ("busy", "sum(tickstream_socket_busy_clients)"),
            ]),
            Panel("Messages", "cps", [
                (name, rate(f"tickstream_socket_{name}_total")) for name in ("sent", "conflated", "dropped")
            ]),
            Panel("Bytes", "Bps", [("sent", rate("tickstream_socket_bytes_total"))]),
        ),
        "Processes": (
            Panel("Processors", "short", [
                ("{{program}}", 'rate(process_cpu_seconds_total{job="tickstream"}[$__rate_interval])'),
                ("{{program}}: JVM", "rate(tickstream_jvm_process_cpu_seconds_total[$__rate_interval])"),
            ], "Cores in use."),
            Panel("Memory", "bytes", [
                ("{{program}}", 'process_resident_memory_bytes{job="tickstream"}'),
                ("{{program}}: JVM", "tickstream_jvm_process_resident_memory_bytes"),
            ]),
            Panel("Up", "short", [("{{program}}", 'up{job="tickstream"}')]),
        ),
    },
)  # fmt: skip
BOARDS = {"pipeline": PIPELINE, "serving": SERVING}


def board_json(name: str) -> str:
    """The file of a board, as Grafana reads it."""
    board = BOARDS[name]
    panels = [panel | {"id": number} for number, panel in enumerate(_placed(board), 1)]
    found = {
        "uid": f"tickstream-{name}",
        "title": board.title,
        "tags": ["tickstream"],
        "schemaVersion": 39,
        "editable": True,
        "timezone": "utc",
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": []},
        "annotations": {"list": []},
        "panels": panels,
    }
    return json.dumps(found, indent=1) + "\n"


def _placed(board: Board) -> Iterator[dict[str, Any]]:
    top = 0
    for heading, row in board.rows.items():
        yield {"type": "row", "title": heading, "collapsed": False, "panels": [], "gridPos": _place(0, top, 24, 1)}
        top += 1
        for place, panel in enumerate(row):
            down, along = divmod(place, COLUMNS)
            yield _graph(panel, _place(along * WIDTH, top + down * HEIGHT, WIDTH, HEIGHT))
        top += HEIGHT * (1 + (len(row) - 1) // COLUMNS)


def _graph(panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": {"fillOpacity": 10}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": query, "legendFormat": legend, "datasource": SOURCE}
            for number, (legend, query) in enumerate(panel.lines)
        ],
    }


def _place(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}
