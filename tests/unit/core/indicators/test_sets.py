"""The set against its indicators one by one and key by key."""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.indicators import INDICATORS, Bars, IndicatorSet, bars_of, parse, parse_all, sets, values_json, window
from core.indicators.base import BAR_FIELDS, Array, Indicator
from tests.unit.core.indicators.histories import pick, same_bits, walk

MINUTE_US = 60_000_000
SHORT = (
    "sma:3 ema:2 macd:2,3,2 rsi:2 stoch:3,2,2 mom:1 roc:2 bbands:3,2 zscore:3 rvol:2 atr:2 vwap rvwap:2 obv sma:1 ema:1"
)
ALL = IndicatorSet(parse_all(SHORT))


@dataclass(frozen=True)
class Rows:
    """Bars of several keys as rows."""

    key: np.ndarray
    start: np.ndarray
    bars: Bars

    def at(self, rows: np.ndarray) -> "Rows":
        return Rows(self.key[rows], self.start[rows], self.bars.at(rows))


def made(seed: int, size: int, keys: int, in_order: bool) -> Rows:
    """Random rows; out of order, a key's bars come late, twice and again. A tenth of them lack a price or have none."""
    rng = np.random.default_rng(seed)
    flat = pick(walk(seed, max(size, 1), keys=1), slice(size), 0)
    columns = {name: getattr(flat, name)[:, 0].copy() for name in BAR_FIELDS}
    for name in ("open", "high", "low", "close", "notional"):
        columns[name][rng.random(size) < 0.1] = np.nan
    columns["close"][rng.random(size) < 0.05] = 0.0
    start = np.arange(1, size + 1) if in_order else rng.integers(0, max(size // 2, 2), size)
    return Rows(rng.integers(0, keys, size), start.astype(np.int64) * MINUTE_US, Bars(**columns))


class Alone:
    """One key and its indicators, by nothing but `Indicator.step` and `value`."""

    def __init__(self, indicators: tuple[Indicator, ...]) -> None:
        self.indicators, self.last, self.states = indicators, 0, [each.initial(1) for each in indicators]

    def take(self, bar: Bars, start: int) -> None:
        if start <= self.last:
            self.states = [each.initial(1) for each in self.indicators]
        self.last = start
        self.states = [each.step(state, bar) for each, state in zip(self.indicators, self.states, strict=True)]

    def row(self) -> Array:
        return np.concatenate([[float(self.last)], *(state[0] for state in self.states)])

    def values(self) -> Array:
        pairs = zip(self.indicators, self.states, strict=True)
        return np.concatenate([values for each, state in pairs for values in each.value(state).values()])

    def all_are(self, flag: str) -> bool:
        pairs = zip(self.indicators, self.states, strict=True)
        return all(getattr(each, flag)(state)[0] for each, state in pairs)


def by_time(rows: Rows) -> Iterator[int]:
    """Row numbers by start, rows of one start as they came."""
    yield from sorted(range(len(rows.key)), key=lambda row: rows.start[row])


def equal(left: Array, right: Array) -> bool:
    return same_bits({"": left}, {"": right})


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(0, 60),
    keys=st.sampled_from([1, 2, 7]),
    in_order=st.booleans(),
    cuts=st.lists(st.floats(0, 1), max_size=3),
    at_once=st.sampled_from([2, sets.AT_ONCE]),
)
def test_fold_in_any_portions_equals_steps_of_each_key_alone(
    seed: int, size: int, keys: int, in_order: bool, cuts: list[float], at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sets, "AT_ONCE", at_once)
        fold_equals_steps(seed, size, keys, in_order, cuts)


def fold_equals_steps(seed: int, size: int, keys: int, in_order: bool, cuts: list[float]) -> None:
    rows, state = made(seed, size, keys, in_order), ALL.initial(keys)
    alone = [Alone(ALL.indicators) for _ in range(keys)]
    portions = np.split(np.arange(size), sorted(int(cut * size) for cut in cuts))
    for portion in (np.random.default_rng(seed).permutation(part) for part in portions):
        given_ = rows.at(portion)
        folded = ALL.fold(state, given_.key, given_.start, given_.bars)
        newest: dict[int, int] = {}
        for row in by_time(given_):
            one = alone[given_.key[row]]
            one.take(given_.bars.at(np.array([row])), int(given_.start[row]))
            newest[int(given_.key[row])] = row
            assert equal(folded.values[row], one.values())
            assert folded.ready[row] == one.all_are("ready") and folded.stable[row] == one.all_are("stable")
        assert set(np.flatnonzero(folded.last)) == set(newest.values())
        state = folded.state
        assert equal(state, np.array([one.row() for one in alone]))
    assert ALL.started(state).tolist() == [one.last for one in alone]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 160), keys=st.sampled_from([1, 2, 7]))
