"""The simulator: repeatable, as faulty as asked, and right about the bars that must come out."""

import itertools
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import rulesets
from core.bars import fold_bars
from core.errors import InputError
from core.intervals import INTERVALS, SECOND_US
from core.records import Bar, Tick
from core.validate import check
from producers.expected import Ledger
from producers.market import TICKERS, Market, pick_symbols, u_shape
from producers.simulate import run_name
from producers.simulator import Emission, SimulatorConfig, blocks, simulate
from tests.factories import MONDAY_US
from tests.unit.core import pandas_oracle

EVERY = tuple(INTERVALS.values())
GOOD = ("trade", "out_of_order", "late")
FAULTY = {"late": 0.05, "out_of_order": 0.1, "duplicates": 0.08, "malformed": 0.06, "future": 0.03}


def config(**overrides: object) -> SimulatorConfig:
    fields = {"symbols": ("AAPL", "BTC-USD", "X"), "rate": 50.0, "seconds": 120.0, "start_us": MONDAY_US, "run": "r"}
    return SimulatorConfig(**(fields | overrides))  # type: ignore[arg-type]


def decoded(records: list[Emission]) -> list[Tick]:
    return [msgspec.json.decode(record.body, type=Tick) for record in records]


def test_simulate_same_seed_gives_the_same_bytes() -> None:
    faulty = config(**FAULTY, gaps=0.1, bursts=0.1)
    assert list(simulate(faulty)) == list(simulate(faulty))


def test_simulate_other_seed_gives_other_prices() -> None:
    first, other = (decoded(list(simulate(config(seed=seed)))) for seed in (1, 2))
    assert [one.price for one in first] != [one.price for one in other]


def test_simulate_defects_do_not_change_the_prices_of_the_clean_ticks() -> None:
    clean = {one.seq: one.price for one in decoded(list(simulate(config())))}
    records = [record for record in simulate(config(**FAULTY)) if record.kind in GOOD]
    assert {one.seq: one.price for one in decoded(records)} == clean


def test_simulate_clean_run_is_valid_ticks_at_the_rate_in_order() -> None:
    records = list(simulate(config()))
    ticks = decoded(records)
    assert len(ticks) == 50 * 120
    assert [one.seq for one in ticks] == list(range(len(ticks)))
    assert all(a.event_us <= b.event_us for a, b in itertools.pairwise(ticks))
    assert all(MONDAY_US <= one.event_us < MONDAY_US + 120 * SECOND_US for one in ticks)
    assert [record.key.decode() for record in records] == [one.symbol for one in ticks]
    for one in ticks:
        check(one)


@pytest.mark.parametrize("rate", [0.5, 3, 999, 12_345])
def test_simulate_any_rate_gives_that_many_ticks(rate: float) -> None:
    seconds = 4.0
    assert sum(len(block.keys) for block in blocks(config(rate=rate, seconds=seconds))) == round(rate * seconds)


def test_simulate_injects_the_fractions_asked_for() -> None:
    made = config(rate=500.0, **FAULTY)
    counts = Counter(record.kind for record in simulate(made))
    clean = 500 * 120
    wanted = {"late": 0.05, "out_of_order": 0.1, "duplicate": 0.08 * 0.85, "malformed": 0.06, "future": 0.03}
    for kind, fraction in wanted.items():
        assert counts[kind] == pytest.approx(clean * fraction, rel=0.08), kind  # type: ignore[index]
    assert sum(counts[kind] for kind in GOOD) == clean


def test_simulate_duplicates_are_the_same_bytes_sent_later() -> None:
    first: dict[bytes, int] = {}
    repeated = 0
    for position, record in enumerate(simulate(config(duplicates=0.2))):
        if record.kind == "duplicate":
            assert first[record.body] < position
            repeated += 1
        else:
            assert first.setdefault(record.body, position) == position
    assert repeated > 500


def test_simulate_out_of_order_is_inside_the_lateness_and_late_is_beyond_its_minute() -> None:
    made = config(late=0.2, out_of_order=0.2)
    for record in simulate(made):
        lag_us = record.due_us - record.event_us
        minute_end = record.event_us - record.event_us % 60_000_000 + 60_000_000
        if record.kind == "late":
            assert minute_end + made.lateness_us < record.due_us
        else:
            assert 0 <= lag_us < made.lateness_us
            assert (lag_us > 0) == (record.kind == "out_of_order")


def test_simulate_future_stamps_are_ahead_of_any_clock() -> None:
    ahead = [record for record in simulate(config(future=0.1)) if record.kind == "future"]
    assert ahead and all(one.event_us >= 4_102_444_800_000_000 for one in decoded(ahead))


def test_simulate_malformed_covers_every_kind_and_sending_order_is_by_due_time() -> None:
    from producers.defects import BROKEN

    records = list(simulate(config(rate=200.0, **FAULTY)))
    assert {record.row for record in records if record.kind == "malformed"} == set(range(len(BROKEN)))
    assert all(a.due_us <= b.due_us for a, b in itertools.pairwise(records))


