"""Latencies as histograms whose hot path is one append to a list."""

import threading
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

# Seconds: closest where live's own latencies are, and far enough for a store that is away for minutes.
BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5,
           1.0, 2.5, 5.0, 10.0, 12.5, 15.0, 20.0, 30.0, 60.0, 300.0)  # fmt: skip
# Seconds: from one to a day, for what is late by minutes or hours.
LONG_BUCKETS = (1.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
FOLD_AT = 5_000


class Series:
    """The observations of one label value. Any thread may record.

    A list's append is atomic, so nobody locks until the observations are counted: when somebody reads, or when
    `FOLD_AT` of them wait.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = np.array(bounds)
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0
        self._waiting: list[float] = []
        self._lock = threading.Lock()

    def record(self, seconds: float) -> None:
        self._waiting.append(seconds * 1e6)
        if len(self._waiting) >= FOLD_AT:
            self._fold()

    def record_us(self, microseconds: Iterable[float]) -> None:
        """Many at once, in microseconds."""
        self._waiting.extend(microseconds)
        if len(self._waiting) >= FOLD_AT:
            self._fold()

    def read(self) -> tuple[NDArray[np.int64], float]:
        """How many there were between the bounds, the last beyond them all, and their sum in seconds."""
        self._fold()
        with self._lock:
            return self._counts.copy(), self._sum

    def _fold(self) -> None:
        with self._lock:
            count = len(self._waiting)
            # Two clocks may disagree by a little; a sum that goes down would look like a restart.
            values = np.maximum(np.array(self._waiting[:count], np.float64) / 1e6, 0.0)
            del self._waiting[:count]
            places = np.searchsorted(self._bounds, values, side="left")
            self._counts += np.bincount(places, minlength=len(self._counts))
            self._sum += float(values.sum())


class Latencies(Collector):
    """A histogram in seconds with one label, `values` its only values. A series begins to show when it is used."""

    def __init__(
        self,
        name: str,
        text: str,
        label: str,
        values: Iterable[str],
        *,
        bounds: Sequence[float] = BUCKETS,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self.name = name
        self.label = label
        self.bounds = tuple(bounds)
        self._text = text
        self._known = {value: Series(bounds) for value in values}
        self._used: dict[str, Series] = {}
        registry.register(self)

    def of(self, value: str) -> Series:
        """The series of a label value. Raises KeyError for one that was not declared."""
        series = self._known[value]
        self._used[value] = series
        return series

    def used(self) -> Iterator[tuple[str, Series]]:
        yield from sorted(self._used.items())

    def describe(self) -> Iterable[HistogramMetricFamily]:
        return [HistogramMetricFamily(self.name, self._text, labels=[self.label])]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        family = HistogramMetricFamily(self.name, self._text, labels=[self.label])
        for value, series in self.used():
            counts, total = series.read()
            running = np.cumsum(counts).tolist()
            bounds = [*map(floatToGoString, self.bounds), "+Inf"]
            family.add_metric([value], list(zip(bounds, running, strict=True)), total)
        yield family


def quantile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """The value below which that share lies, interpolated within its bucket as Prometheus does; None without any.

    >>> quantile([0, 10, 0], (1.0, 2.0), 0.5)
    1.5
    """
    total = sum(counts)
    if not total:
        return None
    wanted, below = share * total, 0
    for place, bound in enumerate(bounds):
        if below + counts[place] >= wanted and counts[place]:
            start = bounds[place - 1] if place else 0.0
            return start + (bound - start) * (wanted - below) / counts[place]
        below += counts[place]
    return bounds[-1]
