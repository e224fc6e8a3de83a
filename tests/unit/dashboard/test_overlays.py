"""The lines of the chart: what the API is asked for is what they show, and what a URL may switch."""

import doctest

import pytest

from core.indicators import columns_of, parse_all
from dashboard.figures import overlays
from dashboard.figures.overlays import COLUMNS, GROUPS, INDICATORS, LINES, RSI, SHOWN, ZONES, chosen, lines_of
from dashboard.theme import PALETTES


def test_examples_in_the_documentation() -> None:
    assert doctest.testmod(overlays).failed == 0


def test_what_is_asked_for_are_the_columns_that_are_drawn() -> None:
    answered = [column for indicator in parse_all(INDICATORS) for column in columns_of(indicator)]
    assert sorted(answered) == sorted(COLUMNS)


def test_every_group_switches_lines_and_every_line_of_a_group_is_known() -> None:
    assert {line.group for line in LINES if line.group} == set(GROUPS)
    assert set(SHOWN) <= set(GROUPS)


@pytest.mark.parametrize("group", GROUPS)
def test_group_adds_its_lines_and_takes_no_other_away(group: str) -> None:
    without = {line.column for line in lines_of([])}
    assert {"rsi_14", "macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist"} <= without
    added = {line.column for line in lines_of([group])} - without
    assert added == {line.column for line in LINES if line.group == group} != set()


def test_url_without_overlays_is_not_the_url_with_none() -> None:
    assert chosen(None) == SHOWN
    assert chosen("") == ()


def test_lines_of_a_pane_are_told_apart() -> None:
    for palette in PALETTES.values():
        colours = [
            overlays.line_series(line, palette)["colour"] for line in LINES if line.group and line.group != "bbands"
        ]
        assert len(set(colours)) == len(colours)


def test_zones_lie_in_the_pane_of_the_rsi_and_its_scale_always_reaches_them() -> None:
    made = {line.column: overlays.line_series(line, PALETTES["light"]) for line in LINES}
    assert {name: each["value"] for name, each in made.items() if each["kind"] == "zone"} == ZONES
    assert {made[name]["pane"] for name in ZONES} == {RSI}
    assert made["rsi_high"]["options"]["baseValue"]["price"] == ZONES["rsi_low"] == 30
    assert {name: [line["price"] for line in made[name]["priceLines"]] for name in ZONES} == {
        "rsi_low": [30],
        "rsi_high": [70],
    }
