"""A backfill: plans against what the database knows, asks the provider piece by piece, and marks each when it is kept.

A piece is marked after its trades were acknowledged by the broker, or its bars committed. Whatever happens between, it
is asked for again, and its trades are known as repeats by their ids.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

import structlog

from conf.settings import Settings
from core.clock import Clock, SystemClock
from core.errors import InputError, TickstreamError
from core.intervals import SECOND_US
from producers.feeds import FEEDS, Feed
from producers.history.keep import Keeper, Kept, keeper
from producers.history.plan import TICKS, Done, Gap, Item, aligned, items, missing, runs, unfilled
from producers.history.ranges import Ranges, both
from producers.history.sessions import AROUND_US, calendar_of, sessions
from producers.http import Http, ProviderError, QuotaExhausted, Turns
from producers.symbols import SymbolMaster
from producers.times import iso
from stores.backfilled import Backfilled
from stores.retry import retrying

_log = structlog.get_logger("producers.history")
T = TypeVar("T")


class Unfinished(TickstreamError):
    """A backfill ended before its plan was done; what was done is kept, and the message says how to go on."""


@dataclass
class Progress:
    """What a backfill has done so far."""

    planned: int = 0
    pieces: int = 0
    rows: int = 0
    refused: int = 0
    gaps: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    """Symbol -> why the provider refused it."""

    def __str__(self) -> str:
        refused = f", {self.refused:,} refused" if self.refused else ""
        gaps = f", {self.gaps:,} gaps closed" if self.gaps else ""
        if not self.planned:
            return f"backfill: nothing is missing{gaps}"
        return f"backfill: {self.pieces:,} of {self.planned:,} pieces done, {self.rows:,} rows{refused}{gaps}"


class Backfill:
    """One run for one provider. `what` is ticks, or bars:1m. Use as a context manager: `plan`, then `run`.

    `calendar` replaces the symbols' own; `around_us` is what is asked for before each open and after each close.
    `rest_url` replaces the provider's address.
    """

    def __init__(
        self,
        feed: type[Feed],
        settings: Settings,
        what: str = TICKS,
        *,
        calendar: str = "",
        around_us: int = AROUND_US,
        rest_url: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._feed = feed
        self._settings = settings
        self._what = what
        self._calendar = calendar
        self._around_us = around_us if what == TICKS else 0
        self._rest_url = rest_url
        self._clock = clock or SystemClock()
        self._master = SymbolMaster(settings)
        self._done_before = Backfilled(settings.postgres_dsn.get_secret_value())
        self._planned: list[tuple[str, int, int]] = []
        self.progress = Progress()

    def plan(self, symbols: Sequence[str], start_us: int, end_us: int, *, again: bool = False) -> list[Item]:
        """What is missing of `[start_us, end_us)`, in order of symbols as given and of time; all of it with `again`."""
        start_us, end_us = aligned(self._what, start_us, end_us, self._clock.now_us())
        self._planned += [(symbol, start_us, end_us) for symbol in symbols]
        return [item for symbol in symbols for item in self._plan(symbol, start_us, end_us, again)]

    def _plan(self, symbol: str, start_us: int, end_us: int, again: bool) -> list[Item]:
        opened = self._sessions(symbol, start_us, end_us)
        if not opened:
            return []
        done = self._done(symbol, opened[0][0], opened[-1][1])
        gaps = self._gaps(symbol, opened[0][0], opened[-1][1])
        asked = opened if again else missing(opened, done, gaps)
        return items(symbol, self._what, asked, opened, done)

    async def run(
        self, plan: Iterable[Item], turns: Turns, *, wait: bool = False, begun: Callable[[Item], None] | None = None
    ) -> Progress:
        """Do the plan; `begun` is told of each piece before it is asked for.

        Raises Unfinished where the provider or the broker stops it; with `wait`, a spent quota is waited for instead.
        A symbol that the provider refuses is passed over and told of at the end.
        """
        todo = list(plan)
        self.progress.planned = len(todo)
        async with Http(self._feed(self._settings), turns, self._rest_url, self._clock) as http:
            with keeper(self._what, self._feed, self._settings, http) as kept:
                for pieces in runs(todo):
                    if pieces[0].symbol not in self.progress.problems:
                        await self._patiently(pieces, kept, wait, begun or (lambda _item: None))
        self.settle()
        if self.progress.problems:
            raise Unfinished(f"{'; '.join(self.progress.problems.values())}. {self.progress}")
        return self.progress

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done_before.close()

    async def _patiently(self, run: Sequence[Item], keeper: Keeper, wait: bool, begun: Callable[[Item], None]) -> None:
        """One run of pieces, again from the first that is not done where the quota was waited for."""
        left = list(run)
        while left:
            try:
                async with aclosing(keeper.keep(tuple(left))) as pieces:
                    begun(left[0])
                    async for kept in pieces:
                        self._mark(kept)
                        left.pop(0)
                        if left:
                            begun(left[0])
            except ProviderError as error:
                symbol = left[0].symbol
                self.progress.problems[symbol] = f"{symbol}: {error}"
                return
            except QuotaExhausted as error:
                await self._wait(error, wait)
            except TickstreamError as error:
                raise Unfinished(f"{error}. {self.progress}; the same command goes on from here") from error

    async def _wait(self, error: QuotaExhausted, wait: bool) -> None:
        ready = iso(self._clock.now_us() + math.ceil(error.retry_after) * SECOND_US)
        if not wait:
            raise Unfinished(
                f"{error}. {self.progress}; the same command goes on from here after {ready}, or waits with --wait"
            ) from None
        _log.warning("waiting for the quota", provider=self._feed.name, until=ready)
        await asyncio.sleep(error.retry_after)

    def _mark(self, kept: Kept) -> None:
        item = kept.item
        key = (self._feed.name, item.symbol, item.what, item.start_us, item.end_us)
        self._retrying(lambda: self._done_before.mark(*key, kept.rows))
        self.progress.pieces += 1
        self.progress.rows += kept.rows
        self.progress.refused += kept.refused

    def settle(self) -> None:
        """Close the gaps of the planned ranges that this run, or one that was killed before it got here, has filled."""
        for symbol, start_us, end_us in self._planned:
            gaps = self._gaps(symbol, start_us, end_us)
            self.progress.gaps += self._closed([gap.id for gap in gaps if not self._left(symbol, gap)])

    def _closed(self, gaps: list[int]) -> int:
        return self._retrying(lambda: self._done_before.settle(gaps)) if gaps else 0

    def _left(self, symbol: str, gap: Gap) -> Ranges:
        """What of a gap is still to be asked for."""
        opened = self._sessions(symbol, gap.start_us, gap.end_us)
        return both(opened, unfilled(gap, self._done(symbol, gap.start_us, gap.end_us)))

    def _sessions(self, symbol: str, start_us: int, end_us: int) -> Ranges:
        calendar = self._calendar or calendar_of(self._feed, symbol, self._master)
        whole_days = self._what == "bars:1d"
        return sessions(calendar, start_us, end_us, around_us=self._around_us, whole_days=whole_days)

    def _done(self, symbol: str, start_us: int, end_us: int) -> list[Done]:
        source, what = self._feed.name, self._what
        rows = self._retrying(lambda: self._done_before.done(source, symbol, what, start_us, end_us))
        return [Done(*row) for row in rows]

    def _gaps(self, symbol: str, start_us: int, end_us: int) -> list[Gap]:
        if self._what != TICKS:
            return []
        rows = self._retrying(lambda: self._done_before.open_gaps(self._feed.name, symbol, start_us, end_us))
        return [Gap(*row) for row in rows]

    def _retrying(self, call: Callable[[], T]) -> T:
        return retrying("timescale", call, self._settings.store_retry_seconds)


def check_feed(feed: type[Feed], settings: Settings, what: str) -> None:
    """Raise InputError where this provider cannot fill `what`, or a key is missing."""
    kind = "trades" if what == TICKS else "bars"
    if kind not in feed.can.history:
        others = ", ".join(sorted(name for name, one in FEEDS.items() if kind in one.can.history))
        offered = f"; it has {' and '.join(feed.can.history)}" if feed.can.history else ""
        raise InputError(f"{feed.name} has no history of {kind}{offered}; those that have: {others}")
    feed(settings).check_keys()
