"""The parts of a history that were asked for, and no request more than they take."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.records import Tick
from producers.feeds.paging import windows, within
from tests.factories import tick


@pytest.mark.parametrize(
    ("pages", "found", "asked"),
    [
        ([[1, 4], [5, 9], [10, 12]], [[5, 9]], 3),
        ([[1, 5], [9, 10], [11]], [[5], [9]], 2),
        ([[1, 2], [3, 4]], [], 2),
        ([[10], [11]], [], 1),
        ([[5, 9]], [[5, 9]], 1),
    ],
)
def test_within_is_half_open_and_stops_at_the_page_that_reaches_the_end(
    pages: list[list[int]], found: list[list[int]], asked: int
) -> None:
    read = 0

    async def history() -> AsyncIterator[list[Tick]]:
        nonlocal read
        for page in pages:
            read += 1
            yield [tick(event_us=at) for at in page]

    async def collected() -> list[list[int]]:
        return [[one.event_us for one in page] async for page in within(history(), 5, 10)]

    assert asyncio.run(collected()) == found
    assert read == asked


def test_windows_cover_the_range_once() -> None:
    assert list(windows(3, 10, 3)) == [(3, 6), (6, 9), (9, 10)]
    assert list(windows(3, 9, 3)) == [(3, 6), (6, 9)]
    assert list(windows(3, 3, 3)) == list(windows(4, 3, 3)) == []
