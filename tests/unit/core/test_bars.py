"""The fold against a pandas oracle, under any order, any repetition, any interval."""

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import rulesets
from core.bars import BAR_RULES, fold_bars, identity
from core.intervals import INTERVALS
from core.records import BAR_COLUMNS, Bar, Tick
from producers.feeds.decoding import Ordinals
from tests.factories import MONDAY_US, tick
from tests.unit.core import pandas_oracle

ALL, US = rulesets.load("all"), rulesets.load("us-equity")
EVERY = tuple(INTERVALS.values())


def fold(ticks: list[Tick], ruleset: rulesets.Ruleset = ALL) -> list[Bar]:
    return fold_bars(((one, None, None) for one in ticks), EVERY, ruleset)


def decimals(limit: int, least: int) -> st.SearchStrategy[str]:
    return st.builds(lambda n, places: f"{Decimal(n).scaleb(-places):f}", st.integers(least, limit), st.integers(0, 8))


@st.composite
def trades(draw: st.DrawFn) -> list[Tick]:
    """Trades of two symbols within 35 minutes, many at one instant, with ids or without."""
    count = draw(st.integers(1, 25))
    return [
        tick(
            symbol=draw(st.sampled_from(["AAPL", "XRP/ETH"])),
            event_us=MONDAY_US + draw(st.integers(0, 70)) * 30_000_000 + draw(st.sampled_from([0, 1, 29_999_999])),
            price=draw(decimals(10_000, 1)),
            size=draw(decimals(10_000, 0)),
            seq=number,
            trade_id=draw(st.sampled_from([None, "", f"t{number}"])),
            received_us=MONDAY_US + draw(st.integers(0, 10**6)),
        )
        for number in range(count)
    ]


@given(trades(), st.data())
@settings(max_examples=150, deadline=None)
def test_fold_bars_equals_pandas_in_any_order_with_any_repeats(ticks: list[Tick], data: st.DataObject) -> None:
    repeats = data.draw(st.lists(st.sampled_from(ticks), max_size=5))
    arriving = data.draw(st.permutations([*ticks, *repeats]))
    made = fold(arriving)
    for interval, minutes in (("1m", 1), ("5m", 5), ("15m", 15)):
        expected = pandas_oracle.bars(ticks, minutes)
        found = {(bar.symbol, bar.start): bar for bar in made if bar.interval == interval}
        assert found.keys() == expected.keys()
        for key, columns in expected.items():
            assert {name: getattr(found[key], name) for name in columns} == columns
            assert found[key].end - found[key].start == minutes * 60_000_000


@given(trades())
@settings(max_examples=100, deadline=None)
def test_longer_bars_are_the_roll_up_of_one_minute_bars(ticks: list[Tick]) -> None:
    made = fold(ticks)
    minutes = [bar for bar in made if bar.interval == "1m"]
    for long in (bar for bar in made if bar.interval != "1m"):
        parts = [bar for bar in minutes if bar.symbol == long.symbol and long.start <= bar.start < long.end]
        assert (long.open, long.close) == (parts[0].open, parts[-1].close)
        assert (long.open_us, long.close_us) == (parts[0].open_us, parts[-1].close_us)
        assert (long.first_trade_id, long.last_trade_id) == (parts[0].first_trade_id, parts[-1].last_trade_id)
        assert (long.high, long.low) == (max(p.high for p in parts), min(p.low for p in parts))
        assert long.volume == sum(p.volume for p in parts)
        assert long.notional == sum(p.notional for p in parts)
        assert long.trade_count == sum(p.trade_count for p in parts)


def test_fold_bars_one_instant_goes_by_seq_not_by_arrival() -> None:
    (first, *_) = fold([tick(seq=3, price="3"), tick(seq=1, price="1"), tick(seq=2, price="2")])
    assert (first.open, first.close) == (1, 3)


def test_fold_bars_negative_seq_of_an_auction_comes_first() -> None:
    (first, *_) = fold([tick(seq=0, price="2"), tick(seq=-5, price="1")])
    assert (first.open, first.close) == (1, 2)


def test_fold_bars_edge_of_a_minute_belongs_to_the_next() -> None:
    bars = [bar for bar in fold([tick(), tick(seq=1, event_us=MONDAY_US + 60_000_000)]) if bar.interval == "1m"]
    assert [bar.start - MONDAY_US for bar in bars] == [0, 60_000_000]


