"""Latencies and Kafka's figures as points, for a store that keeps them longer than Prometheus does."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prometheus_client import REGISTRY, CollectorRegistry

from metrics.latency import Latencies, quantile
from metrics.stages import STAGES

LATENCY, KAFKA = "latency_metrics", "kafka_metrics"
QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
OF_KAFKA = ("kafka_client_", "producer_", "query_lag_", "query_input_", "relay_", "dead_letters")
"""What the names of metrics begin with that are figures of Kafka, behind `tickstream_`."""
_PREFIX = "tickstream_"


@dataclass(frozen=True, slots=True)
class Figures:
    """One point: a measurement, its tags and its numbers."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, float]


class Report:
    """What a process measured since the last report that was kept."""

    def __init__(self, program: str, stages: Latencies = STAGES, registry: CollectorRegistry = REGISTRY) -> None:
        self._program = program
        self._stages = stages
        self._registry = registry
        self._told: dict[str, tuple[NDArray[np.int64], float]] = {}
        self._next: dict[str, tuple[NDArray[np.int64], float]] = {}

    def figures(self) -> list[Figures]:
        """All that there is to tell; stages without an observation are left out."""
        return [*self._latencies(), *self._kafka()]

    def keep(self) -> None:
        """The last figures arrived: the next ones begin after them."""
        self._told |= self._next

    def _latencies(self) -> Iterator[Figures]:
        for stage, series in self._stages.used():
            counts, total = self._next[stage] = series.read()
            before = self._told.get(stage)
            new, seconds = (counts, total) if before is None else (counts - before[0], total - before[1])
            number = int(new.sum())
            if number:
                found = {name: quantile(new.tolist(), self._stages.bounds, share) for name, share in QUANTILES.items()}
                fields = {name: 1000 * value for name, value in found.items() if value is not None}
                fields |= {"count": number, "mean_ms": 1000 * seconds / number}
                yield Figures(LATENCY, {"stage": stage, "program": self._program}, fields)

    def _kafka(self) -> Iterable[Figures]:
        """Numbers as Prometheus would read them now, one point for each set of labels."""
        found: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
        for family in self._registry.collect():
            if family.name.removeprefix(_PREFIX).startswith(OF_KAFKA):
                for sample in family.samples:
                    tags = tuple(sorted({**sample.labels, "program": self._program}.items()))
                    found.setdefault(tags, {})[sample.name.removeprefix(_PREFIX)] = sample.value
        return [Figures(KAFKA, dict(tags), fields) for tags, fields in found.items()]
