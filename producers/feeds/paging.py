"""Finding a place in a history that can be asked for by number only."""

from collections.abc import Awaitable, Callable


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
