"""Requests to a provider's REST interface: within its quota, retried with patience, no secret in any message."""

import asyncio
import logging
import math
import random
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Protocol, Self

import httpx
import structlog

from core.clock import Clock, SystemClock
from core.errors import Retryable, TickstreamError
from producers.feeds.base import Feed, Problem, Quota

TIMEOUT_SECONDS = 20.0
ATTEMPTS = 6
LONGEST_WAIT_SECONDS = 60.0
DAY_SECONDS = 86_400
_log = structlog.get_logger("producers.http")
logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it logs URLs, and some providers want the key in them


class ProviderError(TickstreamError):
    """A provider refused a request for good: wrong key, unknown symbol, a plan that does not include it."""


class ProviderUnavailable(Retryable):
    """A provider did not answer, or was too busy, through all attempts."""


class QuotaExhausted(ProviderUnavailable):
    """No more requests for a long while: `retry_after` is the time to the next UTC day, or what the provider says."""


class Turns(Protocol):
    """Hands out requests within a quota, to this process or to all that share it."""

    async def take(self, provider: str, quota: Quota) -> None:
        """Wait until one more request is allowed, and count it. Raises QuotaExhausted when the day has none left."""
        ...


class ProcessTurns:
    """Turns of this process alone, forgotten with it."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._taken: dict[str, deque[float]] = defaultdict(deque)
        self._days: dict[str, tuple[int, int]] = {}
        self._lock = asyncio.Lock()

    async def take(self, provider: str, quota: Quota) -> None:
        async with self._lock:  # held while waiting, so that turns are taken in the order of asking
            self._count_day(provider, quota)
            taken = self._taken[provider]
            if len(taken) >= quota.requests:
                await asyncio.sleep(max(0.0, taken.popleft() + quota.seconds - time.monotonic()))
            taken.append(time.monotonic())

    def _count_day(self, provider: str, quota: Quota) -> None:
        seconds = self._clock.now_us() // 1_000_000
        day, count = self._days.get(provider, (0, 0))
        count = count + 1 if day == seconds // DAY_SECONDS else 1
        if quota.daily is not None and count > quota.daily:
            raise exhausted(provider, quota, seconds)
        self._days[provider] = (seconds // DAY_SECONDS, count)


def exhausted(provider: str, quota: Quota, now_seconds: int) -> QuotaExhausted:
    left = DAY_SECONDS - now_seconds % DAY_SECONDS
    return QuotaExhausted(f"{provider}: the day's {quota.daily} requests are used up", retry_after=left)


class Http:
    """One feed's connection. Use as an async context manager.

    `base_url` replaces the provider's own address, for a proxy or a test.
    """

    def __init__(
        self, feed: Feed, turns: Turns | None = None, base_url: str | None = None, clock: Clock | None = None
    ) -> None:
        self._feed = feed
        self._turns = turns or ProcessTurns(clock)
        self._clock = clock or SystemClock()
        self._client = httpx.AsyncClient(
            base_url=base_url or feed.rest_url, timeout=TIMEOUT_SECONDS, follow_redirects=False
        )

    def now_us(self) -> int:
        return self._clock.now_us()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The body of a good answer.

        Raises ProviderError where asking again would not help, ProviderUnavailable after the last attempt.
        """
        problem = ""
        for attempt in range(ATTEMPTS):
            if self._feed.quota is not None:
                await self._turns.take(self._feed.name, self._feed.quota)
            try:
                answer = await self._client.get(path, params=dict(params or {}), headers=dict(self._feed.headers()))
            except httpx.HTTPError as error:
                problem, wait = type(error).__name__, _pause(attempt)
            else:
                told = self._told(answer)
                if told is None:
                    return answer.content
                problem, wait = told.text, told.wait or _pause(attempt)
                if not told.again:
                    raise ProviderError(f"{self._feed.name}: {path} was refused with {problem}")
                if wait > LONGEST_WAIT_SECONDS:
                    raise QuotaExhausted(f"{self._feed.name}: {path} was refused with {problem}", retry_after=wait)
            if attempt + 1 < ATTEMPTS:
                _log.warning("asking again", provider=self._feed.name, path=path, problem=problem, wait=round(wait, 2))
                await asyncio.sleep(wait)
        raise ProviderUnavailable(f"{self._feed.name}: {path} failed {ATTEMPTS} times, last with {problem}")

    def _told(self, answer: httpx.Response) -> Problem | None:
        """What is wrong with an answer. No URL, and of the body only the provider's words without our key."""
        if answer.is_success:
            found = self._feed.problem(answer.content)
            return found and replace(found, text=repr(self._feed.masked(found.text)))
        status = answer.status_code
        again = status in (418, 429) or status >= 500  # 418: an address that asked too often is banned for a while
        return Problem(f"HTTP {status}{_hint(answer)}", again, retry_after(answer.headers.get("Retry-After", "")))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()


def _pause(attempt: int) -> float:
    """Half a second, doubled each time, with jitter so that many clients do not come back at once."""
    return min(LONGEST_WAIT_SECONDS, 0.5 * 2.0**attempt) * random.uniform(0.5, 1.0)


def retry_after(text: str) -> float | None:
    """Seconds of a Retry-After header, which may also be a date; a day at most, None where it says nothing.

    >>> retry_after("1800"), retry_after("-1"), retry_after("soon"), retry_after("inf")
    (1800.0, 0.0, None, None)
    """
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(0.0, seconds), DAY_SECONDS) if math.isfinite(seconds) else None


def _hint(answer: httpx.Response) -> str:
    if answer.status_code in (401, 403):
        return ": is the key right, and does its plan include this?"
    return ": does the provider know the symbol?" if answer.status_code == 404 else ""
