"""What was published of late, against a list that is searched from end to end."""

from hypothesis import given
from hypothesis import strategies as st

from core.records import Tick
from producers.live.published import Published
from tests.factories import tick

KEPT_US, REACH_US = 100, 12


def from_b(one: Tick) -> bool:
    return one.source == "b"


class Searched:
    """The same, by looking at everything ever published; the older ones are out of reach anyway."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []

    def take(self, wanted: Tick) -> Tick | None:
        alike = [one for one in self.ticks if (one.price, one.size) == (wanted.price, wanted.size) and from_b(one)]
        near = [one for one in alike if abs(one.event_us - wanted.event_us) <= REACH_US]
        if not near:
            return None
        found = min(near, key=lambda one: abs(one.event_us - wanted.event_us))
        self.ticks = [one for one in self.ticks if one is not found]
        return found


steps = st.tuples(
    st.booleans(),  # published or asked for
    st.integers(-15, 15),  # microseconds after the newest
    st.sampled_from(["1", "2"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from("ab"),
)


@given(st.lists(steps, max_size=120))
def test_the_nearest_alike_is_taken_once(moves: list[tuple[bool, int, str, str, str]]) -> None:
    published, searched, newest_us = Published(KEPT_US), Searched(), 1_000
    for is_new, step, price, size, source in moves:
        one = tick(event_us=newest_us + step, price=price, size=size, source=source)
        if is_new:
            published.add(one)
            searched.ticks.append(one)
            newest_us = max(newest_us, one.event_us)
        else:
            assert published.take(one, REACH_US, from_b) == (searched.take(one) is not None)
    kept = [one for one in searched.ticks if one.event_us >= newest_us - KEPT_US]
    assert len(published) >= len(kept)


def test_the_nearer_of_two_is_taken_and_the_other_one_stays() -> None:
    published = Published(KEPT_US)
    for at in (0, 4):
        published.add(tick(event_us=at, source="b"))
    assert published.take(tick(event_us=5), 2, from_b)
    assert not published.take(tick(event_us=5), 2, from_b), "the one at 0 is out of reach"
    assert published.take(tick(event_us=5), 5, from_b)


def test_what_is_old_is_forgotten_also_when_some_of_it_was_taken() -> None:
    published = Published(KEPT_US)
    for at in range(10_000):
        published.add(tick(event_us=at, price=str(at % 7)))
        if at % 3 == 0:
            assert published.take(tick(event_us=at, price=str(at % 7)), 0, lambda _: True)
    assert len(published) <= KEPT_US + 1
    assert not published.take(tick(event_us=500, price=str(500 % 7)), REACH_US, lambda _: True)
