"""The worker of polling jobs: takes due ones from the table, asks their providers, and says in the table how it went.

Any number of workers share the jobs. A provider's refusal ends a job (`failed`); whatever else goes wrong is written
into its `detail`, and it is asked again, after a pause that grows with each failure in a row.
"""

import asyncio
import contextlib
import dataclasses
import traceback
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import UUID

import structlog

from conf.settings import Settings
from core.clock import Clock, SystemClock
from core.errors import ConfigError, InputError, Retryable, TickstreamError
from core.intervals import SECOND_US
from core.records import Tick
from metrics.feeds import POLLS
from producers.feeds import Feed, feed_named
from producers.http import Http, ProcessTurns, ProviderError, Turns
from producers.polled import PolledPrices
from stores.polling import PollingJob, PollingJobs

# What a killed worker had taken is due again after so long; a slow poll renews it in time.
LEASE_SECONDS = 15.0
RENEW_SECONDS = 5.0
# A provider that hangs holds up its own jobs only.
AT_ONCE = 4
LONGEST_SLEEP_SECONDS = 1.0  # a new job is noticed within this
SHORTEST_SLEEP_SECONDS = 0.05
BEAT_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 300.0
NAMES_SHOWN = 5
_log = structlog.get_logger("producers.polling")


def pause_after(failures: int, retry_after: float) -> float:
    """Seconds that a provider is left alone after so many failed polls of a job in a row, at least `retry_after`.

    >>> [pause_after(count, 0) for count in (1, 2, 3)], pause_after(99, 0), pause_after(1, 3600)
    ([1.0, 2.0, 4.0], 300.0, 3600)
    """
    return max(retry_after, min(LONGEST_PAUSE_SECONDS, 2.0 ** (min(failures, 20) - 1)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a poll went: what `PollingJobs.finish` is told."""

    ticks: int = 0
    detail: str = ""
    pause_seconds: float = 0.0
    failed: bool = False

    @property
    def ending(self) -> str:
        """`failed` for good, `again` after a pause, or `done`."""
        return "failed" if self.failed else "again" if self.pause_seconds else "done"


class PollingWorker:
    """Polls until told to stop.

    `heartbeats` keep event time going while there are jobs, so that bars close; not where another producer beats,
    since these stay behind by the longest interval. `base_url` replaces every provider's address, for a proxy or a
    test.
    """

    def __init__(
        self,
        settings: Settings,
        jobs: PollingJobs,
        polled: PolledPrices,
        turns: Turns | None = None,
        heartbeats: bool = True,
        base_url: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.polls = 0
        self.ticks = 0
        self._settings = settings
        self._jobs = jobs
        self._polled = polled
        self._turns = turns or ProcessTurns(clock)
        self._heartbeats = heartbeats
        self._base_url = base_url
        self._clock = clock or SystemClock()
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._busy: Counter[str] = Counter()
        self._failures: Counter[UUID] = Counter()
        self._https: dict[str, Http] = {}
        self._connections = AsyncExitStack()
        self._slowest: float | None = None
        self._told = ""
        self._finishing = asyncio.Lock()

    def __str__(self) -> str:
        return f"polled {self.polls:,} times, {self.ticks:,} ticks"

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. A database or broker that is down is waited for."""
        async with self._connections:
            others = [asyncio.create_task(self._beat()), asyncio.create_task(self._renew())]
            try:
                while not stop.is_set():
                    sleep = await self._turn()
                    for task in others:
                        if task.done():
                            task.result()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), sleep)
            finally:
                await self._end(others)

    async def _turn(self) -> float:
        """Start what is due; the seconds until there may be more."""
        try:
            while claimed := await self._claim():
                for job in claimed:
                    self._start(job)
            agenda = await self._jobs.agenda()
        except (Retryable, ConfigError) as error:
            if str(error) != self._told:
                _log.warning("waiting for the table of polling jobs", error=str(error))
            self._told = str(error)
            return LONGEST_SLEEP_SECONDS
        self._told = ""
        self._slowest = agenda.slowest if agenda.active else None
        wait = LONGEST_SLEEP_SECONDS if agenda.wait is None else agenda.wait
        return min(max(wait, SHORTEST_SLEEP_SECONDS), LONGEST_SLEEP_SECONDS)

    async def _claim(self) -> list[PollingJob]:
        full = [provider for provider, count in self._busy.items() if count >= AT_ONCE]
        return await self._jobs.claim(AT_ONCE, LEASE_SECONDS, full)

    def _start(self, job: PollingJob) -> None:
        if job.id in self._running:  # its lease lapsed while the database was away
            return
        self._busy[job.provider] += 1
        self._running[job.id] = asyncio.create_task(self._work(job))

    async def _work(self, job: PollingJob) -> None:
        try:
            outcome = await self._outcome(job)
            async with self._finishing:  # or a renewal could undo it
                del self._running[job.id]
                await self._jobs.finish(job.id, **dataclasses.asdict(outcome))
            POLLS.labels(job.provider, outcome.ending).inc()
        except TickstreamError as error:
            _log.warning("a poll is not counted and will be made again", job=str(job.id), error=str(error))
        finally:
            self._busy[job.provider] -= 1

    async def _outcome(self, job: PollingJob) -> Outcome:
        """Poll once; whatever happens becomes words."""
        self.polls += 1
        try:
            outcome = await self._poll(job)
        except ProviderError as error:
            outcome = Outcome(detail=self._masked(job, str(error)), failed=True)
        except TickstreamError as error:
            self._failures[job.id] += 1
            retry_after = error.retry_after if isinstance(error, Retryable) else 0.0
            pause = pause_after(self._failures[job.id], retry_after)
            outcome = Outcome(detail=self._masked(job, str(error)), pause_seconds=pause)
        except Exception as error:
            # A fault of an adapter must not end the others' polls. Its message may hold an address with a key in it.
            self._failures[job.id] += 1
            frame = traceback.extract_tb(error.__traceback__)[-1]
            kind, place = type(error).__name__, f"{frame.filename}:{frame.lineno}"
            _log.error("poll failed", job=str(job.id), provider=job.provider, error=kind, at=place)
            outcome = Outcome(detail=f"an error of ours: {kind}", pause_seconds=pause_after(self._failures[job.id], 0))
        else:
            self._failures.pop(job.id, None)
            return outcome
        _log.warning("poll failed", job=str(job.id), provider=job.provider, detail=outcome.detail)
        return outcome

    async def _poll(self, job: PollingJob) -> Outcome:
        feed = self._feed(job)
        ticks = await feed.latest(await self._http(feed), job.symbols)
        taken = await self._polled.take(ticks, job.interval_seconds)
        self.ticks += taken.published
        notes = [_silent(job, ticks), taken.note]
        return Outcome(ticks=taken.published, detail="; ".join(note for note in notes if note))

    def _feed(self, job: PollingJob) -> Feed:
        """A feed of its own for each poll, since a feed may remember messages. Raises InputError without its keys."""
        feed = feed_named(job.provider)(self._settings)
        feed.check_keys()
        return feed

    async def _http(self, feed: Feed) -> Http:
        if feed.name not in self._https:
            http = Http(feed, self._turns, self._base_url, self._clock)
            self._https[feed.name] = await self._connections.enter_async_context(http)
        return self._https[feed.name]

    def _masked(self, job: PollingJob, text: str) -> str:
        try:
            return feed_named(job.provider)(self._settings).masked(text)
        except InputError:  # a provider that this version does not have
            return text

    async def _beat(self) -> None:
        """While jobs are active, keep event time going, so that bars close.

        A trade may be as old as the longest interval when its poll finds it: event time stays behind by that much.
        """
        while True:
            if self._heartbeats and self._slowest is not None:
                await self._polled.beat(self._clock.now_us() - int(self._slowest * SECOND_US))
            await asyncio.sleep(BEAT_SECONDS)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            async with self._finishing:
                try:
                    await self._jobs.renew(list(self._running), LEASE_SECONDS)
                except (Retryable, ConfigError) as error:
                    _log.warning("leases not renewed", error=str(error))

    async def _end(self, others: list[asyncio.Task[None]]) -> None:
        """Break off what runs, and leave it due for the next worker."""
        left = list(self._running)
        tasks = [*others, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if left:
            with contextlib.suppress(Retryable, ConfigError):
                await self._jobs.renew(left, 0)


def _silent(job: PollingJob, ticks: list[Tick]) -> str:
    """Which symbols the provider had no price of."""
    found = {tick.symbol for tick in ticks}
    missing = [symbol for symbol in job.symbols if symbol not in found]
    more = f" and {len(missing) - NAMES_SHOWN} more" if len(missing) > NAMES_SHOWN else ""
    return f"no price of {', '.join(missing[:NAMES_SHOWN])}{more}" if missing else ""
