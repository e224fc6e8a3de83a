"""What several wire formats share: the order of trades that a provider does not number."""

from itertools import count

from producers.feeds.decoding import Ordinals

SECOND_US = 1_000_000


def test_late_trades_get_numbers_that_none_before_had() -> None:
    """A busy symbol has hundreds of times within the seconds that a trade may be late."""
    numbers = Ordinals()
    first = 1_700_000_000 * SECOND_US
    taken = {(first, numbers.next("TSLA", first))}
    for step in range(1, 500):
        at = first + step * 10_000
        taken.add((at, numbers.next("TSLA", at)))
    late = [numbers.next("TSLA", first) for _ in range(3)]
    assert late == [number + 1 for number in (*[min(n for at, n in taken if at == first)], late[0], late[1])]
    assert numbers.next("AAPL", first) == min(n for at, n in taken if at == first), "each symbol counts for itself"


def test_same_messages_after_a_reconnect_get_the_same_numbers() -> None:
    times = [7 * SECOND_US, 7 * SECOND_US, 6 * SECOND_US, 90 * SECOND_US, 7 * SECOND_US]
    one, other = Ordinals(), Ordinals()
    assert [one.next("X", at) for at in times] == [other.next("X", at) for at in times]


def test_what_is_long_over_is_forgotten_but_never_the_time_just_counted() -> None:
    numbers = Ordinals()
    for at in range(0, 4000 * SECOND_US, SECOND_US):
        numbers.next("X", at)
    kept = numbers._seen["X"]._counts
    assert len(kept) <= 2 * 61 + 64 and min(kept) >= (3999 - 130) * SECOND_US
    old = next(at for at in count(0) if at not in kept)
    assert [numbers.next("X", old) % 1024 for _ in range(3)] == [0, 1, 2]
