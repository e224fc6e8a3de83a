"""Rate limits: token buckets in Redis, of which a worker takes a few tokens at a time.

A caller that is busy gets leases that double up to a tenth of a second's worth, so that most requests cost no round
trip; one that is not gets single tokens. All tokens come from the one bucket: workers together never let through
more than it holds. While Redis does not answer, each worker counts by itself.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from core.errors import TickstreamError
from stores.buckets import Taken

LEASE_SECONDS = 1.0
"""Tokens that were taken and not used by then are lost."""
LEASE_SHARE = 0.1
"""A lease is at most this share of what the bucket holds, and of what it gets in a second."""
PAUSE_SECONDS = 1.0
"""For how long Redis is not asked after it did not answer."""
MAX_HELD = 10_000

_log = structlog.get_logger(__name__)


class Source(Protocol):
    """What the limiter asks of `stores.buckets.Buckets`."""

    async def take(self, name: str, rate: float, burst: float, want: int) -> Taken: ...


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second, and at most so many at once; a `default`, which nobody set, only where keys are needed."""

    rate: float
    burst: float
    default: bool = False

    @property
    def lease(self) -> int:
        return max(1, int(LEASE_SHARE * min(self.rate, self.burst)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on, and what its caller is told."""

    allowed: bool
    limit: int
    remaining: int
    reset: int
    retry_after: float = 0.0

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"ratelimit-limit", str(self.limit).encode()),
            (b"ratelimit-remaining", str(self.remaining).encode()),
            (b"ratelimit-reset", str(self.reset).encode()),
        ]


class LocalBucket:
    """A token bucket of this process."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._at = now
        self.tokens = rate.burst

    def take(self, now: float) -> bool:
        self.tokens = min(self._rate.burst, self.tokens + max(0.0, now - self._at) * self._rate.rate)
        self._at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class _Lease:
    """What this worker holds of one bucket; `left` is what was still in it."""

    tokens: int = 0
    left: float = 0.0
    until: float = -math.inf
    size: int = 1
    refused_until: float = -math.inf
    local: LocalBucket | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Limiter:
    """Counts by kind (`read`, `write`, `socket`) and bucket; a kind whose rate is None is not limited.

    `closed` says whether keys are needed by now.
    """

    def __init__(
        self,
        source: Source,
        rates: Mapping[str, Rate | None],
        clock: Callable[[], float] = time.monotonic,
        closed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._source = source
        self._rates = dict(rates)
        self._clock = clock
        self._closed = closed
        self._leases: OrderedDict[tuple[str, str], _Lease] = OrderedDict()
        self._down_until = -math.inf

    async def spend(self, kind: str, bucket: str) -> Verdict | None:
        """Take a token; None where the kind is not limited."""
        rate = self._rates.get(kind)
        if rate is None or (rate.default and not self._closed()):
            return None
        lease = self._lease(kind, bucket)
        while True:
            now = self._clock()
            if lease.tokens > 0 and now < lease.until:
                lease.tokens -= 1
                return _allowed(rate, lease.left + lease.tokens)
            if now < lease.refused_until:
                return _refused(rate, lease.refused_until - now)
            if now < self._down_until:
                return _locally(rate, lease, now)
            async with lease.lock:
                if self._needs(lease):
                    await self._refill(f"{kind}:{bucket}", rate, lease)

    def _needs(self, lease: _Lease) -> bool:
        """Whether nobody else asked while this request waited."""
        now = self._clock()
        held = lease.tokens > 0 and now < lease.until
        return not held and now >= lease.refused_until and now >= self._down_until

    async def _refill(self, name: str, rate: Rate, lease: _Lease) -> None:
        used_up = lease.tokens == 0 and self._clock() < lease.until
        lease.size = min(rate.lease, lease.size * 2) if used_up else 1
        lease.tokens = 0
        try:
            taken = await self._source.take(name, rate.rate, rate.burst, lease.size)
        except TickstreamError as error:
            _log.warning("rate limits are counted by this worker alone", error=str(error))
            self._down_until = self._clock() + PAUSE_SECONDS
            return
        now = self._clock()
        lease.tokens, lease.left, lease.until = taken.granted, taken.left, now + LEASE_SECONDS
        if taken.granted == 0:
            lease.refused_until = now + (1 - taken.left) / rate.rate

    def _lease(self, kind: str, bucket: str) -> _Lease:
        key = (kind, bucket)
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = _Lease()
            if len(self._leases) > MAX_HELD:
                self._leases.popitem(last=False)
        else:
            self._leases.move_to_end(key)
        return lease


def _locally(rate: Rate, lease: _Lease, now: float) -> Verdict:
    if lease.local is None:
        lease.local = LocalBucket(rate, now)
    if lease.local.take(now):
        return _allowed(rate, lease.local.tokens)
    return _refused(rate, (1 - lease.local.tokens) / rate.rate)


def _allowed(rate: Rate, left: float) -> Verdict:
    return Verdict(True, int(rate.burst), int(left), _reset(rate, left))


def _refused(rate: Rate, seconds: float) -> Verdict:
    return Verdict(False, int(rate.burst), 0, _reset(rate, 0.0), seconds)


def _reset(rate: Rate, left: float) -> int:
    """Seconds until the bucket is full again."""
    return math.ceil(max(0.0, rate.burst - left) / rate.rate)
