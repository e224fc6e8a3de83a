"""Samples over time as tenths and slopes: pure functions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Samples = list[tuple[float, dict[str, int]]]
"""Seconds since the beginning, and bytes by name."""

TENTHS = 10
# What an allocator or a JVM may still take, and what a sampler may misjudge.
FLAT_SHARE, FLAT_BYTES = 0.05, 5_000_000


def memory_rows(samples: Samples) -> list[dict[str, Any]]:
    """A row for each process: the mean of each tenth in MB, the slope over the second half, and whether it is flat."""
    return [_memory_row(name, *_of(samples, name)) for name in _names(samples)]


def by_hour(samples: Samples) -> list[dict[str, Any]]:
    """A row for each store: MB at the beginning and the end, and MB an hour by least squares."""
    rows = []
    for name in _names(samples):
        at, size = _of(samples, name)
        ends = {"first": round(size[0] / 1e6, 1), "last": round(size[-1] / 1e6, 1)}
        rows.append({"store": name} | ends | {"mb_per_hour": slope(at, size)})
    return rows


def is_flat(tenths: Sequence[float]) -> bool:
    """Whether the last tenth is no more than a little over the sixth. A heap grows before; a leak does not stop.

    >>> is_flat([100e6, 200e6, 250e6, 260e6, 260e6, 260e6, 262e6, 260e6, 261e6, 262e6])
    True
    >>> is_flat([100e6 + 10e6 * tenth for tenth in range(10)])
    False
    """
    sixth, last = tenths[TENTHS // 2], tenths[-1]
    return bool(last <= sixth * (1 + FLAT_SHARE) + FLAT_BYTES)


def changed(first: float, last: float) -> float:
    """How much more the last is, as a share of the first.

    >>> changed(10.0, 11.0)
    0.1
    """
    return round((last - first) / first, 6) if first else float("nan")


def slope(at: np.ndarray, size: np.ndarray) -> float:
    """MB an hour by least squares; 0 for fewer than two samples."""
    if len(at) < 2:
        return 0.0
    return round(float(np.polyfit(at, size, 1)[0]) * 3600 / 1e6, 1)


def _memory_row(name: str, at: np.ndarray, size: np.ndarray) -> dict[str, Any]:
    tenths = _tenths(at, size)
    half = at >= (at[0] + at[-1]) / 2
    means = {f"{(number + 1) * 10} %": round(mean / 1e6) for number, mean in enumerate(tenths)}
    return {"process": name} | means | {"mb_per_hour": slope(at[half], size[half]), "flat": is_flat(tenths)}


def _tenths(at: np.ndarray, size: np.ndarray) -> list[float]:
    """The mean of each tenth of the time; one without a sample has that of the one before."""
    edges = np.linspace(at[0], at[-1], TENTHS + 1)
    number = np.clip(np.searchsorted(edges, at, "right") - 1, 0, TENTHS - 1)
    found: list[float] = []
    for tenth in range(TENTHS):
        own = size[number == tenth]
        found.append(float(own.mean()) if len(own) else found[-1])
    return found


def _of(samples: Samples, name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(at, sizes[name]) for at, sizes in samples if name in sizes]
    return np.array([at for at, _ in pairs], float), np.array([size for _, size in pairs], float)


def _names(samples: Samples) -> list[str]:
    return sorted({name for _, sizes in samples for name in sizes})
