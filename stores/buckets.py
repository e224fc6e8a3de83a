"""Token buckets in Redis: hash `bucket:{name}` of `tokens` and `at` (milliseconds of Redis' own clock).

Tokens are taken several at a time, so that a worker asks once for many requests. Two callers never get the same
token: the script is one step, and the clock is the server's.
"""

from dataclasses import dataclass
from typing import Any

import redis.asyncio
import redis.asyncio.retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError

from core.errors import ConfigError
from stores.redis import translated

TIMEOUT_SECONDS = 0.25  # a request waits for this; without an answer the worker counts for itself

_TAKE = """
local rate, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = burst
if held[1] then
  local passed = math.max(0, now - tonumber(held[2]))
  tokens = math.min(burst, tonumber(held[1]) + passed * rate / 1000)
end
local granted = math.min(want, math.floor(tokens))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return {granted, string.format('%.6f', tokens)}
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a bucket gave: whole tokens, and what is left in it."""

    granted: int
    left: float


class Buckets:
    """The buckets of all callers. Raises StoreUnavailable when Redis does not answer at once."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        retry = redis.asyncio.retry.Retry(NoBackoff(), 1, supported_errors=(ConnectionError,))
        try:
            self._client: Any = redis.asyncio.Redis.from_url(
                url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=retry
            )
        except ValueError:
            raise ConfigError("REDIS_URL is not a redis:// URL") from None
        self._take = self._client.register_script(_TAKE)

    def __repr__(self) -> str:
        return "Buckets()"

    async def open(self) -> None:
        """Nothing to do: connections are made as they are needed."""

    async def close(self) -> None:
        await self._client.aclose()

    async def take(self, name: str, rate: float, burst: float, want: int) -> Taken:
        """Up to `want` tokens of the bucket, which gets `rate` a second and holds at most `burst`."""
        with translated():
            granted, left = await self._take(keys=[f"bucket:{name}"], args=[rate, burst, want])
        return Taken(int(granted), float(left))
