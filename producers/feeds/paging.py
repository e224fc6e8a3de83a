"""Histories piece by piece: the part of one that was asked for, ranges that fit one request, places known by number."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from core.records import Tick


async def within(pages: AsyncIterator[list[Tick]], start_us: int, end_us: int) -> AsyncIterator[list[Tick]]:
    """The ticks of `[start_us, end_us)` in pages that go on in time; no page after the one that reaches the end."""
    async for page in pages:
        if ticks := [tick for tick in page if start_us <= tick.event_us < end_us]:
            yield ticks
        if page[-1].event_us >= end_us:
            return


def windows(start_us: int, end_us: int, step_us: int) -> Iterator[tuple[int, int]]:
    """`[start_us, end_us)` in half-open parts of `step_us`, the last one shorter.

    >>> list(windows(0, 5, 2)), list(windows(3, 3, 2))
    ([(0, 2), (2, 4), (4, 5)], [])
    """
    for at in range(start_us, end_us, step_us):
        yield at, min(at + step_us, end_us)


async def first_where(low: int, high: int, holds: Callable[[int], Awaitable[bool]]) -> int:
    """The smallest number of `[low, high)` for which `holds`, or `high` for none.

    `holds` must be false below some number and true from it on; it is asked once for each halving of the range.
    """
    while low < high:
        middle = (low + high) // 2
        if await holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
