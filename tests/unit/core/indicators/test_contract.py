"""What every registered indicator promises, whatever it computes."""

import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import indicators
from core.indicators import INDICATORS, parse
from core.indicators.base import BAR_FIELDS, Indicator
from tests.unit.core.indicators.histories import flat, pick, run, same_bits, stream, walk

SPECS = (*INDICATORS, "sma:1", "macd:3,10,4", "stoch:5,1,1", "bbands:5,2.5", "rvwap:3", "rsi:1", "atr:1", "ema:1")
each = pytest.mark.parametrize("indicator", [parse(spec) for spec in SPECS], ids=SPECS)
LONG = 80


def classes_in_folder() -> set[type[Indicator]]:
    modules = [
        importlib.import_module(f"core.indicators.{item.name}") for item in pkgutil.iter_modules(indicators.__path__)
    ]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return {kind for kind in found if issubclass(kind, Indicator) and not kind.__abstractmethods__}


def test_folder_equals_registry() -> None:
    assert classes_in_folder() == set(INDICATORS.values())
    assert {name: kind.name for name, kind in INDICATORS.items()} == {name: name for name in INDICATORS}


@each
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    bars=st.integers(1, 100),
    keys=st.sampled_from([1, 3, 20]),
    missing=st.sampled_from([0.0, 0.3]),
)
def test_scan_equals_steps_bit_for_bit(indicator: Indicator, seed: int, bars: int, keys: int, missing: float) -> None:
    history = walk(seed, bars, keys, missing=missing)
    assert same_bits(indicator.scan(history), stream(indicator, history))


@each
def test_one_key_alone_equals_the_same_among_many(indicator: Indicator) -> None:
    history = walk(bars=LONG, keys=67, missing=0.1)
    together = stream(indicator, history)
    for key in (0, 7, 64, 66):
        alone = stream(indicator, pick(history, slice(None), key))
        assert same_bits(alone, {output: values[:, key : key + 1] for output, values in together.items()})


@each
def test_memory_layout_changes_nothing(indicator: Indicator) -> None:
    history = walk(bars=LONG, keys=9)
    turned = type(history)(*(np.asfortranarray(getattr(history, column)) for column in BAR_FIELDS))
    assert same_bits(indicator.scan(history), indicator.scan(turned))
    assert same_bits(stream(indicator, history), stream(indicator, turned))


@each
def test_step_and_value_modify_nothing(indicator: Indicator) -> None:
    history = walk(bars=LONG)
    state = run(indicator, history)
    before, bar = state.copy(), history.at(3)
    for array in (state, *(getattr(bar, column) for column in BAR_FIELDS)):
        array.setflags(write=False)
    after = indicator.step(state, bar)
    indicator.value(state)
    assert not np.shares_memory(after, state)
    np.testing.assert_array_equal(state, before)


@each
def test_state_survives_bytes_in_mid_stream(indicator: Indicator) -> None:
    history = walk(bars=LONG, keys=2)
    for cut in (0, 1, 5, 50):
        held = run(indicator, pick(history, slice(cut)))
        rows = [indicator.from_bytes(indicator.to_bytes(row)) for row in held]
        state, expected = np.array(rows), held
        for bar in range(cut, LONG):
            state, expected = indicator.step(state, history.at(bar)), indicator.step(expected, history.at(bar))
        assert state.tobytes() == expected.tobytes()


@each
def test_bytes_of_other_width_raise(indicator: Indicator) -> None:
    data = indicator.to_bytes(indicator.initial(1)[0])
    assert len(data) == 8 * indicator.width
    with pytest.raises(ValueError, match=f"{indicator.name}.*has {8 * indicator.width} bytes, these are"):
        indicator.from_bytes(data + b"\0")
    with pytest.raises(ValueError, match=f"a state has {indicator.width} numbers"):
        indicator.to_bytes(np.zeros(indicator.width + 1))


def test_bytes_are_little_endian_doubles() -> None:
    obv = parse("obv")
    assert obv.to_bytes(np.array([1.0, 2.0, 0.5])).hex() == "000000000000f03f0000000000000040000000000000e03f"


@each
def test_state_has_the_width_it_says(indicator: Indicator) -> None:
    state = indicator.initial(4)
    assert state.shape == (4, indicator.width) and state.dtype == np.float64
    assert indicator.step(state, walk(keys=4).at(0)).shape == state.shape
    assert tuple(indicator.value(state)) == indicator.outputs


@each
def test_ready_and_stable_come_after_the_bars_they_say(indicator: Indicator) -> None:
    history = walk(bars=indicator.stable_after, keys=1)
    for flag, bars in (("ready", indicator.ready_after), ("stable", indicator.stable_after)):
        assert not getattr(indicator, flag)(run(indicator, pick(history, slice(bars - 1)))).any()
        assert getattr(indicator, flag)(run(indicator, pick(history, slice(bars)))).all()


