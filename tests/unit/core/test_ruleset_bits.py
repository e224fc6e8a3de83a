"""The names of sale conditions."""

import pytest

from core.errors import ConfigError
from core.rulesets.bits import bits, named


def test_named_gives_every_bit_that_is_set_and_what_has_no_name() -> None:
    known = bits("us-equity")
    assert named("20000020", known) == ["intermarket_sweep", "exempt"]
    assert named("2000000000000021", known) == ["regular", "intermarket_sweep", "2000000000000000"]
    assert named(None, known) == named("", known) == named("no mask", known) == []


def test_bits_of_a_ruleset_without_conditions_are_none_and_of_no_ruleset_an_error() -> None:
    assert bits("all") == {}
    with pytest.raises(ConfigError, match="us-equity"):
        bits("us-equities")
