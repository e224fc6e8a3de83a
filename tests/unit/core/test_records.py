"""Exact numbers: text to scaled integers and back, order keys, and the volume-weighted price."""

from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import BAR_COLUMNS, BAR_KEY, SEQ_LIMIT, Tick, from_scaled, order_key, to_scaled, vwap_scaled
from tests.factories import bar, tick

INT64 = 1 << 63
LONGEST_BAR_US = 15 * 60 * 1_000_000


@pytest.mark.parametrize(
    ("text", "units"),
    [("167.41", 16_741_000_000), ("0.00000001", 1), ("0", 0), ("9999999999.99999999", 10**18 - 1), ("1e2", 10**10)],
)
def test_to_scaled_decimal_text_is_exact(text: str, units: int) -> None:
    assert to_scaled(text) == units


def test_to_scaled_ninth_decimal_rounds_half_up() -> None:
    assert to_scaled("0.000000005") == 1
    assert to_scaled("0.0000000049") == 0


@pytest.mark.parametrize("text", ["", "abc", "NaN", "Infinity", "-inf"])
def test_to_scaled_not_a_number_raises(text: str) -> None:
    with pytest.raises(ValueError):
        to_scaled(text)


@given(st.integers(0, 10**18 - 1))
def test_scaled_round_trip_is_identity(units: int) -> None:
    assert to_scaled(str(from_scaled(units))) == units


@given(st.integers(0, 10**38 - 1))
def test_from_scaled_notional_keeps_every_digit(units: int) -> None:
    value = from_scaled(units, 16)
    sign, digits, exponent = value.as_tuple()
    assert (sign, exponent) == (0, -16)
    assert int("".join(map(str, digits))) == units


times = st.integers(0, LONGEST_BAR_US - 1)
sequences = st.integers(1 - SEQ_LIMIT, SEQ_LIMIT - 1)


@given(times, sequences, times, sequences)
def test_order_key_orders_as_pairs_do_and_fits_64_bits(us_a: int, seq_a: int, us_b: int, seq_b: int) -> None:
    start = 1_700_000_100_000_000
    key_a, key_b = order_key(start + us_a, seq_a, start), order_key(start + us_b, seq_b, start)
    assert (key_a < key_b) == ((us_a, seq_a) < (us_b, seq_b))
    assert -INT64 <= key_a < INT64


def test_order_key_extremes_of_a_bar_stay_apart() -> None:
    assert order_key(0, SEQ_LIMIT - 1, 0) < order_key(1, 1 - SEQ_LIMIT, 0)
    assert order_key(LONGEST_BAR_US - 1, SEQ_LIMIT - 1, 0) < INT64


@given(st.integers(0, 10**30), st.integers(1, 10**20))
def test_vwap_scaled_rounds_half_up(notional: int, volume: int) -> None:
    rounded = vwap_scaled(notional, volume)
    assert rounded is not None
    assert rounded - Fraction(1, 2) <= Fraction(notional, volume) < rounded + Fraction(1, 2)


def test_vwap_scaled_tie_goes_up() -> None:
    assert vwap_scaled(5, 2) == 3


def test_vwap_scaled_without_volume_is_none() -> None:
    assert vwap_scaled(0, 0) is None


def test_tick_json_round_trip_is_identity() -> None:
    made = tick(trade_id="7", venue="XNAS", conditions="20", reported_us=5)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Tick) == made


def test_bar_key_is_among_the_columns() -> None:
    assert set(BAR_KEY) < set(BAR_COLUMNS)
    assert bar().vwap == Decimal("190.25")
