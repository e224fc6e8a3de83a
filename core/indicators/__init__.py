"""Indicators over bars: one definition each, driven bar by bar (`Indicator.step`), several together (`IndicatorSet`),
or over a frame (`compute`).

`base.py` is the contract, `registry.py` finds them, `spec.py` is the text form, `sets.py` and `batch.py` are drivers.
"""

from typing import TYPE_CHECKING

from core.indicators.base import Bars, Indicator
from core.indicators.registry import INDICATORS
from core.indicators.sets import Folded, IndicatorSet, bars_of, values_json
from core.indicators.spec import column, columns_of, for_interval, parse, parse_all, parse_configured

if TYPE_CHECKING:
    from core.indicators.batch import compute

__all__ = [
    "INDICATORS",
    "Bars",
    "Folded",
    "Indicator",
    "IndicatorSet",
    "bars_of",
    "column",
    "columns_of",
    "compute",
    "for_interval",
    "parse",
    "parse_all",
    "parse_configured",
    "values_json",
]


def __getattr__(name: str) -> object:
    if name == "compute":  # pandas takes half a second to import, and only frames need it
        from core.indicators.batch import compute

        return compute
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
