"""When a record is a tick, reason by reason, and for any number that could be written."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidTick
from core.records import MAX_TEXT_LENGTH, MIN_EVENT_US, SEQ_LIMIT, Tick, to_scaled
from core.validate import REASONS, check
from tests.factories import MONDAY_US, heartbeat, tick


def reason(record: Tick, **options: Any) -> str | None:
    try:
        check(record, **options)
    except InvalidTick as problem:
        return problem.reason
    return None


REFUSED = [
    ("version", {"v": 2}),
    ("symbol", {"symbol": ""}),
    ("symbol", {"symbol": "A" * 33}),
    ("symbol", {"symbol": "A B"}),
    ("symbol", {"symbol": "AAPL\n"}),
    ("symbol", {"symbol": "ÄÖ"}),
    ("kind", {"kind": "quote"}),
    ("event_time", {"event_us": MIN_EVENT_US - 1}),
    ("event_time", {"event_us": MONDAY_US // 1000}),
    ("text", {"source": ""}),
    ("text", {"conditions": "F" * (MAX_TEXT_LENGTH + 1)}),
    ("text", {"trade_id": "a\x00b"}),
    ("seq", {"seq": SEQ_LIMIT}),
    ("seq", {"seq": -SEQ_LIMIT}),
    ("price", {"price": None}),
    ("price", {"price": ""}),
    ("price", {"price": "0"}),
    ("price", {"price": "0.000"}),
    ("price", {"price": "-1"}),
    ("price", {"price": "+1"}),
    ("price", {"price": "1e3"}),
    ("price", {"price": "NaN"}),
    ("price", {"price": "inf"}),
    ("price", {"price": ".5"}),
    ("price", {"price": "5."}),
    ("price", {"price": " 5"}),
    ("price", {"price": "5\n"}),
    ("price", {"price": "٣"}),
    ("price", {"price": "10000000000"}),
    ("price", {"price": "1.000000001"}),
    ("size", {"size": None}),
    ("size", {"size": "-0"}),
    ("size", {"size": "1_000"}),
    ("notional", {"price": "9999999999", "size": "1001"}),
    ("trade_ref", {"kind": "correct"}),
    ("trade_ref", {"kind": "cancel", "trade_id": ""}),
]


@pytest.mark.parametrize(("expected", "changes"), REFUSED)
def test_check_broken_field_names_its_reason(expected: str, changes: dict[str, Any]) -> None:
    assert reason(tick(**changes)) == expected
    assert expected in REASONS


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"symbol": "A" * 32},
        {"symbol": "XRP/ETH"},
        {"size": "0"},
        {"size": "0.00000001"},
        {"price": "0.00000001"},
        {"seq": 1 - SEQ_LIMIT},
        {"event_us": MIN_EVENT_US},
        {"conditions": "F" * (MAX_TEXT_LENGTH - len("test"))},
        {"kind": "correct", "trade_id": "1"},
        {"kind": "cancel", "trade_id": "1", "price": None, "size": None},
    ],
)
def test_check_good_record_passes(changes: dict[str, Any]) -> None:
    assert reason(tick(**changes)) is None


def test_check_heartbeat_needs_no_numbers_and_no_symbol_master() -> None:
    assert reason(heartbeat(), known_symbols=frozenset({"MSFT"})) is None


def test_check_strict_master_refuses_strangers() -> None:
    assert reason(tick(), known_symbols=frozenset({"MSFT"})) == "unknown_symbol"
    assert reason(tick(), known_symbols=frozenset({"AAPL"})) is None


def test_check_future_is_beyond_the_tolerance_only() -> None:
    at = tick(event_us=MONDAY_US + 10)
    assert reason(at, now_us=MONDAY_US, future_tolerance_us=10) is None
    assert reason(at, now_us=MONDAY_US, future_tolerance_us=9) == "future"


def test_check_first_reason_wins_in_the_order_of_the_table() -> None:
    assert reason(tick(v=2, symbol="", price="-1")) == "version"
    assert reason(tick(symbol="", price="-1")) == "symbol"


@given(st.text(max_size=24) | st.from_regex(r"-?[0-9]{0,12}(\.[0-9]{0,10})?(e[0-9])?", fullmatch=True))
def test_check_price_accepts_exactly_the_positive_scalable_numbers(text: str) -> None:
    accepted = reason(tick(price=text, size="0")) is None
    if accepted:
        units = to_scaled(text)
        assert 0 < units < 10**18
        assert Decimal(text) * 10**8 == units


@given(st.integers(1, 10**18 - 1))
def test_check_every_scaled_price_is_accepted_as_text(units: int) -> None:
    text = f"{units // 10**8}.{units % 10**8:08d}"
    assert reason(tick(price=text, size="0")) is None
