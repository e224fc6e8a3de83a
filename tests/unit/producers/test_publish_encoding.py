"""One record, two encoders: the Struct's and the bulk one say the same."""

import json

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import ManualClock
from core.records import MAX_TEXT_LENGTH, Tick
from producers.bulk import bodies, decimal_text, refused, stamp, with_suffix
from producers.defects import BROKEN
from producers.publish import encode
from tests.factories import MONDAY_US, heartbeat, tick

ALWAYS = {"v", "symbol", "event_us", "seq", "kind", "source", "received_us"}
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def frame(*ticks: Tick) -> pd.DataFrame:
    made = pd.DataFrame([msgspec.structs.asdict(one) for one in ticks]).drop(columns=["v", "received_us"])
    return made.astype({"reported_us": "Int64"})


def test_encode_always_has_what_every_reader_needs_and_nothing_that_is_absent() -> None:
    assert json.loads(encode(heartbeat())).keys() == ALWAYS
    assert json.loads(encode(tick(trade_id="1"))).keys() == ALWAYS | {"price", "size", "trade_id"}


@given(st.builds(tick, symbol=texts, trade_id=texts | st.none(), venue=texts | st.none(), conditions=texts | st.none(),
                 seq=st.integers(-(2**33), 2**33), reported_us=st.integers(0, 2**50) | st.none(),
                 source=texts))  # fmt: skip
def test_encode_round_trip_is_identity(one: Tick) -> None:
    assert msgspec.json.decode(encode(one), type=Tick) == one


@given(st.lists(st.builds(tick, symbol=texts, trade_id=texts | st.none(), venue=texts | st.none(), source=texts,
                          seq=st.integers(-(2**33), 2**33), reported_us=st.integers(0, 2**50) | st.none()),
                min_size=1, max_size=5))  # fmt: skip
def test_bulk_encoding_equals_the_struct_s(ticks: list[Tick]) -> None:
    received = ticks[0].received_us
    values = with_suffix(bodies(frame(*ticks)), stamp(received))
    assert [msgspec.json.decode(value, type=Tick) for value in values] == ticks


@pytest.mark.parametrize(
    ("value", "text"),
    [(167.41, "167.41"), (100.0, "100"), (0.001413, "0.001413"), (1e-05, "0.00001"), (1.413e-7, "0.0000001413"),
     (0.1 + 0.2, "0.30000000000000004"), (1e16, "10000000000000000"), (123456789.5, "123456789.5"),
     (float("nan"), "nan"), (0.0, "0")],
)  # fmt: skip
def test_decimal_text_is_the_shortest_without_exponent(value: float, text: str) -> None:
    assert decimal_text(pd.Series([1.5, value, 1.5])).tolist() == ["1.5", text, "1.5"]


@given(st.floats(0, 1e12))
def test_decimal_text_reads_back_as_the_same_double(value: float) -> None:
    (text,) = decimal_text(pd.Series([value]))
    assert float(text) == value and "e" not in text


def test_refused_condemns_exactly_what_validation_does() -> None:
    good = [tick(seq=n) for n in range(3)]
    bad = {
        "price": tick(price="nan"), "size": tick(size="-1"), "symbol": tick(symbol="A B"),
        "event_time": tick(event_us=1_000), "seq": tick(seq=1 << 33), "notional": tick(price="9999999999", size="1e9"),
        "text": tick(venue="V" * (MAX_TEXT_LENGTH - 8), conditions="F" * 8),
        "future": tick(event_us=MONDAY_US + 7_000_001),
    }  # fmt: skip
    bad["notional"] = tick(price="9999999999", size="9999999")
    rows = frame(*good, *bad.values())
    problems = refused(rows, None, ManualClock(MONDAY_US + 2_000_000), 5_000_000)
    assert {position: problem.reason for position, problem in problems.items()} == {
        len(good) + n: reason for n, reason in enumerate(bad)
    }


def test_refused_strict_master_names_the_stranger() -> None:
    problems = refused(frame(tick(), tick(symbol="IBM")), frozenset({"AAPL"}), ManualClock(MONDAY_US), 0)
    assert {position: problem.reason for position, problem in problems.items()} == {1: "unknown_symbol"}


def test_bodies_of_nothing_are_nothing() -> None:
    assert bodies(frame(tick()).iloc[:0]) == []


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.reason)
def test_broken_records_are_no_ticks_for_their_reason(broken: object) -> None:
    from core.errors import InvalidTick
    from core.validate import REASONS, check

    value = broken.make(MONDAY_US)  # type: ignore[attr-defined]
    reason = broken.reason  # type: ignore[attr-defined]
    assert reason in REASONS
    try:
        decoded = msgspec.json.decode(value, type=Tick)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # not JSON, or a field missing or of another type
    with pytest.raises(InvalidTick) as problem:
        check(decoded)
    assert problem.value.reason == reason


def test_every_distinct_price_keeps_its_row() -> None:
    values = np.round(np.random.default_rng(1).uniform(1, 500, 5_000), 2)
    assert [float(text) for text in decimal_text(pd.Series(values))] == values.tolist()
