"""Has the market left what the model was trained on? The population stability index of each feature."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.indicators.base import Array

CLASSES = 10
MODERATE, LARGE = 0.1, 0.25
"""By custom: below the first nothing happened, above the second the model should not be trusted."""
_FLOOR = 1e-4


def reference(features: Array, names: Sequence[str]) -> dict[str, Any]:
    """Of each feature the edges of ten classes of equal size, the share of each class, and the share of no value."""
    return {name: _classes(features[:, place]) for place, name in enumerate(names)}


def stability(classes: dict[str, Any], features: Array, names: Sequence[str]) -> dict[str, float]:
    """The index of each feature: sum of (now - then) * log(now / then) over the shares of classes; 0 = as then."""
    return {name: _index(classes[name], features[:, place]) for place, name in enumerate(names)}


def _classes(values: Array) -> dict[str, Any]:
    held = values[np.isfinite(values)]
    edges = np.unique(np.quantile(held, np.linspace(0, 1, CLASSES + 1)[1:-1])) if len(held) else np.zeros(0)
    return {"edges": edges.tolist(), "shares": _shares(edges, values).tolist()}


def _shares(edges: Array, values: Array) -> Array:
    """The share of each class, and of what is no number as the last."""
    held = values[np.isfinite(values)]
    counts = np.bincount(np.searchsorted(edges, held, side="right"), minlength=len(edges) + 1)
    return np.append(counts, len(values) - len(held)) / max(1, len(values))


def _index(classes: dict[str, Any], values: Array) -> float:
    then = np.maximum(classes["shares"], _FLOOR)
    now = np.maximum(_shares(np.asarray(classes["edges"]), values), _FLOOR)
    return float(((now - then) * np.log(now / then)).sum())
