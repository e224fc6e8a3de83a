"""Which symbols are known: both stores are asked before one is refused, and not for each client anew."""

import asyncio
from typing import cast

from api.ws.symbols import KnownSymbols
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader


class Live:
    """A Redis that has one symbol."""

    async def symbols(self) -> list[str]:
        return ["LIVE"]


class Stored:
    """A database that has one, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def symbols(self) -> list[dict[str, str]]:
        self.asked += 1
        return [{"symbol": "STORED"}]


def test_symbol_of_the_database_alone_is_known_right_after_one_that_redis_has() -> None:
    async def ask() -> None:
        stored = Stored()
        known = KnownSymbols(cast(RedisReader, Live()), cast(TimescaleReader, stored))
        assert await known.unknown(["LIVE"]) == [] and stored.asked == 0
        assert await known.unknown(["STORED"]) == [] and stored.asked == 1

    asyncio.run(ask())


def test_unknown_symbol_is_not_looked_for_by_each_client() -> None:
    async def ask() -> None:
        stored = Stored()
        known = KnownSymbols(cast(RedisReader, Live()), cast(TimescaleReader, stored))
        for _ in range(5):
            assert await known.unknown(["NOPE", "LIVE"]) == ["NOPE"]
        assert stored.asked == 1

    asyncio.run(ask())
