"""Sets of time as sorted half-open ranges of epoch microseconds that neither touch nor overlap."""

from collections.abc import Iterable, Sequence

Range = tuple[int, int]
Ranges = list[Range]


def union(*many: Iterable[Range]) -> Ranges:
    """Everything that is in any of them; their ranges may come in any order, overlapping or empty.

    >>> union([(5, 7), (0, 2)], [(2, 3), (6, 9), (4, 4)])
    [(0, 3), (5, 9)]
    """
    joined: Ranges = []
    for start, end in sorted(one for ranges in many for one in ranges if one[0] < one[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def both(left: Iterable[Range], right: Iterable[Range]) -> Ranges:
    """What is in each of the two.

    >>> both([(0, 4), (6, 9)], [(3, 7)])
    [(3, 4), (6, 7)]
    """
    ones, others, found = union(left), union(right), []
    at = other = 0
    while at < len(ones) and other < len(others):
        start, end = max(ones[at][0], others[other][0]), min(ones[at][1], others[other][1])
        if start < end:
            found.append((start, end))
        if ones[at][1] < others[other][1]:
            at += 1
        else:
            other += 1
    return found


def without(left: Iterable[Range], right: Iterable[Range]) -> Ranges:
    """What is in the first and not in the second.

    >>> without([(0, 9)], [(2, 3), (8, 20)])
    [(0, 2), (3, 8)]
    """
    ones = union(left)
    return both(ones, _outside(ones, union(right))) if ones else []


def cut(ranges: Iterable[Range], step: int) -> Ranges:
    """The ranges in pieces that cross no multiple of `step`.

    >>> cut([(1, 5), (8, 9)], 4)
    [(1, 4), (4, 5), (8, 9)]
    """
    pieces: Ranges = []
    for start, end in ranges:
        while start < end:
            edge = min(end, start - start % step + step)
            pieces.append((start, edge))
            start = edge
    return pieces


def length(ranges: Iterable[Range]) -> int:
    """Microseconds in all."""
    return sum(end - start for start, end in ranges)


def _outside(frame: Sequence[Range], ranges: Ranges) -> Ranges:
    """The holes between ranges, from the start of the frame to its end."""
    start, end = frame[0][0], frame[-1][1]
    edges = [start, *(edge for one in ranges for edge in one), end]
    return [(at, until) for at, until in zip(edges[::2], edges[1::2], strict=True) if at < until]
