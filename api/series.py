"""Indicators of a range: those kept with the bars, and the others computed from bars read for it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.merge import Row
from api.paging import Page, page_of
from api.params_indicators import IndicatorsQuery
from api.points import Held, Point, computed_points
from api.reading import Joined, Tail, ensure_known, read_before, read_range
from conf.settings import Settings
from core.errors import ConfigError
from core.indicators import Indicator
from core.intervals import DAY_US, Interval
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader


@dataclass(frozen=True, slots=True)
class Series:
    """Ascending bars of a range, and the point of each."""

    indicators: tuple[Indicator, ...]
    bars: list[Row]
    points: list[Point]
    tail: Tail
    truncated: bool


@dataclass(frozen=True, slots=True)
class SeriesReader:
    """Reads what one request asks for."""

    symbol: str
    query: IndicatorsQuery
    settings: Settings
    history: TimescaleReader
    live: RedisReader
    page: Page | None = None

    async def read(self) -> Series:
        """Values that were kept with the bars as they are, the others computed with warm-up.

        Raises UnknownSymbol, InputError when no indicator is configured, and StoreUnavailable when the database does
        not answer.
        """
        query = self.query
        page = self.page or page_of("indicators", self.symbol, query)
        indicators = query.indicators(self.settings.indicators)
        kept = set(indicators) <= set(self.settings.indicators_of(query.interval))
        joined, stored = await asyncio.gather(
            read_range(self.symbol, query, page, self.history, self.live, with_indicators=kept),
            self._stored(page.start, page.end, page.limit + 1, page.newest) if kept else _nothing(),
        )
        bars, truncated = page.cut(joined.bars)
        if not bars:
            await ensure_known(self.symbol, self.history, self.live)
        elif kept and not stored and page.bounded and bars[-1]["state"] == "forming":
            # How stable a live value is must not depend on where the range begins.
            stored = await self._stored(0, bars[-1]["start"], 1, True)
        held = Held(indicators, stored, joined.live or ())
        points = {bar["start"]: point for bar in bars if (point := held.point(bar)) is not None}
        missing = [place for place, bar in enumerate(bars) if bar["start"] not in points]
        if missing:
            points = await self._computed(indicators, joined, bars, missing) | points
        return Series(indicators, bars, [points[bar["start"]] for bar in bars], joined.tail, truncated)

    async def _computed(
        self, indicators: Sequence[Indicator], joined: Joined, bars: list[Row], missing: Sequence[int]
    ) -> dict[int, Point]:
        """By start, from as many bars before the first missing one as make the values stable, where there are so many.

        What stands between the first and the last missing one comes with them.
        """
        first, end = missing[0], missing[-1] + 1
        count = _warm_up(indicators, self.query.bar_interval)
        used = bars[max(0, first - count) : end]
        if count > first:
            earlier = count - first
            before = await read_before(
                self.symbol, self.query.interval, bars[0]["start"], earlier, self.history, joined
            )
            used = before[-earlier:] + used
        points = await asyncio.to_thread(computed_points, used, indicators, self.settings.calendar)
        return {bar["start"]: point for bar, point in zip(used, points, strict=True)}

    async def _stored(self, start_us: int, end_us: int, limit: int, newest_first: bool) -> list[dict[str, Any]]:
        """Stored indicators; none where the table is not there yet."""
        try:
            return await self.history.indicators(
                self.symbol, self.query.interval, start_us, end_us, limit, newest_first=newest_first
            )
        except ConfigError:
            return []


async def _nothing() -> list[dict[str, Any]]:
    return []


def _warm_up(indicators: Sequence[Indicator], interval: Interval) -> int:
    """Bars before a range: until the slowest is stable, and a day of them for what begins with the session."""
    bars = max(each.stable_after for each in indicators)
    by_session = any("session" in each.inputs for each in indicators)
    return max(bars, DAY_US // interval.us) if by_session else bars
