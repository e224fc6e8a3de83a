"""Corrections and cancels over a tape: any interleaving says what the clean tape says."""

from collections import defaultdict

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from core.corrections import Placed, corrected
from core.records import Tick
from tests.factories import MONDAY_US, tick


def told(of: int, kind: str, price: int, received: int) -> Tick:
    """What is said of trade `of`: the trade itself, a correction or a cancel."""
    named = {"trade_id": str(of), "venue": "X" if of % 2 else None, "symbol": "AB"[of % 2]}
    if kind == "trade":
        return tick(event_us=MONDAY_US + of, seq=of, price=str(of + 1), received_us=received, **named)
    priced = {"price": str(price), "size": str(price)} if kind == "correct" else {"price": None, "size": None}
    return tick(kind=kind, event_us=MONDAY_US + 1_000 + received, received_us=received, **named, **priced)


records = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["trade", "correct", "correct", "cancel"]), st.integers(1, 9)),
    max_size=25,
)


@given(records, st.randoms(use_true_random=False))
def test_any_interleaving_says_what_the_clean_tape_says(said: list, rng) -> None:
    made: list[Placed] = [(told(of, kind, price, n), 0, n) for n, (of, kind, price) in enumerate(said)]
    by_trade: dict[int, list[Tick]] = defaultdict(list)
    for (of, _, _), (record, _, _) in zip(said, made, strict=True):
        by_trade[of].append(record)
    wanted = {}
    for of, group in by_trade.items():
        kinds = [record.kind for record in group]
        if "trade" in kinds and "cancel" not in kinds:
            last = [record for record in group if record.kind == "correct"][-1:] or [told(of, "trade", 0, 0)]
            wanted[str(of)] = (last[0].price, last[0].size, MONDAY_US + of, of)
    rng.shuffle(made)
    found = corrected(made)
    assert {each.trade_id: (each.price, each.size, each.event_us, each.seq) for each, _, _ in found} == wanted
    assert len(found) == len(wanted)


def test_conditions_stay_where_a_correction_has_none() -> None:
    trade = (tick(trade_id="1", conditions="a", seq=3), 1, 7)
    plain = (tick(kind="correct", trade_id="1", price="2", received_us=5), 0, 8)
    with_conditions = (msgspec.structs.replace(plain[0], conditions="b", received_us=4), 0, 9)
    found = corrected([with_conditions, trade, plain])
    assert [(each.price, each.conditions, each.seq, at, offset) for each, at, offset in found] == [("2", "a", 3, 1, 7)]
    assert corrected([trade, with_conditions])[0][0].conditions == "b"


def test_a_trade_of_another_venue_or_without_an_id_is_not_meant() -> None:
    others = [tick(trade_id="1", venue="Y"), tick(trade_id=None), tick(trade_id="1", symbol="MSFT")]
    cancel = tick(kind="cancel", trade_id="1", price=None, size=None)
    placed = [(each, 0, n) for n, each in enumerate([*others, cancel])]
    assert corrected(placed) == placed[:3]
