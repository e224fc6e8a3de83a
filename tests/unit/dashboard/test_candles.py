"""Bars become columns: empty slots, breaks, indicators beside their bars, and as many decimals as the prices need."""

import doctest
from typing import Any

import numpy as np
import orjson
import pytest
from dash._utils import to_json
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.figures import candles
from dashboard.figures.candles import AMENDED, BREAK_SECONDS, FINAL, FORMING, NO_TRADE, columns, with_slots
from dashboard.figures.overlays import COLUMNS
from dashboard.pages.chart_reading import text_of
from dashboard.theme import PALETTES

START = 1_795_200_000


def bar(second: int, close: float | None = 100.25, **changes: Any) -> dict[str, Any]:
    """A bar of the API, amounts as numbers."""
    fields = {"start": text_of(START + second), "open": close, "high": close, "low": close, "close": close}
    fields |= {"volume": 2.5, "trade_count": 3, "rev": 1, "state": "final", "reason": None}
    return fields | changes


def row(second: int, **values: float | None) -> dict[str, Any]:
    return {"start": text_of(START + second), "values": dict.fromkeys(COLUMNS) | values}


def listed(payload: dict[str, Any]) -> dict[str, list[Any]]:
    """The columns as the browser gets them."""
    return orjson.loads(to_json(payload))["columns"]


def test_examples_in_the_documentation() -> None:
    assert doctest.testmod(candles).failed == 0


def test_slots_without_a_trade_are_rows_without_amounts() -> None:
    found = listed(columns([bar(0), bar(180)], [row(0, vwap=100.0), row(180, vwap=101.0)], 60))
    assert [time - START for time in found["time"]] == [0, 60, 120, 180]
    assert found["state"] == [FINAL, NO_TRADE, NO_TRADE, FINAL]
    assert found["close"] == [100.25, None, None, 100.25]
    assert found["volume"] == [2.5, None, None, 2.5]
    assert found["vwap"] == [100.0, None, None, 101.0]
    assert found["rev"] == [1, 0, 0, 1]


def test_break_is_left_out_of_the_axis_and_a_hole_just_shorter_is_not() -> None:
    night = columns([bar(0), bar(BREAK_SECONDS)], [], 60)["columns"]
    assert [int(time) - START for time in night["time"]] == [0, BREAK_SECONDS]
    outage = columns([bar(0), bar(BREAK_SECONDS - 60)], [], 60)["columns"]
    assert np.diff(outage["time"]).tolist() == [60] * (BREAK_SECONDS // 60 - 1)


def test_page_of_older_bars_is_filled_up_to_the_bars_after_it() -> None:
    near = columns([bar(0), bar(60)], [], 60, until=START + 240)["columns"]
    assert [int(time) - START for time in near["time"]] == [0, 60, 120, 180]
    far = columns([bar(0), bar(60)], [], 60, until=START + 90_000)["columns"]
    assert [int(time) - START for time in far["time"]] == [0, 60]


def test_states_revisions_and_reasons_stay_with_their_bars() -> None:
    rows = [bar(0, rev=3, state="amended", reason="late tick"), bar(120, rev=0, state="forming")]
    payload = columns(rows, [], 60)
    assert listed(payload)["state"] == [AMENDED, NO_TRADE, FORMING]
    assert listed(payload)["rev"] == [3, 0, 0]
    assert payload["reasons"] == {str(START): "late tick"}


def test_bar_whose_trades_set_no_price_has_none() -> None:
    found = listed(columns([bar(0), bar(60, None)], [], 60))
    assert found["close"] == [100.25, None]
    assert found["state"] == [FINAL, FINAL]


@pytest.mark.parametrize(
    ("closes", "decimals"),
    [([100.0], 2), ([187.3], 2), ([0.1 + 0.2], 8), ([1.23456789], 8), ([0.00001234, 0.5], 8), ([1.125], 3), ([], 2)],
)
def test_prices_have_as_many_decimals_as_they_need(closes: list[float], decimals: int) -> None:
    assert columns([bar(60 * n, close) for n, close in enumerate(closes)], [], 60)["decimals"] == decimals


def test_indicators_of_bars_that_are_not_there_change_nothing() -> None:
    """Bars and indicators are two answers: a bar may have come or gone in between."""
    found = listed(columns([bar(60), bar(120)], [row(0, rsi_14=1.0), row(120, rsi_14=70.0), row(180, rsi_14=2.0)], 60))
    assert found["rsi_14"] == [None, 70.0]


def test_nothing_gives_empty_columns() -> None:
    found = listed(columns([], [], 60))
    assert set(found) >= {"time", "state", "open", "volume", *COLUMNS}
    assert all(values == [] for values in found.values())


@given(st.lists(st.integers(1, 90), max_size=60), st.sampled_from([60, 300, 900]))
@settings(max_examples=60)
def test_slots_are_even_but_for_breaks_and_every_bar_is_among_them(steps: list[int], seconds: int) -> None:
    starts = START + np.cumsum([0, *steps]) * seconds
    times, places = with_slots(starts, seconds)
    assert times[places].tolist() == starts.tolist()
    assert set(np.diff(times).tolist()) <= {seconds} | {step for step in np.diff(starts) if step >= BREAK_SECONDS}


def test_every_series_is_in_both_themes_and_its_twin_in_the_same_pane() -> None:
    light, dark = (candles.series(palette) for palette in PALETTES.values())
    assert [each["id"] for each in light] == [each["id"] for each in dark]
    assert len({each["id"] for each in light}) == len(light)
    assert {each["pane"] for each in light} == set(candles.PANES) == {0, 1, 2, 3}
    held_apart = {each["id"] for each in light if "live" in each}
    assert held_apart >= {"price", "volume", "vwap", "rsi_14", "macd_12_26_9_hist"}


def test_forming_candles_are_paler_with_the_same_edge() -> None:
    for palette in PALETTES.values():
        (price,) = (each for each in candles.series(palette) if each["id"] == "price")
        assert price["options"]["upColor"] == price["options"]["borderUpColor"] == palette.up
        assert price["live"]["upColor"].startswith(palette.up) and len(price["live"]["upColor"]) == 9
        assert "borderUpColor" not in price["live"]


def test_attribution_of_the_library_is_shown() -> None:
    assert all(candles.chart_options(palette)["layout"]["attributionLogo"] for palette in PALETTES.values())
