"""One bar taken apart: the parts add up to the bar, and each says what it was."""

import random
from typing import Any

import msgspec
import pytest

from core import rulesets
from core.bars import fold_bars
from core.corrections import Placed, corrected
from core.explaining import Explained, Role, Span, explain
from core.intervals import INTERVALS
from core.records import Tick
from core.version import definition_hash
from tests.factories import MONDAY_US, tick

MINUTE_US = 60_000_000
SPAN = Span("1m", MINUTE_US, MONDAY_US)
ALL = rulesets.load("all")
EQUITY = rulesets.load("us-equity")
OPEN_US = 1_381_152_600_000_000  # 2013-10-07 09:30 in New York


def trade(number: int, at: int = 0, **changes: Any) -> Tick:
    return tick(event_us=MONDAY_US + at, seq=number, trade_id=f"t{number}", venue="X", **changes)


def told(of: Tick, kind: str, **changes: Any) -> Tick:
    bare = {"price": None, "size": None} if kind == "cancel" else {}
    return msgspec.structs.replace(of, kind=kind, event_us=of.event_us + 7 * MINUTE_US, **bare | changes)


def placed(*ticks: Tick) -> list[Placed]:
    return [(each, 0, offset) for offset, each in enumerate(ticks)]


def by_offset(found: Explained) -> dict[int | None, Role]:
    return {role.record[2]: role for role in found.roles}


def test_every_record_says_what_it_was() -> None:
    first, high, low = trade(1, 5), trade(2, 10, price="200"), trade(3, 20, price="180")
    gone, outside = trade(4, 30, price="999"), trade(9, -1)
    log = placed(
        high, first, low, first, gone, told(gone, "cancel"), told(low, "correct", price="179", received_us=1),
        told(low, "correct", price="181", received_us=2), outside, trade(10, MINUTE_US), told(outside, "cancel"),
    )  # fmt: skip
    found = explain(log, SPAN, ALL)
    roles = by_offset(found)
    assert {offset: role.part for offset, role in roles.items()} == {
        0: "counted", 1: "counted", 2: "counted", 3: "duplicate", 4: "cancelled", 5: "cancel", 6: "correction",
        7: "correction",
    }  # fmt: skip
    assert roles[1].made == ("open", "volume") and roles[0].made == ("high", "volume")
    assert roles[2].made == ("low", "close", "volume")
    assert roles[3].by == log[1] and roles[4].by == log[5]
    assert roles[2].corrected_by == log[7] and roles[2].counted is not None and roles[2].counted.price == "181"
    assert roles[2].record[0].price == "180", "the record is shown as it came"
    assert found.bar is not None and (found.bar.trade_count, str(found.bar.low)) == (3, "181.00000000")
    assert [role.record[2] for role in found.roles][:2] == [1, 3], "by time"


def test_conditions_keep_records_out_of_what_they_may_not_touch() -> None:
    def print_(number: int, conditions: str | None, price: str) -> Tick:
        return tick(event_us=OPEN_US + number, seq=number, trade_id=f"p{number}", conditions=conditions, price=price)

    log = placed(print_(1, "20", "500"), print_(2, "1", "100"), print_(3, "1000000", "700"), print_(4, None, "101"))
    found = explain(log, Span("1m", MINUTE_US, OPEN_US), EQUITY)
    roles = by_offset(found)
    assert roles[0].part == "counted" and roles[0].may == ("volume",) and roles[0].made == ("volume",)
    assert roles[1].made == ("open", "low", "volume") and roles[3].made == ("high", "close", "volume")
    assert roles[2].part == "excluded" and roles[2].may == ()
    assert EQUITY.reasons("1000000", OPEN_US) == ["official prints repeat an auction"]
    assert EQUITY.reasons("1", OPEN_US) == [] and ALL.reasons("1000000", OPEN_US) == []


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_add_up_to_the_bar_of_the_definition(seed: int) -> None:
    rng, log = random.Random(seed), []
    for _ in range(200):
        each = trade(rng.randrange(60), rng.randrange(-5, 70) * 1_000_000, price=str(rng.randrange(50, 60)))
        kind = rng.choice(["trade"] * 8 + ["correct", "cancel"])
        log.append(each if kind == "trade" else told(each, kind, received_us=rng.randrange(99)))
    log = placed(*log)
    found = explain(rng.sample(log, len(log)), SPAN, ALL)
    (expected,) = [bar for bar in fold_bars(corrected(log), [INTERVALS["1m"]], ALL) if bar.start == MONDAY_US]
    assert found.bar == expected
    counted = [role for role in found.roles if role.part == "counted"]
    assert len(counted) == expected.trade_count == len(found.trades)
    for field in ("open", "close", "high", "low"):
        value = getattr(expected, field)
        (maker,) = [role for role in counted if field in role.made]
        assert value is not None and maker.counted is not None and float(maker.counted.price or 0) == float(value)
    assert sum(float(role.counted.size or 0) for role in counted if role.counted) == float(expected.volume)


def test_a_span_of_a_day_is_not_aligned_to_the_epoch() -> None:
    start = MONDAY_US - 3 * MINUTE_US
    log = placed(trade(1, -2 * MINUTE_US), trade(2, 200 * MINUTE_US, price="7"), trade(3, 24 * 60 * MINUTE_US))
    found = explain(log, Span("1d", 24 * 60 * MINUTE_US, start), ALL)
    assert found.bar is not None and (found.bar.interval, found.bar.start, found.bar.trade_count) == ("1d", start, 2)
    assert str(found.bar.close) == "7.00000000"


def test_nothing_that_counts_is_no_bar() -> None:
    only = trade(1)
    found = explain(placed(only, told(only, "cancel")), SPAN, ALL)
    assert found.bar is None and found.trades == [] and [role.part for role in found.roles] == ["cancelled", "cancel"]
    assert explain([], SPAN, ALL) == Explained(None, [], [])


def test_the_definition_has_a_hash() -> None:
    assert len(definition_hash()) == 12 and definition_hash() == definition_hash()


def test_a_copy_counts_in_one_bar_only_whichever_side_of_the_edge_it_lies() -> None:
    before, inside = trade(1, -1), msgspec.structs.replace(trade(1, 5), price="7")
    found = explain(placed(before, inside), SPAN, ALL)
    (role,) = found.roles
    assert (role.part, role.by, found.bar) == ("duplicate", (before, 0, 0), None)
    (other,) = explain(placed(inside, before), SPAN, ALL).roles
    assert other.part == "counted" and "open" in other.made
