"""What the stores hold of indicators, held against `core.indicators.compute` over the bars beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from conf.settings import Settings
from core.indicators import compute
from core.indicators.sets import IndicatorSet

_INPUTS = ("open", "high", "low", "close", "volume", "notional")


def expected_values(bars: Sequence[Mapping[str, Any]], settings: Settings) -> dict[tuple, dict[str, float | None]]:
    """(symbol, interval, start) -> column -> value, from the first bar on; `start` in microseconds."""
    frame = pd.DataFrame(
        [
            {name: row[name] for name in ("symbol", "interval", "start")}
            | {name: np.nan if row[name] is None else float(row[name]) for name in _INPUTS}
            for row in bars
        ]
    )
    found: dict[tuple, dict[str, float | None]] = {}
    for interval, part in frame.groupby("interval"):
        values = compute(part, settings.indicators_of(str(interval)), settings.calendar)
        keys = part[["symbol", "interval", "start"]].itertuples(index=False, name=None)
        for key, row in zip(keys, values.to_dict("records"), strict=True):
            found[key] = {name: float(value) if np.isfinite(value) else None for name, value in row.items()}
    return found


def newest_starts(keys: Sequence[tuple]) -> dict[tuple[str, str], int]:
    """(symbol, interval) -> the newest start."""
    newest: dict[tuple[str, str], int] = {}
    for symbol, interval, start in keys:
        newest[symbol, interval] = max(start, newest.get((symbol, interval), 0))
    return newest


def last_of(row: bytes, specs: str, settings: Settings, interval: str) -> int:
    """The start of the last bar that a stored state has taken in."""
    indicators = IndicatorSet(settings.indicators_of(interval))
    return int(indicators.started(indicators.adopt(specs, row)[None, :])[0])