def test_fold_bars_duplicate_of_an_id_counts_once_per_symbol_and_venue() -> None:
    same = tick(trade_id="1", venue="N", seq=1)
    twin = tick(trade_id="1", venue="N", seq=2, source="other")
    other_venue = tick(trade_id="1", venue="Q", seq=3)
    other_symbol = tick(trade_id="1", venue="N", seq=4, symbol="IBM")
    bars = [bar for bar in fold([same, twin, other_venue, other_symbol]) if bar.interval == "1m"]
    assert {bar.symbol: bar.trade_count for bar in bars} == {"AAPL": 2, "IBM": 1}


def test_identity_without_an_id_is_source_and_seq() -> None:
    assert identity(tick(seq=1, price="1")) == identity(tick(seq=1, price="2"))
    assert identity(tick(seq=1)) != identity(tick(seq=1, source="other"))
    assert identity(tick(seq=1)) != identity(tick(seq=2))


def test_trades_that_a_feed_numbers_itself_are_all_counted_over_days() -> None:
    """Their numbers recur: the first trade comes again with its number after 2^23 ms, its copy within the same one."""
    at = [MONDAY_US + n * (1 << 23) * 1000 for n in range(20)]
    numbers = Ordinals()
    ticks = [tick(event_us=us, seq=numbers.next("AAPL", us)) for us in at]
    assert len({one.seq for one in ticks}) == 1, "else this shows nothing"
    assert sum(bar.trade_count for bar in fold([*ticks, *ticks]) if bar.interval == "1m") == len(ticks)


def test_fold_bars_size_zero_sets_prices_and_no_volume() -> None:
    (first, *_) = fold([tick(price="5", size="0")])
    assert (first.open, first.volume, first.notional, first.vwap, first.trade_count) == (5, 0, 0, None, 1)


def test_fold_bars_only_trades_count() -> None:
    others = [tick(kind=kind, trade_id="9", seq=9) for kind in ("correct", "cancel", "heartbeat")]
    assert [bar.trade_count for bar in fold([tick(), *others]) if bar.interval == "1m"] == [1]


def test_fold_bars_ruleset_keeps_a_print_out_of_prices_but_in_volume() -> None:
    sweep = tick(seq=1, price="999", conditions="20", event_us=MONDAY_US + 4 * 3_600_000_000)
    plain = tick(seq=2, price="5", event_us=MONDAY_US + 4 * 3_600_000_000 + 1)
    (first, *_) = fold([sweep, plain], US)
    assert (first.open, first.high, first.trade_count, first.volume) == (5, 5, 2, 200)
    assert first.ruleset == "us-equity@2"


def test_fold_bars_volume_without_any_price_is_a_bar_without_prices() -> None:
    (first, *_) = fold([tick(conditions="100000000")], US)
    assert (first.open, first.high, first.low, first.close, first.open_us) == (None,) * 5
    assert (first.volume, first.trade_count, first.vwap) == (100, 1, Decimal("190.25"))


def test_fold_bars_print_that_may_touch_nothing_makes_no_bar() -> None:
    assert fold([tick(conditions="1000000")], US) == []


def test_fold_bars_large_notionals_keep_every_digit() -> None:
    ticks = [tick(seq=n, price="9999999999.99999999", size="999.99999999") for n in range(3)]
    (first, *_) = fold(ticks)
    assert (
        str(first.notional)
        == str(3 * (10**18 - 1) * (10**11 - 1))[:-16] + "." + str(3 * (10**18 - 1) * (10**11 - 1))[-16:]
    )


def test_fold_bars_notes_the_kafka_offsets() -> None:
    rows = [(tick(seq=n), 1, offset) for n, offset in enumerate((7, 5, 9))]
    random.Random(1).shuffle(rows)
    (first, *_) = fold_bars(rows, EVERY, ALL)
    assert (first.kafka_partition, first.first_offset, first.last_offset) == (1, 5, 9)


@pytest.mark.parametrize("column", sorted(BAR_RULES))
def test_bar_rules_columns_are_columns_of_the_bar(column: str) -> None:
    assert column in BAR_COLUMNS
