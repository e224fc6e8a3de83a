"""The heat map: sizes, colours that are the same both ways, and the same changes as the grid's rows."""

from typing import Any

import pytest

from dashboard.figures.heat import MOST_TILES, OPEN, PRIOR, colour_limit, heat_figure, tiles
from dashboard.pages.market import MOST_FOLLOWED, base, parameters
from tests.javascript import run_javascript


def row(symbol: str, **changes: Any) -> dict[str, Any]:
    """A row of the overview."""
    fields = {
        "symbol": symbol,
        "session": "2024-10-04",
        "session_start": "2024-10-04T00:00:00.000000Z",
        "session_end": "2024-10-05T00:00:00.000000Z",
        "until": "2024-10-04T13:00:00.000000Z",
        "price": "110",
        "price_at": "2024-10-04T12:59:59.000000Z",
        "prior_close": "100",
        "open": "105",
        "high": "112",
        "low": "101",
        "volume": "10",
        "notional": "1100",
        "trade_count": 3,
        "closes": ["109", "110"],
    }
    return fields | changes


def test_tiles_are_the_largest_first_and_only_those_that_traded() -> None:
    rows = [row("A", notional="5"), row("B", notional="50"), row("C", notional="0"), row("D", price=None, open=None)]
    assert [tile.symbol for tile in tiles(rows)] == ["B", "A"]
    assert len(tiles([row(f"S{at}") for at in range(MOST_TILES + 5)])) == MOST_TILES


def test_change_is_against_the_prior_close_else_the_open_and_equals_the_grids() -> None:
    rows = [row("A"), row("B", prior_close=None), row("C", price="99.99", prior_close="101.07")]
    found = [(tile.change, tile.since) for tile in tiles(rows)]
    assert found == [(10.0, PRIOR), (4.7619, OPEN), (-1.0686, PRIOR)]
    code = "return given.map((row) => new globalThis.tickstreamMarket.Standing(row, 5).shown().change_percent);"
    assert run_javascript(["market_model.js"], code, rows) == [change for change, _ in found]


@pytest.mark.parametrize(
    ("changes", "limit"), [([], 0.25), ([0.1, -0.2], 0.25), ([-0.3], 0.5), ([1, 2, 7], 10), ([0.1] * 19 + [40], 0.25)]
)
def test_colour_limit_holds_most_changes(changes: list[float], limit: float) -> None:
    assert colour_limit(changes) == limit


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figure_is_symmetric_around_no_change(theme: Any) -> None:
    (trace,) = heat_figure([row("A", price="103"), row("B", price="97")], theme).data
    assert trace.type == "treemap" and trace.marker.cmin == -trace.marker.cmax == -3
    assert list(trace.labels) == ["A", "B"] and list(trace.marker.colors) == [3, -3]
    assert list(trace["values"]) == [1100, 1100] and trace.sort is False
    assert [stop for stop, _ in trace.marker.colorscale] == [0, 0.5, 1]
    assert [data[0] for data in trace.customdata] == [3, -3] and trace.customdata[0][3] == 1100


def test_figure_of_an_empty_market_has_no_tiles() -> None:
    assert list(heat_figure([], "light").data[0].labels or ()) == []


def test_the_browser_follows_those_with_most_notional_where_a_socket_cannot_take_all() -> None:
    rows = [row(f"S{at:04d}", notional=str(at)) for at in range(MOST_FOLLOWED + 2)]
    found = base({"symbols": rows, "truncated": False, "live": "ok"})
    assert len(found["rows"]) == MOST_FOLLOWED + 2 and len(found["followed"]) == MOST_FOLLOWED
    assert not {"S0000", "S0001"} & set(found["followed"]) and found["partial"] is False


def test_what_is_asked_of_the_api_leaves_the_newest_bars_to_the_socket() -> None:
    assert parameters(None)["apart"] == 3 and "symbols" not in parameters(None)
    assert parameters(["A", "B/C"])["symbols"] == "A,B/C"
