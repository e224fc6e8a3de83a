"""Latency by stage, from the stamps that bars carry. Pure functions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stores.redis_board import TailBar

WHAT = {
    "event_to_received": "event time of a final bar's closing trade, to receipt of its newest tick by the producer",
    "received_to_live": "receipt of a forming bar's newest tick, to Kafka's stamp of the row that the live query sent",
    "live_to_redis": "that stamp, to the relay handing the row to Redis, which shows and publishes it",
    "received_to_redis": "the two together: tick to Redis",
    "received_to_final": "receipt of a final bar's newest tick, to the final query writing the bar to the stores",
    "close_to_final": "end of a final bar, to the final query writing it: the watermark delay is in it",
}
"""Every stage, in the order of the way that a tick takes."""

QUANTILES = (0.5, 0.95, 0.99, 1.0)
_LIVE: dict[str, Callable[[TailBar], tuple[int | None, int | None]]] = {
    "received_to_live": lambda bar: (bar.received_us, bar.processed_us),
    "live_to_redis": lambda bar: (bar.processed_us, bar.relayed_us),
    "received_to_redis": lambda bar: (bar.received_us, bar.relayed_us),
}


def live_stages(tails: Iterable[Sequence[TailBar]], since_us: int) -> dict[str, tuple[int, list[float]]]:
    """Of rows of forming bars received since a moment: how many, and p50, p95, p99 and maximum in microseconds."""
    rows = [bar for tail in tails for bar in tail if bar.rev == 0 and (bar.received_us or 0) >= since_us]
    return {name: _of([pair for pair in map(stamps, rows)]) for name, stamps in _LIVE.items()}


def stages_json(found: Mapping[str, tuple[int, list[float]]]) -> list[dict[str, Any]]:
    """Every stage in order, in milliseconds; those without a sample too."""
    return [_stage(name, what, *found.get(name, (0, []))) for name, what in WHAT.items()]


def percentile(ascending: Sequence[float], quantile: float) -> float:
    """By linear interpolation between neighbours, as PostgreSQL's percentile_cont."""
    place = quantile * (len(ascending) - 1)
    low = int(place)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (ascending[high] - ascending[low]) * (place - low)


def _of(pairs: Iterable[tuple[int | None, int | None]]) -> tuple[int, list[float]]:
    values = sorted(float(later - earlier) for earlier, later in pairs if earlier is not None and later is not None)
    return len(values), [percentile(values, quantile) for quantile in QUANTILES] if values else []


def _stage(name: str, what: str, count: int, values: Sequence[float]) -> dict[str, Any]:
    shown: list[float | None] = [round(value / 1000, 3) for value in values] or [None] * len(QUANTILES)
    return {"stage": name, "what": what, "count": count} | dict(
        zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), shown, strict=True)
    )
