"""Pieces of history, asked for and kept: trades in the topic `ticks`, a provider's bars in the table `bars`."""

from bisect import bisect_right
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from conf.settings import Settings
from core.errors import InvalidTick
from core.records import Bar
from producers.feeds.base import Feed, HistoryBar
from producers.history.bars import as_bar
from producers.history.plan import TICKS, Item
from producers.http import Http
from producers.publish import BULK_LINGER_MS, Publisher
from stores.retry import retrying
from stores.schema import bars_table
from stores.timescale import TimescaleStore, make_timescale

_log = structlog.get_logger("producers.history")


@dataclass(slots=True)
class Kept:
    """A piece that is kept for good: its rows, and how many were refused as invalid."""

    item: Item
    rows: int = 0
    refused: int = 0


class Keeper(Protocol):
    """Where history goes."""

    def keep(self, run: Sequence[Item]) -> AsyncGenerator[Kept, None]:
        """Ask for pieces of one symbol without a hole between them; gives each in turn as soon as it is kept."""
        ...


@contextmanager
def keeper(what: str, feed: type[Feed], settings: Settings, http: Http) -> Iterator[Keeper]:
    """The keeper of ticks, or of bars:1m, connected."""
    if what == TICKS:
        with Publisher(settings, linger_ms=BULK_LINGER_MS) as publisher:
            yield Ticks(feed, settings, http, publisher)
        return
    store = make_timescale(settings)
    try:
        yield Bars(feed, settings, http, store)
    finally:
        store.close()


class Ticks:
    """Trades into the topic: bars are made or amended of them as of any late tick.

    A run is one question to the provider, since finding its first trade is what costs some of them most.
    """

    def __init__(self, feed: type[Feed], settings: Settings, http: Http, publisher: Publisher) -> None:
        self._feed = feed
        self._settings = settings
        self._http = http
        self._publisher = publisher

    async def keep(self, run: Sequence[Item]) -> AsyncGenerator[Kept, None]:
        """A piece is kept when the trades have passed its end and the broker has acknowledged every one."""
        # A feed that numbers trades itself begins anew with each run: a repeated one gives the same numbers.
        feed = self._feed(self._settings)
        pieces, ends, given = [Kept(item) for item in run], [item.end_us for item in run], 0
        async for page in feed.trades(self._http, run[0].symbol, run[0].start_us, ends[-1]):
            for tick in page:
                piece = pieces[min(bisect_right(ends, tick.event_us), len(pieces) - 1)]
                if self._publisher.send(tick):
                    piece.rows += 1
                else:
                    piece.refused += 1
            self._publisher.poll()
            passed = bisect_right(ends, min((tick.event_us for tick in page), default=0))
            if passed > given:
                self._publisher.flush()
                for piece in pieces[given:passed]:
                    yield piece
                given = passed
        self._publisher.flush()
        for piece in pieces[given:]:
            yield piece


class Bars:
    """A provider's bars into the table; one that is there already stays."""

    def __init__(self, feed: type[Feed], settings: Settings, http: Http, store: TimescaleStore) -> None:
        self._feed = feed
        self._settings = settings
        self._http = http
        self._store = store

    async def keep(self, run: Sequence[Item]) -> AsyncGenerator[Kept, None]:
        """A piece is kept when its bars are committed."""
        for item in run:
            yield await self._keep(item)

    async def _keep(self, item: Item) -> Kept:
        interval, rows, refused = item.what.removeprefix("bars:"), list[Bar](), 0
        feed = self._feed(self._settings)
        async for page in feed.bars(self._http, item.symbol, interval, item.start_us, item.end_us):
            good, bad = self._rows(page)
            rows, refused = rows + good, refused + bad
        if rows:
            table = bars_table(rows)
            retrying("timescale", lambda: self._store.write_bars(table), self._settings.store_retry_seconds)
        return Kept(item, len(rows), refused)

    def _rows(self, page: list[HistoryBar]) -> tuple[list[Bar], int]:
        rows, refused = list[Bar](), 0
        for bar in page:
            try:
                row = as_bar(bar, self._http.now_us())
            except InvalidTick as problem:
                refused += 1
                _log.warning("bar refused", provider=self._feed.name, problem=str(problem))
            else:
                rows += [row] if row is not None else []
        return rows, refused
