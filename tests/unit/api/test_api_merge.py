"""Joining and filling, against slow oracles that restate the promise and not the code."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.merge import Fill, Row, Window, fill, join
from core.intervals import INTERVALS, MINUTE_US
from core.records import BAR_COLUMNS

ONE = INTERVALS["1m"]
M = MINUTE_US


def bar(minute: int, *, rev: int = 1, state: str = "final", close: str | None = "10", volume: str = "1") -> Row:
    """A one-minute bar as a store gives it, named by the minute it starts in."""
    price = None if close is None else Decimal(close)
    row: dict[str, Any] = dict.fromkeys(BAR_COLUMNS)
    row |= {"symbol": "A", "interval": "1m", "start": minute * M, "end": (minute + 1) * M, "rev": rev, "state": state}
    row |= {"open": price, "high": price, "low": price, "close": price}
    return row | {"volume": Decimal(volume), "notional": Decimal(1), "trade_count": 1}


bars = st.builds(
    bar,
    st.integers(0, 30),
    rev=st.integers(1, 3),
    state=st.sampled_from(["forming", "final", "amended"]),
    close=st.one_of(st.none(), st.integers(1, 9).map(str)),
)
distinct = st.lists(bars, max_size=20, unique_by=lambda row: row["start"])
edges = st.one_of(  # wide ranges as often as random ones: the rows that matter lie inside
    st.tuples(st.integers(0, 31 * M), st.integers(0, 31 * M)).map(sorted), st.just([0, 31 * M])
)


@given(distinct, distinct, edges)
def test_join_any_two_sources_each_start_once_ascending_inside(stored: list[Row], tail: list[Row], edge: Any) -> None:
    start, end = edge
    starts = [row["start"] for row in join(stored, tail, start, end)]
    assert starts == sorted({row["start"] for row in stored + tail if start <= row["start"] < end})


@given(distinct, distinct)
def test_join_any_start_nothing_better_was_left_out(stored: list[Row], tail: list[Row]) -> None:
    given_rows = stored + tail
    for row in join(stored, tail, 0, 100 * M):
        rivals = [rival for rival in given_rows if rival["start"] == row["start"]]
        assert row in rivals
        assert row["rev"] == max(rival["rev"] for rival in rivals)
        settled = {rival["state"] for rival in rivals if rival["rev"] == row["rev"]} - {"forming"}
        assert row["state"] != "forming" or not settled


@given(distinct, distinct)
def test_join_sides_swapped_same_winners(stored: list[Row], tail: list[Row]) -> None:
    keys = [(row["start"], row["rev"], row["state"] == "forming") for row in join(stored, tail, 0, 100 * M)]
    swapped = [(row["start"], row["rev"], row["state"] == "forming") for row in join(tail, stored, 0, 100 * M)]
    assert keys == swapped


@given(distinct, distinct, st.lists(st.integers(0, 31 * M), min_size=3, max_size=3).map(sorted))
def test_join_adjacent_ranges_concatenate_to_the_whole(stored: list[Row], tail: list[Row], cuts: list[int]) -> None:
    low, middle, high = cuts
    parts = join(stored, tail, low, middle) + join(stored, tail, middle, high)
    assert parts == join(stored, tail, low, high)


def test_join_forming_of_higher_revision_wins() -> None:
    assert join([bar(1)], [bar(1, rev=2, state="forming")], 0, 9 * M)[0]["rev"] == 2
    assert join([bar(1, rev=2, state="amended")], [bar(1, state="forming")], 0, 9 * M)[0]["state"] == "amended"


def test_join_edges_are_half_open() -> None:
    assert [row["start"] for row in join([bar(1), bar(2)], [bar(3)], M, 3 * M)] == [M, 2 * M]
    assert join([bar(1)], [], M + 1, 2 * M) == []


def oracle(
    rows: list[Row], prior: Row | None, window: Window, mode: Fill, until: int, hours: list[int] | None
) -> list[tuple[int, Any, bool]]:
    """(start, close, synthetic) of every slot, minute by minute over the whole range, then cut."""
    real = {row["start"]: row for row in rows}
    begun, close = prior is not None, None if prior is None else prior["close"]
    last = max(real, default=-1)
    out: list[tuple[int, Any, bool]] = []
    for slot in range(0, 64 * M, M):
        if not window.start <= slot < window.end:
            continue
        if slot in real:
            begun, close = True, close if real[slot]["close"] is None else real[slot]["close"]
            out.append((slot, real[slot]["close"], False))
        elif hours is not None and slot // M not in hours:
            continue
        elif begun and mode != "none" and (slot < last or slot < until):
            out.append((slot, close if mode == "prev" else None, True))
    return out[-window.limit :] if window.newest else out[: window.limit]


@settings(max_examples=1000)  # eight inputs: a hundred left a wrong carry over an unpriced bar unseen
@given(
    distinct,
    st.one_of(st.none(), st.builds(bar, st.just(-3), close=st.one_of(st.none(), st.just("7")))),
    edges,
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from(["none", "null", "prev"]),
    st.integers(0, 40 * M),
    st.one_of(st.none(), st.lists(st.integers(0, 40), unique=True).map(sorted)),
)
def test_fill_any_range_equals_minute_by_minute_oracle(
    rows: list[Row],
    prior: Row | None,
    edge: Any,
    limit: int,
    newest: bool,
    mode: Fill,
    until: int,
    hours: list[int] | None,
) -> None:
    window = Window(edge[0], edge[1], limit, newest)
    inside = join(rows, [], *edge)

    def open_in(start: int, end: int) -> list[tuple[int, int]]:
        spans = [(max(start, minute * M), min(end, (minute + 1) * M)) for minute in hours or ()]
        return [(low, high) for low, high in spans if low < high]

    filled = fill(inside, prior, window, ONE, mode, until, None if hours is None else open_in)
    got = [(row["start"], row["close"], row["state"] == "synthetic") for row in filled]
    assert got == oracle(inside, prior, window, mode, until, hours)


@given(distinct, st.integers(1, 40), st.booleans(), st.sampled_from(["null", "prev"]))
def test_fill_real_rows_pass_unchanged(rows: list[Row], limit: int, newest: bool, mode: Fill) -> None:
    given_rows = join(rows, [], 0, 100 * M)
    for row in fill(given_rows, None, Window(0, 100 * M, limit, newest), ONE, mode):
        assert (row["state"] == "synthetic") != (row in given_rows)


@pytest.mark.parametrize(("mode", "price"), [("prev", Decimal("10.5")), ("null", None)])
def test_fill_gap_row_is_marked_and_empty(mode: Fill, price: Decimal | None) -> None:
    _, made, _ = fill([bar(1, close="10.5"), bar(3)], None, Window(0, 9 * M, 10, False), ONE, mode)
    assert (made["start"], made["end"], made["state"], made["rev"]) == (2 * M, 3 * M, "synthetic", 0)
    assert [made[name] for name in ("open", "high", "low", "close")] == [price] * 4
    assert (made["volume"], made["notional"], made["trade_count"], made["vwap"]) == (0, 0, 0, None)
    assert set(made) == set(BAR_COLUMNS)


def test_fill_centuries_wide_range_costs_only_the_limit() -> None:
    wide = Window(0, 253_402_300_799_999_999, 5, True)
    rows = fill([bar(1)], None, wide, INTERVALS["1m"], "prev", wide.end)
    assert len(rows) == 5 and rows[-1]["end"] >= wide.end


def test_fill_other_interval_steps_by_its_length() -> None:
    five = INTERVALS["5m"]
    ends = [dict(bar(0)) | {"end": 5 * M}, dict(bar(15)) | {"end": 20 * M}]
    assert [row["start"] // M for row in fill(ends, None, Window(0, 60 * M, 9, False), five, "null")] == [0, 5, 10, 15]


def test_fill_prev_after_a_bar_without_price_carries_the_last_known_close() -> None:
    given_rows = [bar(0, close="10"), bar(1, close=None), bar(3, close="12")]
    closes = [row["close"] for row in fill(given_rows, None, Window(0, 9 * M, 9, False), ONE, "prev")]
    assert closes == [Decimal(10), None, Decimal(10), Decimal(12)]
    newest = fill(given_rows, None, Window(0, 9 * M, 2, True), ONE, "prev")
    assert [row["close"] for row in newest] == [Decimal(10), Decimal(12)]


@pytest.mark.parametrize(("newest", "expected"), [(True, [20, 31, 32]), (False, [1, 2, 10])])
def test_fill_within_hours_counts_the_limit_from_the_wanted_side(newest: bool, expected: list[int]) -> None:
    def hours(start: int, end: int) -> list[tuple[int, int]]:
        assert (start, end) == (0, 40 * M)
        return [(minute * M, (minute + 1) * M) for minute in (1, 2, 10, 31, 32)]

    window = Window(0, 40 * M, 3, newest)
    rows = fill([bar(20)], bar(-1), window, ONE, "prev", 40 * M, hours)  # the bar itself may lie outside
    assert [row["start"] // M for row in rows] == expected
    assert [row["state"] == "synthetic" for row in rows] == [minute != 20 for minute in expected]