def test_formed_and_completed_values_are_those_of_the_step(seed: int, size: int, keys: int) -> None:
    rows = made(seed, size, keys, in_order=True)
    state = ALL.fold(ALL.initial(keys), rows.key, rows.start, rows.bars).state
    rng = np.random.default_rng(seed)
    start = np.where(rng.random(keys) < 0.9, size + 1, 1) * MINUTE_US
    held = ALL.held(state, start)
    before = held.copy()
    for move in range(3):
        bars = made(seed + 1 + move, keys, keys, in_order=True).bars
        expected, counts = ALL.values(ALL.step(state, bars, start)), ALL._counted(state) + 1
        found, stepped = ALL.formed(held, bars)
        by_column = stepped[:, ALL._owners]
        assert equal(found[~by_column], expected[~by_column])
        # Stepped is what makes its first value, unless the bar lacks something or is not newer than the last.
        needed = {name for each in ALL.indicators for name in each.inputs}
        lacks = ~np.isfinite([getattr(bars, name) for name in needed]).all(axis=0) | (bars.close <= 0)
        first = (counts == ALL._ready_after) & (ALL._ready_after > 1)
        assert (stepped == (first | (lacks | (start <= state[:, 0]))[:, None])).all()
        ALL.complete(found, stepped, state, bars, start)
        assert equal(found, expected)
        np.testing.assert_array_equal(held, before)


def test_a_history_without_gaps_is_stepped_once_for_each_indicator() -> None:
    history, start = walk(bars=130, keys=3), np.full(3, 1)
    state, stepped = ALL.initial(3), 0
    for bar in range(130):
        stepped += ALL.formed(ALL.held(state, start + bar), history.at(bar))[1].sum()
        state = ALL.step(state, history.at(bar), start + bar)
    assert stepped == 3 * (ALL._ready_after > 1).sum()


@pytest.mark.parametrize("keys", [1, 20, 150])
def test_set_of_every_indicator_equals_each_alone(keys: int) -> None:
    chosen = IndicatorSet([*(parse(name) for name in INDICATORS), parse("sma:100")])
    bars, state = walk(bars=130, keys=keys, missing=0.02), chosen.initial(keys)
    states = [each.initial(keys) for each in chosen.indicators]
    for bar in range(130):
        state = chosen.step(state, bars.at(bar), np.full(keys, bar + 1))
        states = [each.step(held, bars.at(bar)) for each, held in zip(chosen.indicators, states, strict=True)]
    outputs = [each.value(held).values() for each, held in zip(chosen.indicators, states, strict=True)]
    assert equal(chosen.values(state), np.stack([values for found in outputs for values in found], axis=1))
    assert equal(state[:, 1:], np.concatenate(states, axis=1))
    assert not np.isnan(chosen.values(state)).all(axis=0).any()


def test_key_among_so_many_that_windows_are_summed_bar_by_bar_equals_the_key_alone() -> None:
    chosen, bars = IndicatorSet(parse_all("sma:200 bbands:150,2 rvol:100 stoch:120,3,3")), walk(bars=210, keys=90)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "FEW", 5000)
        folded = ran(chosen, bars, 90)
    for key in (0, 41, 89):
        assert equal(folded[key], ran(chosen, pick(bars, slice(None), key), 1)[0])


