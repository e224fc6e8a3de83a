"""Costly answers, found once for all who ask at about the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
SECONDS = 15.0


class Recent:
    """Remembers answers for some seconds; whoever asks while one is being found waits for that one.

    For one event loop. A failure is everybody's who waits, and is not remembered.
    """

    def __init__(self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._held: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def get(self, key: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        """The answer to a question; `find` is called where none is known. Raises what it raises."""
        now = self._clock()
        self._held = {each: held for each, held in self._held.items() if now - held[0] < self._seconds}
        if key not in self._held:
            task = asyncio.create_task(self._found(key, find))
            task.add_done_callback(_heard)
            self._held[key] = now, task
        # Shielded: one who goes away must not take the answer from the others.
        answer: T = await asyncio.shield(self._held[key][1])
        return answer

    async def _found(self, key: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        try:
            return await find()
        except BaseException:
            self._held.pop(key, None)
            raise


def _heard(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # it may be that nobody waits any more
