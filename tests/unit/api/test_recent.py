"""Costly answers: one search for all who wait, none remembered for too long, no failure remembered at all."""

import asyncio
from typing import Any

import pytest

from api.recent import Recent


class Search:
    """Counts how often it was asked; answers with that number once it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return number


def test_those_who_ask_together_share_one_search_and_keys_are_apart() -> None:
    async def run() -> None:
        search, recent = Search(), Recent()
        waiting = [asyncio.create_task(recent.get("a", search)) for _ in range(5)]
        other = asyncio.create_task(recent.get("b", search))
        await asyncio.sleep(0)
        waiting[0].cancel()  # who asked first goes away
        await asyncio.sleep(0)
        search.gate.set()
        assert await asyncio.gather(*waiting[1:]) == [1, 1, 1, 1] and await other == 2
        assert waiting[0].cancelled() and search.asked == 2

    asyncio.run(run())


def test_answer_is_remembered_for_its_time_and_a_failure_not_at_all() -> None:
    async def run() -> None:
        now = [100.0]
        search, recent = Search(), Recent(15, lambda: now[0])
        search.gate.set()
        search.error = ValueError("down")
        for _ in range(2):
            with pytest.raises(ValueError, match="down"):
                await recent.get("a", search)
        search.error = None
        found: list[Any] = []
        for now[0] in (100, 114.9, 115.1, 116):
            found.append(await recent.get("a", search))
        assert found == [3, 3, 4, 4]

    asyncio.run(run())