def test_simulate_gaps_are_seconds_without_trades_and_bursts_busy_ones() -> None:
    seconds = Counter(record.due_us // SECOND_US for record in simulate(config(seconds=600.0, gaps=0.2, bursts=0.1)))
    silent = 600 - len(seconds)
    assert silent == pytest.approx(120, rel=0.5)
    assert max(seconds.values()) == 250
    assert sum(count == 250 for count in seconds.values()) == pytest.approx(600 * 0.8 * 0.1, rel=0.5)


def noted(made: SimulatorConfig) -> tuple[Ledger, list[Tick]]:
    """A ledger of the run, and its valid ticks with repeats, in sending order."""
    ledger = Ledger(made.symbols, made.run, made.lateness_us)
    for block in blocks(made):
        seq = block.first_seq + np.arange(len(block.keys))
        sent = block.due_us + made.start_us
        ledger.add(block.trades.symbol, seq, sent - block.lag_us, sent, block.trades.price, block.trades.size)
    sent_records = [record for record in simulate(made) if record.kind in (*GOOD, "duplicate")]
    return ledger, decoded(sent_records)


def same(expected: Bar, found: Bar) -> bool:
    return msgspec.structs.asdict(expected) == msgspec.structs.asdict(found)


@given(st.integers(0, 2**32), st.sampled_from([0.3, 5.0, 40.0]))
@settings(max_examples=15, deadline=None)
def test_expected_bars_equal_the_fold_and_pandas(seed: int, rate: float) -> None:
    ledger, ticks = noted(config(seed=seed, rate=rate, duplicates=0.1, out_of_order=0.2, malformed=0.1))
    bars = ledger.bars(EVERY, "all@1")
    folded = fold_bars(((one, None, None) for one in ticks), EVERY, rulesets.load("all"))
    assert [msgspec.structs.asdict(one) for one in bars] == [msgspec.structs.asdict(one) for one in folded]
    oracle = pandas_oracle.bars(ticks, 1)
    minutes = {(one.symbol, one.start): one for one in bars if one.interval == "1m"}
    assert minutes.keys() == oracle.keys()
    for key, columns in oracle.items():
        assert {name: getattr(minutes[key], name) for name in columns} == columns
    assert ledger.late(EVERY).num_rows == 0


def test_expected_bars_leave_late_ticks_to_the_list_of_late_ones() -> None:
    made = config(late=0.1, seconds=400.0, rate=20.0)
    ledger, ticks = noted(made)
    late = ledger.late(EVERY).to_pylist()
    assert {row["interval"] for row in late} == {"1m", "5m", "15m"}
    assert sum(row["interval"] == "1m" for row in late) > sum(row["interval"] == "15m" for row in late)
    counts = Counter(
        (bar.interval, bar.symbol, bar.start) for bar in ledger.bars(EVERY, "x") for _ in range(bar.trade_count)
    )
    for row in late:
        start_us = round(row["start"].timestamp() * 1_000_000)
        assert row["received_us"] >= start_us + INTERVALS[row["interval"]].us + made.lateness_us
        counts[row["interval"], row["symbol"], start_us] += 1
    everything = fold_bars(((one, None, None) for one in ticks), EVERY, rulesets.load("all"))
    assert counts == {(bar.interval, bar.symbol, bar.start): bar.trade_count for bar in everything}


def test_market_prices_move_like_a_market() -> None:
    rng = np.random.default_rng(3)
    market = Market(("AAPL", "BTC-USD"), rng)
    parts = [market.trades(1_000, 1.0, 0.5) for _ in range(300)]
    prices = np.concatenate([part.price[part.symbol == 0] for part in parts]) / 100
    assert 0.9 * TICKERS["AAPL"] < prices.min() < prices.max() < 1.1 * TICKERS["AAPL"]
    assert len(np.unique(prices)) > 20
    shares = np.concatenate([part.size[part.symbol == 0] for part in parts])
    assert (shares % 10_000 == 0).all()


def test_u_shape_is_high_at_both_ends() -> None:
    assert u_shape(0.0) == u_shape(1.0) > 3 * u_shape(0.5)


def test_pick_symbols_number_or_list() -> None:
    assert pick_symbols("3") == ("AAPL", "MSFT", "NVDA")
    assert len(set(pick_symbols("500"))) == 500
    assert pick_symbols("IBM, XRP/ETH,IBM") == ("IBM", "XRP/ETH")


@pytest.mark.parametrize("text", ["0", "-3", "", ","])
def test_pick_symbols_nothing_raises(text: str) -> None:
    with pytest.raises(InputError, match="--symbols"):
        pick_symbols(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [("rate", 0), ("rate", -1), ("seconds", 0), ("late", 1.5), ("gaps", -0.1), ("future", float("nan"))],
)
def test_config_out_of_range_names_the_option(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"--{field}"):
        config(**{field: value})


def test_config_symbol_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="A B"):
        config(symbols=("A B",))


def test_run_name_leaves_room_for_a_billion_ids_in_a_bar() -> None:
    from core.records import TRADE_ID_LENGTH

    assert len(f"{run_name(2**63, 4_102_444_800_000_000)}-999999999") <= TRADE_ID_LENGTH
    assert run_name(1, MONDAY_US) != run_name(2, MONDAY_US) != run_name(1, MONDAY_US + 1_000)
