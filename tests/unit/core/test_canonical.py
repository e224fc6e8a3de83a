"""Equal bars have equal lines, whatever form their numbers come in; bars that differ anywhere do not."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from core.canonical import BAR_VALUES, amount_text, bar_line, digest, indicator_values, tick_line
from core.records import BAR_DELIVERY, BAR_PROVENANCE
from tests.factories import bar, tick


def line(**changes: Any) -> bytes:
    return bar_line(msgspec.structs.asdict(bar(**changes)))


def test_form_makes_no_difference_and_value_does() -> None:
    assert line(high=Decimal("190.25")) == line() == line(high=Decimal("190.2500000000"))
    assert line(high=Decimal("190.25000001")) != line()
    assert line(notional=Decimal("12345678901234567890123.0000000000000001")) != line(
        notional=Decimal("12345678901234567890123.0000000000000002")
    )
    assert [amount_text(Decimal(text)) for text in ("1E+3", "0E-8", "100", "0.50")] == ["1000", "0", "100", "0.5"]


@pytest.mark.parametrize("field", BAR_VALUES)
def test_every_value_counts(field: str) -> None:
    held = msgspec.structs.asdict(bar())
    other = "other" if isinstance(held[field], str) or held[field] is None else held[field] + 1
    assert bar_line(held | {field: other}) != bar_line(held)


@pytest.mark.parametrize("field", sorted(BAR_PROVENANCE | BAR_DELIVERY))
def test_delivery_and_computation_do_not(field: str) -> None:
    held = msgspec.structs.asdict(bar())
    assert bar_line(held | {field: 77}) == bar_line(held)


def test_indicators_are_part_of_it() -> None:
    held = msgspec.structs.asdict(bar())
    assert indicator_values({"b": -0.0, "a": float("nan"), "c": 1.5}) == {"a": None, "b": 0.0, "c": 1.5}
    assert bar_line(held, {"x": 1.0}) != bar_line(held, {"x": 1.0000000000000002}) != bar_line(held)
    assert bar_line(held, {"x": -0.0}) == bar_line(held, {"x": 0.0})


def test_ticks_are_what_the_feed_told() -> None:
    assert tick_line(tick(price="190.250")) == tick_line(tick(price="190.25", received_us=9))
    assert tick_line(tick(price="190.26")) != tick_line(tick())
    assert tick_line(tick(conditions="1")) != tick_line(tick())


def test_order_counts_in_a_hash() -> None:
    assert digest([b"a", b"b"]) != digest([b"b", b"a"]) != digest([b"ab"])
    assert len(digest([])) == 64
