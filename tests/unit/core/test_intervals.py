"""Half-open UTC buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError
from core.intervals import INTERVALS, MINUTE_US, parse_intervals


@given(st.sampled_from(sorted(INTERVALS)), st.integers(0, 4_000_000_000_000_000))
def test_start_of_is_the_left_edge_of_a_half_open_bucket(name: str, event_us: int) -> None:
    interval = INTERVALS[name]
    start = interval.start_of(event_us)
    assert start <= event_us < start + interval.us
    assert start % interval.us == 0


def test_start_of_an_edge_belongs_to_the_bar_that_begins() -> None:
    assert INTERVALS["5m"].start_of(10 * MINUTE_US) == 10 * MINUTE_US
    assert INTERVALS["5m"].start_of(10 * MINUTE_US - 1) == 5 * MINUTE_US


def test_parse_intervals_keeps_order_and_drops_repeats() -> None:
    assert [i.name for i in parse_intervals("15m, 1m,1m,")] == ["15m", "1m"]


@pytest.mark.parametrize("text", ["7m", "", ",", "1m,2h"])
def test_parse_intervals_unknown_or_none_raises_naming_the_known(text: str) -> None:
    with pytest.raises(ConfigError, match="1m, 5m, 15m"):
        parse_intervals(text)
