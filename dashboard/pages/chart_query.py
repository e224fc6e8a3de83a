"""What somebody wants to see on the chart page, as a URL says it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.figures.overlays import SHOWN, chosen

SECONDS = {"1m": 60, "5m": 300, "15m": 900}
RANGES: dict[str, int | None] = {"1h": 3600, "6h": 21_600, "1d": 86_400, "1w": 604_800, "all": None}
"""Seconds back from the newest bar; all is as many as one answer has, older ones come on scrolling."""

LEAST_BARS, MOST_BARS = 300, 10_080
DEFAULT_INTERVAL, DEFAULT_RANGE = "1m", "6h"


@dataclass(frozen=True)
class Asked:
    """One chart. Without a symbol the first there is; `engine` is None for the usual one, else `plotly`."""

    symbol: str | None
    interval: str = DEFAULT_INTERVAL
    range: str = DEFAULT_RANGE
    groups: tuple[str, ...] = SHOWN
    engine: str | None = None

    @property
    def seconds(self) -> int | None:
        return RANGES[self.range]

    @property
    def count(self) -> int:
        """Bars to read: the range if every slot of it has one, and enough to scroll a little."""
        wanted = MOST_BARS if self.seconds is None else self.seconds // SECONDS[self.interval]
        return max(LEAST_BARS, wanted)


def asked_of(query: Mapping[str, Any]) -> Asked:
    """What a query asks for; what it does not name, or names wrongly, is the default.

    >>> asked_of({"symbol": "AAPL", "interval": "2m", "range": "1d"})
    Asked(symbol='AAPL', interval='1m', range='1d', groups=('vwap', 'sma20', 'bbands'), engine=None)
    """
    interval, span = query.get("interval"), query.get("range")
    return Asked(
        symbol=query.get("symbol") or None,
        interval=interval if interval in SECONDS else DEFAULT_INTERVAL,
        range=span if span in RANGES else DEFAULT_RANGE,
        groups=chosen(query.get("overlays")),
        engine="plotly" if query.get("engine") == "plotly" else None,
    )
