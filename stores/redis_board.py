"""Redis over all symbols at once, and what Redis says of itself: for the market overview and the metrics."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from core.errors import InputError
from stores.redis import RedisReader, translated

KEYS_PER_TRIP = 200
_INFO = (
    "redis_version",
    "uptime_in_seconds",
    "connected_clients",
    "used_memory",
    "maxmemory",
    "keyspace_hits",
    "keyspace_misses",
    "evicted_keys",
    "expired_keys",
    "instantaneous_ops_per_sec",
    "pubsub_channels",
)


class TailBar(msgspec.Struct, frozen=True):
    """What of a bar in a tail goes into a roll-up; times in epoch microseconds."""

    start: int
    end: int
    rev: int
    state: str
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    close: Decimal | None = None
    volume: Decimal = Decimal(0)
    notional: Decimal = Decimal(0)
    trade_count: int = 0
    close_us: int | None = None
    received_us: int | None = None
    processed_us: int | None = None
    relayed_us: int | None = None


_bar = msgspec.json.Decoder(TailBar)


class RedisBoard(RedisReader):
    """Every call raises StoreUnavailable when Redis has not answered within about `timeout` seconds."""

    async def tails(self, symbols: Sequence[str], interval: str) -> dict[str, list[TailBar]]:
        """The newest bars of each symbol, ascending, at most 30 of each; symbols without any are left out."""
        found: dict[str, list[TailBar]] = {}
        for at in range(0, len(symbols), KEYS_PER_TRIP):
            part = symbols[at : at + KEYS_PER_TRIP]
            for symbol, payloads in zip(part, await self._payloads(part, interval), strict=True):
                if payloads:
                    found[symbol] = sorted((_decoded(payload) for payload in payloads), key=lambda bar: bar.start)
        return found

    async def info(self) -> dict[str, Any]:
        """What Redis counts: some of the fields of its INFO, under their names there; None for one it lacks."""
        with translated():
            told = await self._client.info()
        return {name: told.get(name) for name in _INFO}

    async def _payloads(self, symbols: Sequence[str], interval: str) -> list[list[bytes]]:
        with translated():
            async with self._client.pipeline(transaction=False) as pipeline:
                for symbol in symbols:
                    pipeline.hvals(f"tail:{symbol}:{interval}")
                held: list[list[bytes]] = await pipeline.execute()
        return held


def _decoded(payload: bytes) -> TailBar:
    try:
        return _bar.decode(payload)
    except msgspec.DecodeError as error:
        raise InputError(f"redis: not the JSON of a bar: {error}") from None
