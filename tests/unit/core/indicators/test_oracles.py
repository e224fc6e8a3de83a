"""Every indicator against an independent computation of the same thing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.indicators import INDICATORS, Bars, parse
from core.indicators.base import MAX_PERIOD
from tests.unit.core.indicators.histories import DATA, RECORDED, flat, pick, recorded, stream, walk
from tests.unit.core.indicators.oracles import ORACLES, scale

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded bars of ../shared/data are not here")
OTHERS = ("sma:1", "sma:50", "ema:1", "ema:2", "macd:3,10,4", "macd:2,3,1", "rsi:2", "stoch:5,1,1", "stoch:1,2,4")
OTHERS += ("mom:1", "roc:1", "bbands:5,2.5", "bbands:2,1", "zscore:2", "rvol:2", "atr:1", "atr:5", "rvwap:1", "rvwap:7")
SPECS = tuple(INDICATORS) + OTHERS


def agrees(spec: str, bars: Bars, zero: float = 1e-12) -> None:
    indicator = parse(spec)
    expected = ORACLES[indicator.name](indicator, bars)
    found = indicator.scan(bars)
    for output in indicator.outputs:
        spoken = ~np.isnan(expected[output])
        np.testing.assert_allclose(
            found[output][spoken, 0],
            expected[output][spoken],
            rtol=1e-9,
            atol=zero * scale(indicator.name, bars),
            err_msg=f"{spec} {output}",
        )


def test_every_indicator_has_an_oracle() -> None:
    assert set(ORACLES) == set(INDICATORS)


@pytest.mark.parametrize("spec", SPECS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), price=st.sampled_from([1e-8, 0.07, 100.0, 1e9]), bars=st.integers(1, 300))
def test_random_walk_equals_oracle(spec: str, seed: int, price: float, bars: int) -> None:
    agrees(spec, walk(seed, bars, keys=1, price=price))


@needs_data
@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("spec", SPECS)
def test_recorded_bars_equal_oracle(spec: str, name: str) -> None:
    agrees(spec, recorded(name), zero=1e-11)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("price", [1e-8, 0.1, 100.3, 1e9])
def test_flat_prices_equal_oracle(spec: str, price: float) -> None:
    agrees(spec, flat(price, keys=1))


@pytest.mark.parametrize("spec", SPECS)
def test_first_value_stands_where_the_oracle_has_it(spec: str) -> None:
    indicator, bars = parse(spec), walk(seed=5, keys=1)
    expected = ORACLES[indicator.name](indicator, bars)
    for output, values in indicator.scan(bars).items():
        first = indicator.ready_after - 1
        assert np.isnan(values[:first]).all() and not np.isnan(values[first, 0])
        assert np.isnan(expected[output][:first]).all() and not np.isnan(expected[output][first])


@pytest.mark.parametrize("name", [name for name in INDICATORS if name not in ("vwap", "obv")])
def test_start_of_history_is_forgotten_when_stable(name: str) -> None:
    indicator, whole = parse(name), walk(seed=3, bars=900, keys=1)
    late = pick(whole, slice(len(whole.close) - indicator.stable_after, None))
    for output, values in indicator.scan(late).items():
        kept = indicator.scan(whole)[output][-1]
        np.testing.assert_allclose(values[-1], kept, rtol=1e-8, atol=1e-8 * scale(name, whole), err_msg=output)


@pytest.mark.parametrize(("spec", "bars"), [("rsi:14", 295), ("ema:20", 228), ("sma:20", 20), ("atr:14", 295)])
def test_stable_after_known_indicator_is_known(spec: str, bars: int) -> None:
    assert parse(spec).stable_after == bars


def test_huge_prices_keep_the_spread_that_talib_loses() -> None:
    bars = flat(1e9, bars=20, keys=1)
    bars.close[-1] += 0.001
    found = stream(parse("bbands:20,2"), bars)
    spread = float(np.std(bars.close[:, 0] - 1e9))
    assert found["upper"][-1, 0] - found["middle"][-1, 0] == pytest.approx(2 * spread, rel=1e-3)


def test_longest_period_is_computed() -> None:
    indicator = parse(f"sma:{MAX_PERIOD}")
    bars = walk(bars=MAX_PERIOD + 3, keys=1)
    agrees(indicator.spec, bars)
