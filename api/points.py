"""The indicators at a bar: as they were stored, as Redis shows them, or computed here. Pure functions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from api.merge import Row
from core.indicators import Indicator, columns_of, compute

Source = Literal["stored", "live", "computed"]
Values = Mapping[str, float | None]

_INPUTS = ("open", "high", "low", "close", "volume", "notional")


@dataclass(frozen=True, slots=True)
class Point:
    """Values by column, None for none, and where they are from."""

    values: Values
    ready: bool
    stable: bool
    source: Source


class Held:
    """Values that were computed before the request: rows of the table `indicators`, and bars of the tail with theirs.

    They count where they are of the very revision of the bar and have every column asked for.
    """

    def __init__(self, indicators: Sequence[Indicator], stored: Sequence[Row], tail: Sequence[Row]) -> None:
        self._columns = tuple(name for each in indicators for name in columns_of(each))
        self._windows_only = all(each.stable_after == each.ready_after for each in indicators)
        fitting = [row for row in stored if self._fits(row["values"])]
        self._stored = {_key(row): row for row in fitting}
        self._live = {_key(bar): bar["indicators"] for bar in tail if self._fits(bar.get("indicators"))}
        self._newest = max(fitting, key=lambda row: int(row["start"]), default=None)

    def point(self, bar: Row) -> Point | None:
        """What was kept of a bar."""
        key = _key(bar)
        if key in self._stored:
            row = self._stored[key]
            return self._point(row["values"], row["ready"], row["stable"], "stored")
        if key in self._live:
            # Redis keeps no flags, but what is stable after one bar is so after every later one.
            stable = self._newest is not None and self._newest["start"] < bar["start"] and self._newest["stable"]
            return self._point(self._live[key], False, stable, "live")
        return None

    def _point(self, values: Values, ready: bool, stable: bool, source: Source) -> Point:
        """The flags given are of a set that may be larger than what was asked for: its slowest member decides."""
        asked = {name: values[name] for name in self._columns}
        ready = ready or None not in asked.values()
        return Point(asked, ready, stable or (ready and self._windows_only), source)

    def _fits(self, values: Values | None) -> bool:
        return values is not None and all(name in values for name in self._columns)


def computed_points(bars: Sequence[Row], indicators: Sequence[Indicator], calendar: str) -> list[Point]:
    """A point per bar, from ascending bars alone. The flags count those with a close."""
    frame = pd.DataFrame({name: [_float(bar[name]) for bar in bars] for name in _INPUTS})
    frame["start"] = np.array([bar["start"] for bar in bars], np.int64)
    found = compute(frame, list(indicators), calendar).to_dict("records")
    priced = np.cumsum(frame["close"].notna().to_numpy()).tolist()
    ready = max(each.ready_after for each in indicators)
    stable = max(each.stable_after for each in indicators)
    return [
        Point({name: _number(value) for name, value in row.items()}, count >= ready, count >= stable, "computed")
        for row, count in zip(found, priced, strict=True)
    ]


def _key(row: Row) -> tuple[int, int]:
    return row["start"], row["rev"]


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
