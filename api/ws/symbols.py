"""Which symbols there are, remembered for a few seconds: a thousand clients that come back ask once."""

import time
from collections.abc import Sequence

from core.errors import ConfigError, StoreUnavailable
from stores.redis import RedisReader
from stores.timescale_reads import TimescaleReader

REMEMBER_SECONDS = 60.0
ASK_AGAIN_SECONDS = 1.0


class KnownSymbols:
    """The symbols of both stores."""

    def __init__(self, live: RedisReader, stored: TimescaleReader) -> None:
        self._live = live
        self._stored = stored
        self._seen: dict[str, float] = {}
        self._asked = -REMEMBER_SECONDS

    async def unknown(self, symbols: Sequence[str]) -> list[str]:
        """Those that no store has. Raises StoreUnavailable when a store that would know does not answer."""
        missing = self._missing(symbols)
        if missing and time.monotonic() - self._asked > ASK_AGAIN_SECONDS:
            await self._ask(missing)
            missing = self._missing(symbols)
        return missing

    def _missing(self, symbols: Sequence[str]) -> list[str]:
        fresh = time.monotonic() - REMEMBER_SECONDS
        return [symbol for symbol in symbols if self._seen.get(symbol, fresh) <= fresh]

    async def _ask(self, missing: Sequence[str]) -> None:
        failed = None
        try:
            self._remember(await self._live.symbols())
        except StoreUnavailable as error:
            failed = error
        if self._missing(missing):
            try:
                self._remember([row["symbol"] for row in await self._stored.symbols()])
            except ConfigError:
                pass  # not migrated yet: it has none
            except StoreUnavailable as error:
                failed = error
            if failed is not None and self._missing(missing):
                raise failed
            self._asked = time.monotonic()

    def _remember(self, symbols: Sequence[str]) -> None:
        now = time.monotonic()
        self._seen.update(dict.fromkeys(symbols, now))
