"""Bars and their indicators, read from the API side by side."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dashboard.client import ApiClient, ApiRefused, Row
from dashboard.figures.candles import epoch_seconds
from dashboard.figures.overlays import COLUMNS, INDICATORS

MOST = 10_000
"""What one answer of the API holds."""

NEWEST = 15
"""Bars whose values are asked for again and again: a late tick may amend one of them."""


@dataclass(frozen=True)
class Bars:
    """Ascending rows of the API; `more` says that there are older ones."""

    bars: list[Row]
    indicators: list[Row]
    more: bool


async def newest_bars(client: ApiClient, symbol: str, interval: str, count: int) -> Bars:
    """The newest bars, the forming one included, `count` of them or a whole answer. Raises ApiDown, ApiRefused."""
    return await older_bars(client, symbol, interval, count, None)


async def older_bars(client: ApiClient, symbol: str, interval: str, count: int, end: str | None) -> Bars:
    """The `count` bars that start before `end`, RFC 3339; before now without it. Raises ApiDown, ApiRefused."""
    found = await _answer(client, symbol, interval, min(count, MOST), end)
    missing = count - len(found.bars)
    if not found.more or missing <= 0:
        return found
    rest = await older_bars(client, symbol, interval, missing, found.bars[0]["start"])
    return Bars(rest.bars + found.bars, rest.indicators + found.indicators, rest.more)


async def unpushed_columns(client: ApiClient, symbol: str, interval: str) -> list[str]:
    """The columns that bars do not come with, so that the socket does not bring them. Raises ApiDown."""
    try:
        found = await client.indicators(symbol, interval=interval, limit=1)
    except ApiRefused:  # bars come with none at all
        return list(COLUMNS)
    return [name for row in found["rows"] for name in COLUMNS if name not in row["values"]]


async def newest_values(client: ApiClient, params: Mapping[str, str]) -> list[Row]:
    """The newest values of indicators that are computed on request, as the socket says those that are pushed.

    `params` has symbol, interval, and the API's `type`; `start` is in microseconds. Raises ApiDown, ApiRefused.
    """
    found = await client.indicators(params["symbol"], interval=params["interval"], type=params["type"], limit=NEWEST)
    return [
        {"start": 1_000_000 * epoch_seconds(row["start"]), "rev": row["rev"], "values": row["values"]}
        for row in found["rows"]
    ]


async def _answer(client: ApiClient, symbol: str, interval: str, limit: int, end: str | None) -> Bars:
    asked = {"interval": interval, "limit": limit, "end": end}
    bars, indicators = await asyncio.gather(
        client.bars(symbol, numeric="float", **asked), client.indicators(symbol, type=INDICATORS, **asked)
    )
    return Bars(bars["bars"], indicators["rows"], bars["previous"] is not None)


def text_of(seconds: int) -> str:
    """Epoch seconds as the API takes times.

    >>> text_of(1795279500)
    '2026-11-21T16:45:00Z'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
