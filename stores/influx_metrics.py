"""The measurements `latency_metrics` and `kafka_metrics` of InfluxDB, written by every process of the pipeline."""

import threading
import time
from collections import defaultdict
from typing import Any

import structlog

from conf.settings import Settings
from core.errors import TickstreamError
from metrics.report import Report

_log = structlog.get_logger(__name__)


def export_metrics(program: str, settings: Settings) -> "Export | None":
    """Begin to write, from a thread of its own; None where InfluxDB or the writing is off."""
    if settings.influx_url is None or not settings.metrics_influx_seconds:
        return None
    export = Export(program, settings)
    export.start()
    return export


class Export:
    """Writes what happened since the last write that arrived. Nothing waits for it, and it keeps no backlog."""

    def __init__(self, program: str, settings: Settings) -> None:
        from stores.influx import Point, make_influx  # brings a client that few processes need

        self._store: Any = make_influx(settings)
        self._point = Point
        self._report = Report(program)
        self._every = settings.metrics_influx_seconds
        self._failing = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics-influx", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after a last write."""
        self._stopping.set()
        self._thread.join(10)

    def write(self) -> None:
        """Once; an InfluxDB that does not take it is told in the log, when that begins."""
        now_us, points = time.time_ns() // 1000, defaultdict[str, list[Any]](list)
        for each in self._report.figures():
            points[each.measurement].append(self._point(now_us, each.tags, each.fields))
        try:
            for measurement, found in points.items():
                self._store.write_points(measurement, found)
        except TickstreamError as error:
            if not self._failing:
                _log.warning("latencies are not written to InfluxDB", error=str(error))
            self._failing = True
            return
        self._failing = False
        self._report.keep()

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            self.write()
        self.write()
