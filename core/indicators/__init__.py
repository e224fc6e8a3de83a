"""Indicators over bars: one definition each, driven bar by bar (`Indicator.step`) or over a frame (`compute`).

`base.py` is the contract, `registry.py` the list, `spec.py` the text form, `batch.py` the driver for frames.
"""

from core.indicators.base import Bars, Indicator
from core.indicators.batch import compute
from core.indicators.registry import INDICATORS
from core.indicators.spec import column, columns_of, parse, parse_all

__all__ = ["INDICATORS", "Bars", "Indicator", "column", "columns_of", "compute", "parse", "parse_all"]
