"""When the database is searched for the final bars that a stream has missed: one look at a time, whatever happens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Search:
    """Of one stream. `start` is the first bar that may be missing, None for nobody knows."""

    def __init__(self, pause: float) -> None:
        self.start: int | None = None
        self._pause = pause
        self._looks = 0
        self._begun = asyncio.Event()

    def begin(self, start: int | None) -> None:
        """Messages were missed behind this start; those of before that are still being looked for stay wanted."""
        known = [each for each in (self.start, start) if each is not None]
        self.start = min(known, default=None)
        self._looks = 2
        self._begun.set()

    async def turns(self) -> AsyncIterator[None]:
        """Whenever it is time to look: at once after `begin`, and once more after a pause, in seconds."""
        while self._looks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._begun.wait()
            self._begun.clear()
            self._looks -= 1
            yield