def ran(chosen: IndicatorSet, bars: Bars, keys: int) -> Array:
    """The values after all bars."""
    state = chosen.initial(keys)
    for bar in range(len(bars.close)):
        state = chosen.step(state, bars.at(bar), np.full(keys, bar + 1))
    return chosen.values(state)


@given(seed=st.integers(0, 2**32), length=st.integers(1, 300), keys=st.integers(1, 5))
@settings(deadline=None)
def test_sums_at_once_equal_sums_bar_by_bar(seed: int, length: int, keys: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (length, keys)) * 10.0 ** rng.integers(-12, 12, (length, keys))
    values[rng.random(values.shape) < 0.2] = -0.0
    found = {}
    for few in (0, window.FEW):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(window, "FEW", few)
            centre = window.mean(values)
            found[few] = {"total": window.total(values), "mean": centre, "dev": window.deviation(values, centre)}
    assert same_bits(found[0], found[window.FEW])
    signs = [{name: np.signbit(each) for name, each in both.items()} for both in found.values()]
    assert all(np.array_equal(signs[0][name], signs[1][name]) for name in signs[0])


def test_set_says_what_it_holds() -> None:
    chosen = IndicatorSet(parse_all("sma:5 macd sma:5 rsi"))
    assert chosen.specs == "sma:5 macd:12,26,9 rsi:14"
    assert chosen.columns == ("sma_5", "macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist", "rsi_14")
    assert chosen.width == 1 + sum(each.width for each in chosen.indicators)
    state = chosen.initial(3)
    assert state.shape == (3, chosen.width) and state.dtype == np.float64
    assert chosen.values(state).shape == (3, 5) and np.isnan(chosen.values(state)).all()
    assert chosen.started(state).tolist() == [0, 0, 0]
    assert chosen.started(state).dtype == np.int64


def test_indicator_given_twice_is_in_once() -> None:
    assert IndicatorSet([parse("rsi"), parse("obv"), parse("rsi:14")]).specs == "rsi:14 obv"


def test_ready_and_stable_wait_for_the_slowest() -> None:
    chosen, bars = IndicatorSet(parse_all("sma:3 ema:2")), walk(bars=40, keys=1)
    slowest = max(each.stable_after for each in chosen.indicators)
    state, ready, stable = chosen.initial(1), [], []
    for bar in range(40):
        state = chosen.step(state, bars.at(bar), np.array([bar + 1]))
        ready.append(bool(chosen.ready(state)[0]))
        stable.append(bool(chosen.stable(state)[0]))
    assert ready.index(True) == 2 and stable.index(True) == slowest - 1
    assert all(ready[2:]) and all(stable[slowest - 1 :])


def test_empty_set_remembers_the_start_and_nothing_else() -> None:
    chosen = IndicatorSet([])
    state = chosen.step(chosen.initial(2), walk(keys=2).at(0), np.array([7, 8]))
    assert (chosen.columns, chosen.specs, chosen.width) == ((), "", 1)
    assert state.tolist() == [[7.0], [8.0]] and chosen.values(state).shape == (2, 0)
    assert chosen.ready(state).all() and chosen.stable(state).all()
    assert values_json((), chosen.values(state)) == [b"{}", b"{}"]


def test_step_of_no_keys_and_fold_of_no_bars() -> None:
    nothing = np.zeros(0, np.int64)
    bars = bars_of([], [], [], [], [], [], [])
    assert ALL.step(ALL.initial(0), bars, nothing).shape == (0, ALL.width)
    assert ALL.values(ALL.initial(0)).shape == (0, len(ALL.columns))
    folded = ALL.fold(ALL.initial(2), nothing, nothing, bars)
    assert equal(folded.state, ALL.initial(2)) and folded.values.shape == (0, len(ALL.columns))
    assert len(folded.ready) == len(folded.stable) == len(folded.last) == 0