@each
def test_single_bar_gives_a_value_only_where_one_is_enough(indicator: Indicator) -> None:
    for values in stream(indicator, walk(bars=1)).values():
        assert np.isnan(values).all() == (indicator.ready_after > 1)


@each
def test_bar_without_an_input_leaves_the_state(indicator: Indicator) -> None:
    state = run(indicator, walk(bars=LONG))
    for missing in (np.nan, np.inf):
        for column in indicator.inputs:
            bar = walk(seed=2).at(0)
            getattr(bar, column)[1] = missing
            after = indicator.step(state, bar)
            assert after[1].tobytes() == state[1].tobytes()
            assert (after[[0, 2], 0] == state[[0, 2], 0] + 1).all()


@each
def test_gaps_count_as_no_bar(indicator: Indicator) -> None:
    history = walk(bars=LONG, keys=1)
    gaps = np.isin(np.arange(LONG), (0, 1, 30, 31, 79))
    for column in indicator.inputs:
        getattr(history, column)[gaps] = np.nan
    expected = indicator.scan(pick(history, ~gaps))
    found = indicator.scan(history)
    assert same_bits({output: values[~gaps] for output, values in found.items()}, expected)
    for values in found.values():
        assert np.isnan(values[:2]).all()
        np.testing.assert_array_equal(values[30:32], values[[29, 29]])


@each
@pytest.mark.parametrize("price", [1e-8, 0.1, 1e9])
def test_flat_prices_give_numbers_or_nothing(indicator: Indicator, price: float) -> None:
    undefined = ("zscore",)
    for values in indicator.scan(flat(price)).values():
        settled = values[indicator.ready_after - 1 :]
        assert np.isnan(settled).all() if indicator.name in undefined else np.isfinite(settled).all()


@pytest.mark.parametrize("spec", ["vwap", "rvwap", "relvol"])
def test_without_volume_what_divides_by_it_is_nan(spec: str) -> None:
    assert np.isnan(parse(spec).scan(flat(volume=0.0))[spec]).all()


@each
def test_zero_volume_disturbs_no_price(indicator: Indicator) -> None:
    if "close" in indicator.inputs:
        assert all(
            np.isfinite(values[-1]).all() or indicator.name == "zscore"
            for values in indicator.scan(flat(volume=0.0)).values()
        )


def test_session_vwap_starts_anew() -> None:
    bars = walk(bars=9, keys=1)
    found = parse("vwap").scan(bars)["vwap"]
    assert found[4, 0] == bars.notional[4, 0] / bars.volume[4, 0]


def test_volume_only_bar_counts_in_vwap() -> None:
    bars = walk(bars=3, keys=1)
    bars.close[1] = np.nan
    found = parse("vwap").scan(bars)["vwap"]
    assert found[1, 0] == bars.notional[:2].sum() / bars.volume[:2].sum() != found[0, 0]


def test_rvol_skips_a_close_without_a_logarithm() -> None:
    bars = walk(bars=30, keys=1)
    whole = parse("rvol:5").scan(bars)["rvol"]
    dotted = pick(bars, np.repeat(np.arange(30), 2))
    dotted.close[1::2] = 0.0
    np.testing.assert_array_equal(parse("rvol:5").scan(dotted)["rvol"][::2], whole)


@each
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    bars=st.integers(0, 100),
    keys=st.sampled_from([1, 2, 9, 200]),
    price=st.sampled_from([1e-7, 100.0, 1e9]),
)
def test_formed_value_is_that_of_the_step_for_every_move_of_the_bar(
    indicator: Indicator, seed: int, bars: int, keys: int, price: float
) -> None:
    state = run(indicator, walk(seed, bars, keys, price, missing=0.05)) if bars else indicator.initial(keys)
    before, held = state.copy(), indicator.held(state)
    moves = walk(seed + 1, 3, keys, price * 1.01)
    later = state[:, 0] + 1 > (indicator.ready_after if indicator.ready_after > 1 else 0)  # the first value is stepped
    for bar in (moves.at(0), moves.at(1), moves.at(2), moves.at(0)):
        formed = indicator.formed(np.array(held.T, order="C"), bar)
        stepped = indicator.value(indicator.step(state, bar))
        assert same_bits(*({output: values[later] for output, values in each.items()} for each in (formed, stepped)))
    np.testing.assert_array_equal(state, before)


def test_live_value_leaves_the_final_state() -> None:
    rsi, bars = parse("rsi:14"), walk(bars=30)
    final = run(rsi, pick(bars, slice(29)))
    forming = rsi.value(rsi.step(final, bars.at(29)))
    assert not np.array_equal(forming["rsi"], rsi.value(final)["rsi"])
    assert same_bits(forming, rsi.value(run(rsi, bars)))
