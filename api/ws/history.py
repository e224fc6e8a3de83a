"""What a snapshot reads from the stores, as the items that a stream carries."""

import time
from collections.abc import AsyncIterator

import msgspec
import structlog

from api.times import MAX_TIME_US
from api.ws.books import Book, EventBook
from api.ws.items import INDICATORS, BarItem, LastEvent
from core.errors import ConfigError, InputError, StoreUnavailable
from stores.redis import RedisReader, bar_to_json
from stores.timescale_reads import TimescaleReader

PAGE_BARS = 1_000
DOWN_SECONDS = 2.0
_log = structlog.get_logger(__name__)


class History:
    """Bars of one symbol and interval, from Redis and from the database."""

    def __init__(self, live: RedisReader, stored: TimescaleReader) -> None:
        self._live = live
        self._stored = stored
        self._down: tuple[float, StoreUnavailable] | None = None

    async def tail(self, book: Book) -> tuple[int, list[BarItem]]:
        """The seq of the last message, and the newest bars as of it. Raises StoreUnavailable without Redis."""
        seq, held = await self._live.numbered_tail(book.symbol, book.interval)
        return seq, [BarItem(payload) for payload in held]

    async def last_events(self, book: EventBook) -> list[LastEvent]:
        """The last event of each interval that Redis still has. Raises StoreUnavailable without Redis."""
        found = []
        for held in await self._live.last_events(book.kind.prefix, book.symbol):
            try:
                found.append(LastEvent(held))
            except InputError as error:
                _log.warning("passed over", key=f"{book.kind.prefix}:{book.symbol}", error=str(error))
        return found

    async def last(self, book: Book, channel: str, count: int) -> list[BarItem]:
        """The last `count` stored bars, ascending. Raises StoreUnavailable without the database."""
        return await self._bars(book, channel, 0, count, newest_first=True)

    async def since(self, book: Book, channel: str, start: int) -> AsyncIterator[list[BarItem]]:
        """The stored bars from this start on, ascending, in pages."""
        while True:
            page = await self._bars(book, channel, start, PAGE_BARS, newest_first=False)
            if page:
                yield page
            if len(page) < PAGE_BARS:
                return
            start = page[-1].start + 1

    async def _bars(self, book: Book, channel: str, start: int, limit: int, *, newest_first: bool) -> list[BarItem]:
        """Fails at once for a while after a failure: a client with many symbols must not wait for each of them."""
        if self._down is not None and time.monotonic() - self._down[0] < DOWN_SECONDS:
            raise self._down[1]
        try:
            return await self._read(book, channel, start, limit, newest_first)
        except StoreUnavailable as error:
            self._down = (time.monotonic(), error)
            raise

    async def _read(self, book: Book, channel: str, start: int, limit: int, newest_first: bool) -> list[BarItem]:
        try:
            rows = await self._stored.bars(
                book.symbol, book.interval, start, MAX_TIME_US, limit, newest_first=newest_first
            )
        except ConfigError:  # not migrated yet: nothing is stored
            return []
        bars = [BarItem(bar_to_json(row)) for row in (rows[::-1] if newest_first else rows)]
        if channel == INDICATORS and bars:
            await self._add_indicators(book, bars)
        return bars

    async def _add_indicators(self, book: Book, bars: list[BarItem]) -> None:
        """Those that belong to the very revision of the bar."""
        rows = await self._stored.indicators(book.symbol, book.interval, bars[0].start, bars[-1].start + 1, len(bars))
        found = {(row["start"], row["rev"]): row["values"] for row in rows}
        for bar in bars:
            values = found.get((bar.start, bar.rev))
            if values is not None:
                bar.indicators = msgspec.json.encode(values)