@pytest.mark.parametrize("back", [0, 1, 5])
def test_bar_that_is_not_newer_begins_a_new_history_of_its_key_only(back: int) -> None:
    bars, state = walk(bars=12, keys=2), ALL.initial(2)
    for bar in range(10):
        state = ALL.step(state, bars.at(bar), np.full(2, (bar + 1) * MINUTE_US))
    start = np.array([10 - back, 11]) * MINUTE_US
    after = ALL.step(state, bars.at(10), start)
    anew = ALL.step(ALL.initial(2), bars.at(10), start)
    assert equal(after[0], anew[0]) and not np.array_equal(after[1], anew[1], equal_nan=True)
    assert after[1, 1] == state[1, 1] + 1
    assert ALL.started(after).tolist() == start.tolist()


def test_infinite_prices_count_as_none_and_disturb_no_arithmetic() -> None:
    state, bars = ALL.step(ALL.initial(2), walk(keys=2).at(0), np.array([1, 1])), walk(keys=2).at(1)
    for name in ("open", "high", "low", "close"):
        getattr(bars, name)[0] = np.inf  # inf - inf would warn
    after = ALL.step(state, bars, np.array([2, 2]))
    assert after[0, 1] == state[0, 1] == 1 and after[1, 1] == 2


def test_replay_gives_what_the_first_run_gave() -> None:
    rows = made(3, 50, 3, in_order=True)
    first = ALL.fold(ALL.initial(3), rows.key, rows.start, rows.bars)
    again = ALL.fold(first.state, rows.key, rows.start, rows.bars)
    assert equal(again.values, first.values) and equal(again.state, first.state)


def test_step_values_and_fold_modify_nothing() -> None:
    rows = made(4, 30, 2, in_order=False)
    state = ALL.fold(ALL.initial(2), rows.key, rows.start, rows.bars).state
    bar, start = rows.bars.at(np.array([4, 5])), ALL.started(state) + np.array([MINUTE_US, -MINUTE_US])
    for array in (
        state,
        rows.key,
        rows.start,
        start,
        *(getattr(each, name) for each in (bar, rows.bars) for name in BAR_FIELDS),
    ):
        array.setflags(write=False)
    before = state.tobytes()
    found = (ALL.step(state, bar, start), ALL.fold(state, rows.key, rows.start, rows.bars).state, ALL.values(state))
    assert state.tobytes() == before
    assert not any(np.shares_memory(array, state) for array in found)


def test_forming_bar_leaves_the_final_state() -> None:
    bars, final = walk(bars=30, keys=1), ALL.initial(1)
    for bar in range(29):
        final = ALL.step(final, bars.at(bar), np.array([bar + 1]))
    forming = bars_of(*(getattr(bars, name)[29] for name in BAR_FIELDS[:6]), start=[30])
    once, twice = (ALL.values(ALL.step(final, forming, np.array([30]))) for _ in range(2))
    assert equal(once, twice) and not equal_anywhere(once, ALL.values(final))


def equal_anywhere(left: Array, right: Array) -> bool:
    """In one of the averages, which move with every close."""
    places = [ALL.columns.index(name) for name in ("sma_3", "ema_2")]
    return bool((left[0, places] == right[0, places]).any())


def run_of(specs: str, bars: int = 25) -> tuple[IndicatorSet, Array]:
    chosen, history = IndicatorSet(parse_all(specs)), walk(bars=bars, keys=1)
    state = chosen.initial(1)
    for bar in range(bars):
        state = chosen.step(state, history.at(bar), np.array([bar + 1]) * MINUTE_US)
    return chosen, state[0]


@pytest.mark.parametrize(
    "wanted",
    [
        "sma:5 rsi:14 vwap macd",
        "macd vwap rsi:14 sma:5",
        "rsi:14",
        "sma:5 obv rsi:14",
        "obv vwap sma:6 macd",
        "stoch",
        "",
    ],
)
def test_adopt_keeps_what_is_in_both_and_starts_the_rest(wanted: str) -> None:
    old, row = run_of("sma:5 rsi:14 vwap macd")
    new, expected = run_of(wanted)
    fresh = new.initial(1)[0]
    place = 1
    for each in new.indicators:
        if each not in old.indicators:
            expected[place : place + each.width] = fresh[place : place + each.width]
        place += each.width
    found = new.adopt(old.specs, old.to_bytes(row))
    assert equal(found, expected) and found.flags.writeable
    assert found[0] == row[0] == 25 * MINUTE_US


