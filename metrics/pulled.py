"""Numbers that objects keep anyway, read only when somebody asks: they cost nothing in between."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

Row = tuple[Sequence[str], Mapping[str, float | None]]
"""Label values, and numbers by the short name of their metric; None for what is not known now."""
Family = CounterMetricFamily | GaugeMetricFamily
_log = structlog.get_logger("metrics")


class Pulled(Collector):
    """Metrics with the same labels. Rows with equal label values are added up.

    `metrics` are short name -> help; those whose short name ends in `_total` count up, the others are gauges. The full
    name is `tickstream_{prefix}_{short name}`.
    """

    def __init__(
        self,
        prefix: str,
        metrics: Mapping[str, str],
        labels: Sequence[str] = (),
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._prefix = prefix
        self._metrics = dict(metrics)
        self._labels = list(labels)
        self._reads: list[Callable[[], Iterable[Row]]] = []
        registry.register(self)

    def watch(self, read: Callable[[], Iterable[Row]]) -> None:
        """Ask this, too, from now on. It runs in the thread of whoever reads the metrics."""
        self._reads.append(read)

    def describe(self) -> Iterable[Family]:
        return [self._family(name) for name in self._metrics]

    def collect(self) -> Iterable[Family]:
        found: dict[tuple[str, ...], dict[str, float]] = {}
        for read in self._reads:
            for labels, numbers in self._rows(read):
                held = found.setdefault(tuple(labels), {})
                for name, number in numbers.items():
                    if number is not None:
                        held[name] = held.get(name, 0.0) + number
        for name in self._metrics:
            family = self._family(name)
            for key, held in found.items():
                if name in held:
                    family.add_metric(list(key), held[name])
            yield family

    def _family(self, name: str) -> Family:
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        return kind(f"tickstream_{self._prefix}_{name}", self._metrics[name], labels=self._labels)

    def _rows(self, read: Callable[[], Iterable[Row]]) -> list[Row]:
        try:
            return list(read())
        except Exception as error:  # one number that cannot be had must not hide all others
            _log.warning("a metric cannot be read", metrics=self._prefix, error=f"{type(error).__name__}: {error}")
            return []
