"""Bodies in memory: bounded, never mixed up; questions that are asked once for all who wait."""

import asyncio
from typing import Any

import pytest

from api.caching import Bodies, Body, Latest, coding_of, encode, matching


def rendered(bodies: Bodies, name: str, size: int) -> bool:
    """Ask for a body; whether it had to be rendered."""
    made = []

    async def render() -> Body:
        made.append(name)
        return Body(name.encode() * size)

    body = asyncio.run(bodies.body(name, render))
    assert body.content == name.encode() * size
    return bool(made)


def test_bodies_stay_within_their_room_and_the_least_used_goes() -> None:
    bodies = Bodies(max_bytes=400)
    assert all(rendered(bodies, name, 100) for name in "abcd")
    assert not rendered(bodies, "a", 100)  # now b is the one that nobody asked for
    assert rendered(bodies, "e", 100)
    assert (bodies.bytes, len(bodies), bodies.evicted, bodies.hits, bodies.misses) == (400, 4, 1, 1, 5)
    assert [name for name in "acde" if rendered(bodies, name, 100)] == []
    assert rendered(bodies, "b", 100)


def test_body_larger_than_a_quarter_of_the_room_is_not_kept() -> None:
    bodies = Bodies(max_bytes=400)
    assert rendered(bodies, "a", 101) and rendered(bodies, "a", 101)
    assert bodies.bytes == 0


def test_codings_count_and_leave_with_their_body() -> None:
    async def run() -> None:
        bodies = Bodies(max_bytes=8_000)

        async def render() -> Body:
            return Body(b"x" * 2_000)

        body = await bodies.body("a", render)
        packed = await bodies.encoded("a", body, "gzip")
        assert bodies.bytes == 2_000 + len(packed)
        assert await bodies.encoded("a", body, "gzip") is packed
        for name in "bcde":
            await bodies.body(name, render)
        assert bodies.bytes == 8_000 and bodies.evicted == 1
        await bodies.encoded("a", body, "zstd")
        assert bodies.bytes == 8_000  # of what is not held nothing is counted

    asyncio.run(run())


def test_body_is_rendered_once_for_all_who_wait_and_a_failure_is_not_kept() -> None:
    async def run() -> None:
        bodies, calls = Bodies(), 0

        async def render() -> Body:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0)
            if calls == 1:
                raise RuntimeError("down")
            return Body(b"x")

        first = await asyncio.gather(*(bodies.body("a", render) for _ in range(5)), return_exceptions=True)
        assert [str(error) for error in first] == ["down"] * 5 and calls == 1
        again = await asyncio.gather(*(bodies.body("a", render) for _ in range(5)))
        assert calls == 2 and all(body is again[0] for body in again)
        assert (bodies.misses, bodies.bytes) == (10, 1)

    asyncio.run(run())


def test_coding_is_the_same_bytes_each_time() -> None:
    assert encode(b"a" * 5_000, "gzip") == encode(b"a" * 5_000, "gzip")


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (None, None),
        ("", None),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("identity", None),
        ("*", "zstd"),
        ("zstd;q=0, *", "gzip"),
        ("zstd;q=0, gzip;q=0", None),
        ("gzip;q=x", None),
    ],
)
def test_coding_is_the_best_one_that_is_taken(header: str | None, coding: str | None) -> None:
    assert coding_of(header, 5_000) == coding
    assert coding_of(header, 10) is None


def test_matching_knows_every_coding_of_a_body_and_no_other_body() -> None:
    assert matching('"abc-gzip"', '"abc"') == '"abc-gzip"'
    assert matching('W/"abc"', '"abc"') == '"abc"'
    assert matching('"abcd", "ab"', '"abc"') is None
    assert matching(None, '"abc"') is None and matching("", '"abc"') is None


class Source:
    """Answers with how often it was asked when the question came, once it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()

    async def question(self) -> int:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        return number


def test_latest_shares_the_next_question_and_never_an_earlier_answer() -> None:
    async def run() -> list[Any]:
        source, latest = Source(), Latest[int]()
        first = asyncio.ensure_future(latest.ask("k", source.question))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert source.asked == 1
        later = [asyncio.ensure_future(latest.ask("k", source.question)) for _ in range(5)]
        await asyncio.sleep(0)
        source.gate.set()
        answers = await asyncio.gather(first, *later)
        alone = await latest.ask("k", source.question)
        return [*answers, alone]

    assert asyncio.run(run()) == [1, 2, 2, 2, 2, 2, 3]


def test_latest_error_reaches_everyone_who_asked_and_nobody_else() -> None:
    async def run() -> None:
        latest = Latest[int]()

        async def fail() -> int:
            await asyncio.sleep(0)
            raise RuntimeError("down")

        async def work() -> int:
            return 7

        found = await asyncio.gather(*(latest.ask("k", fail) for _ in range(3)), return_exceptions=True)
        assert [str(error) for error in found] == ["down"] * 3
        assert await latest.ask("k", work) == 7

    asyncio.run(run())


def test_latest_caller_that_leaves_does_not_take_the_others_along() -> None:
    async def run() -> int:
        source, latest = Source(), Latest[int]()
        first = asyncio.ensure_future(latest.ask("k", source.question))
        await asyncio.sleep(0)
        gone, stays = (asyncio.ensure_future(latest.ask("k", source.question)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        gone.cancel()
        source.gate.set()
        return await stays

    assert asyncio.run(run()) == 2
