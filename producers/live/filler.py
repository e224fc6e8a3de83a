"""Fills gaps by REST, one after the other, beside the stream."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from core.clock import Clock
from core.errors import ConfigError, InputError, Retryable
from core.records import Tick
from producers.feeds.base import Feed, SchemaChanged
from producers.http import Http, ProviderError, Turns
from producers.live.backoff import Patience, pause_before
from producers.live.gaps import Gap, GapLog, Settlement
from producers.live.sequence import Range
from producers.live.troubles import without_secrets

MOST_IDS = 1_000_000
"""A wider gap is a backfill's work, or a venue that numbers anew."""
_log = structlog.get_logger("producers.live")


@dataclass
class _Work:
    number: int
    gap: Gap
    accepted: int = 0
    answers: int = 0
    failures: int = 0


class Filler:
    """Asks for what is missing until it is there or cannot be had.

    `accept` takes a page of ticks and says how many were new; `lacking` says which ids of a gap are still missing.
    """

    def __init__(
        self,
        feed: Feed,
        log: GapLog,
        accept: Callable[[list[Tick]], int],
        lacking: Callable[[Gap], list[Range]],
        *,
        patience: Patience,
        clock: Clock,
        turns: Turns | None = None,
        rest_url: str | None = None,
    ) -> None:
        self.open = 0
        self.filled = 0
        self.lost = 0
        self._feed = feed
        self._log = log
        self._accept = accept
        self._lacking = lacking
        self._patience = patience
        self._clock = clock
        self._turns = turns
        self._rest_url = rest_url
        self._ready: asyncio.Queue[_Work] = asyncio.Queue()

    def add(self, number: int, gap: Gap) -> None:
        """Queue a gap that the log knows by this number. Only while the event loop runs."""
        self.open += 1
        self._later(_Work(number, gap), self._patience.fill_delay_seconds)

    async def run(self) -> None:
        """Fill what is queued, for ever."""
        async with Http(self._feed, self._turns, self._rest_url, self._clock) as http:
            while True:
                await self._fill(http, await self._ready.get())

    async def _fill(self, http: Http, work: _Work) -> None:
        if work.gap.first_id is not None and not self._lacking(work.gap):
            self._settle(work, "filled", "came without being asked for")
            return
        if work.gap.first_id is not None and _count(self._lacking(work.gap)) > MOST_IDS:
            self._settle(work, "lost", f"more than {MOST_IDS:,} trades: run a backfill")
            return
        try:
            async with aclosing(self._pages(http, work.gap)) as pages:
                async for page in pages:
                    work.accepted += self._accept(page)
        except Retryable as error:
            self._again(work, str(error), error.retry_after)
        except ConfigError as error:  # a database without its tables yet, where turns are counted
            self._again(work, str(error), self._patience.fill_longest_wait_seconds)
        except (ProviderError, InputError, SchemaChanged) as error:
            self._settle(work, "lost", without_secrets(str(error), self._feed.settings))
        else:
            self._judge(work)

    async def _pages(self, http: Http, gap: Gap) -> AsyncGenerator[list[Tick], None]:
        """What REST has of the gap. Raises only errors of ours: whatever a parser trips over is a changed schema."""
        try:
            if gap.first_id is not None:
                holes = self._lacking(gap)
                source = self._feed.trades_by_id(http, gap.symbol, holes[0][0], holes[-1][1])
            else:
                source = self._feed.trades(http, gap.symbol, gap.start_us, gap.end_us + 1)
            async for page in source:
                yield page
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise SchemaChanged(self._feed.name, "trades", f"{type(error).__name__}: {error}") from error

    def _judge(self, work: _Work) -> None:
        """After a complete answer: settled, or asked again while the provider may be catching up."""
        work.answers += 1
        left = 0 if work.gap.first_id is None else _count(self._lacking(work.gap))
        if not left:
            self._settle(work, "filled")
        elif work.answers < self._patience.fill_attempts:
            self._later(work, self._patience.fill_wait_seconds)
        else:
            self._settle(work, "lost", f"{left:,} trades are not in the provider's history")

    def _again(self, work: _Work, problem: str, retry_after: float) -> None:
        longest = self._patience.fill_longest_wait_seconds
        pause = pause_before(work.failures, self._patience.fill_wait_seconds, longest)
        work.failures += 1
        self._later(work, max(pause, retry_after))
        _log.warning("gap not filled yet", symbol=work.gap.symbol, error=problem)

    def _later(self, work: _Work, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._ready.put_nowait, work)

    def _settle(self, work: _Work, state: Settlement, detail: str = "") -> None:
        gap, count = work.gap, work.accepted
        if gap.first_id is not None and gap.last_id is not None:  # some may have come through the stream
            count = gap.last_id - gap.first_id + 1 - _count(self._lacking(gap))
        self._log.settle(work.number, state, count, detail)
        self.open -= 1
        self.filled += state == "filled"
        self.lost += state == "lost"
        tell = _log.info if state == "filled" else _log.warning
        tell(f"gap {state}", provider=gap.source, symbol=gap.symbol, cause=gap.cause, ticks=count, detail=detail)


def _count(holes: list[Range]) -> int:
    return sum(last - first + 1 for first, last in holes)