def test_bytes_are_little_endian_doubles_with_the_start_first() -> None:
    chosen = IndicatorSet(parse_all("obv"))
    data = chosen.to_bytes(np.array([2.0**52, 1.0, 2.0, 0.5]))
    assert data.hex() == "000000000000 3043 000000000000f03f 0000000000000040 000000000000e03f".replace(" ", "")
    assert chosen.adopt("obv", data).tolist() == [2.0**52, 1.0, 2.0, 0.5]


@pytest.mark.parametrize("specs", ["rsi:14 gone:3", "sma:5=2", "rsi:0"])
def test_adopt_unknown_specs_raise(specs: str) -> None:
    chosen, row = run_of("rsi:14")
    with pytest.raises(ValueError, match="a state of "):
        chosen.adopt(specs, chosen.to_bytes(row))


@pytest.mark.parametrize("change", [b"\0" * 8, b"\0"])
def test_adopt_bytes_of_another_size_raise(change: bytes) -> None:
    chosen, row = run_of("rsi:14")
    with pytest.raises(ValueError, match="has 56 bytes, these are "):
        chosen.adopt("rsi:14", chosen.to_bytes(row) + change)
    with pytest.raises(ValueError, match="these are 0"):
        chosen.adopt("rsi:14", b"")


def test_to_bytes_of_another_width_raises() -> None:
    with pytest.raises(ValueError, match="has 7 numbers"):
        IndicatorSet(parse_all("rsi:14")).to_bytes(np.zeros(8))


def test_bars_of_takes_lists_with_gaps_and_asks_the_calendar() -> None:
    friday, saturday = 1_720_209_540_000_000, 1_720_267_200_000_000  # 19:59 and 12:00 UTC
    bars = bars_of([1, None], [2, None], [1, None], [1.5, None], [10, 0], [15, 0], [friday, saturday], "XNYS")
    assert bars.close[0] == 1.5 and np.isnan(bars.close[1]) and bars.notional.tolist() == [15.0, 0.0]
    assert bars.session.tolist() == [19909.0, 19912.0] and bars.session.dtype == np.float64
    assert bars_of(*[[1.0]] * 6, start=[saturday]).session.tolist() == [19910.0]


@given(st.lists(st.tuples(*[st.floats(width=64)] * 3), max_size=5))
@settings(deadline=None)
def test_values_json_reads_back_to_the_bit(rows: list[tuple[float, ...]]) -> None:
    columns = ("rsi_14", "bbands_20_2.5_upper", "vwap")
    written = values_json(columns, np.array(rows, np.float64).reshape(-1, 3))
    assert len(written) == len(rows)
    for line, row in zip(written, rows, strict=True):
        found = json.loads(line, parse_constant=pytest.fail)
        assert tuple(found) == columns and b" " not in line
        for value, expected in zip(found.values(), row, strict=True):
            assert value is None if not np.isfinite(expected) else value.hex() == expected.hex()


def test_set_goes_to_another_process_as_it_is() -> None:
    again, state = pickle.loads(pickle.dumps(ALL)), ALL.initial(2)
    bars, start = walk(keys=2).at(0), np.array([1, 2])
    assert equal(again.step(state, bars, start), ALL.step(state, bars, start))


def test_sets_need_no_pandas() -> None:
    code = (
        "import sys; from conf.settings import Settings; from core.indicators import IndicatorSet, bars_of;"
        "IndicatorSet(Settings().indicators_of('1m')).initial(1); bars_of(*[[1.0]] * 6, start=[1]);"
        "assert 'pandas' not in sys.modules; from core.indicators import compute; assert 'pandas' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
