"""A page that is left and come back to at once, before its timer has noticed: the new visit has a grid of its own."""

from typing import Any

import pytest

from tests.javascript import ASSETS, run_javascript

FILES = ("../../tests/unit/dashboard/page_stub.js", "market_model.js")
ROW = {
    "symbol": "A",
    "session": "2026-01-05",
    "session_start": "2026-01-05T00:00:00.000000Z",
    "session_end": "2026-01-06T00:00:00.000000Z",
    "until": "2026-01-05T10:00:00.000000Z",
    "price_at": "2026-01-05T09:59:00.000000Z",
    "age_seconds": 1,
    "trade_count": 1,
    "closes": ["1", "2"],
    **dict.fromkeys(("open", "low", "prior_close", "volume"), "1"),
    **dict.fromkeys(("high", "price", "notional"), "2"),
}
PREDICTION = {"symbol": "A", "horizon": 5, "model": "m", "end_us": 0, "outcome_us": 60_000_000, "abstains": []}
BASES: dict[str, dict[str, Any]] = {
    "market": {"rows": [ROW], "points": 30, "stale_after": 60, "followed": ["A"], "live": "ok"},
    "predictions": {"rows": [PREDICTION], "interval": "1m", "bar_us": 60_000_000, "now_us": 0, "followed": ["A"]},
}
VISITS = """
const grids = [];
let nodes = {};
class Grid {
  rows = 0;
  isDestroyed() { return this !== grids[grids.length - 1]; }
  applyTransaction({add = []}) { this.rows += add.length; }
  applyTransactionAsync(changes) { this.applyTransaction(changes); }
  getColumnState() { return []; }
  getDisplayedRowCount() { return this.rows; }
  addEventListener() {} setColumnsVisible() {} applyColumnState() {} refreshCells() {} setGridOption() {}
  sizeColumnsToFit() {}
}
const arrive = () => { nodes = {}; grids.push(new Grid()); };
const leave = () => { nodes = null; grids.push(null); };
document.getElementById = (id) => (nodes === null ? null : nodes[id] ??= {dataset: {}, value: "", clientWidth: 1000});
document.querySelector = () => null;
location.search = "";
globalThis.addEventListener = () => {};
globalThis.innerWidth = 1500;
globalThis.dash_ag_grid = {getApiAsync: () => ({then: (call) => call(grids[grids.length - 1])})};
let subscriptions = 0;
globalThis.tickstream = {
  nowUs: () => clock.now * 1000, subscribe: () => { subscriptions += 1; return {close() { subscriptions -= 1; }}; },
};
require(given.script);
const load = () => { globalThis.dash_clientside[given.name].load(given.base); clock.pass(100); };
"""


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("away_ms", [0, 300, 3000])
def test_page_that_is_come_back_to_fills_its_new_grid(name: str, away_ms: int) -> None:
    code = f"""{VISITS}
        arrive();
        load();
        leave();
        clock.pass({away_ms});
        arrive();
        load();
        return [grids.map((grid) => grid && grid.rows), subscriptions];
    """
    script = str(ASSETS / f"{name}.js")
    found = run_javascript(FILES, code, {"name": name, "base": BASES[name], "script": script})
    assert found == [[1, None, 1], 1]
