"""The chart page: what a URL asks for, what is read for it, and how the browser's model follows the messages."""

import asyncio
import doctest
import json
import random
from itertools import pairwise
from types import ModuleType
from typing import Any

import orjson
import pytest
from dash._utils import to_json
from dash.development.base_component import Component

from dashboard.client import ApiClient, ApiDown, ApiRefused
from dashboard.figures import plotly_candles
from dashboard.figures.candles import AMENDED, BREAK_SECONDS, FORMING, NO_TRADE, columns, style
from dashboard.figures.overlays import BRIDGE_OPACITY, COLUMNS, SHOWN
from dashboard.pages import chart, chart_layout, chart_query, chart_reading
from dashboard.pages.chart_query import LEAST_BARS, MOST_BARS, RANGES, Asked, asked_of
from dashboard.pages.chart_reading import text_of
from dashboard.theme import PALETTES
from tests.javascript import run_javascript

START = 1_795_200_000
MODEL = ("../../tests/unit/dashboard/chart_library.js", "chart_bars.js", "chart_model.js", "chart_legend.js")
PLOTLY = ("chart_bars.js", "chart_model.js", "chart_plotly.js")
Message = dict[str, Any]


def bar(minute: int, close: float = 100.0, **changes: Any) -> dict[str, Any]:
    """A bar of the API, amounts as numbers."""
    fields = {"start": text_of(START + 60 * minute), "open": 100.0, "high": close + 1, "low": 99.0, "close": close}
    fields |= {"volume": 2.5, "trade_count": 3, "rev": 1, "state": "final", "reason": None}
    return fields | changes


def values(minute: int) -> dict[str, Any]:
    return {"start": text_of(START + 60 * minute), "values": {name: float(minute) for name in COLUMNS}}


class Shelf(ApiClient):
    """An API that has bars of one symbol, and can be made to fail."""

    def __init__(self, minutes: list[int], symbols: tuple[str, ...] = ("AAPL", "MSFT")) -> None:
        super().__init__("http://127.0.0.1:9")
        self.rows = [bar(minute) for minute in minutes]
        self.known = list(symbols)
        self.carried = set(COLUMNS)
        self.asked: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    async def symbols(self) -> list[str]:
        self._fail()
        return self.known

    async def bars(self, symbol: str, **params: Any) -> dict[str, Any]:
        self.asked.append({"symbol": symbol} | params)
        rows, more = self._page(params)
        return {"bars": rows, "previous": "c" if more else None}

    async def indicators(self, symbol: str, **params: Any) -> dict[str, Any]:
        assert symbol in (*self.known, "NOBODY")
        rows, _ = self._page(params)
        asked = set(COLUMNS) if "type" in params else self.carried
        values = dict.fromkeys(asked) | {"vwap": 1.0}
        return {"rows": [{"start": row["start"], "rev": 1, "values": values} for row in rows]}

    def _page(self, params: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
        self._fail()
        end = params.get("end") or "9"
        found = [row for row in self.rows if row["start"] < end]
        return found[-params["limit"] :], len(found) > params["limit"]

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


def load(client: Shelf, **asked: Any) -> dict[str, Any]:
    """The payload as the browser gets it."""
    return orjson.loads(to_json(asyncio.run(chart.loaded(client, Asked(**{"symbol": "AAPL"} | asked)))))


# --- what is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [chart_query, chart_reading, plotly_candles])
def test_examples_in_the_documentation(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("query", [{}, {"interval": "2m", "range": "x", "engine": "x"}, {"symbol": "", "range": ""}])
def test_url_that_says_nothing_or_nonsense_is_the_usual_chart(query: dict[str, str]) -> None:
    assert asked_of(query) == Asked(None)


def test_enough_bars_are_read_for_a_range_in_which_every_minute_has_one() -> None:
    assert Asked("A", "1m", "1w").count == 10_080
    assert Asked("A", "15m", "1w").count == 672
    assert Asked("A", "15m", "1h").count == LEAST_BARS
    assert Asked("A", "1m", "all").count == MOST_BARS


def test_page_has_what_the_url_asked_for_in_its_pickers() -> None:
    asked = asked_of({"symbol": "BTC/USD", "interval": "5m", "range": "1w", "overlays": "ema12"})
    page = json.loads(to_json(chart_layout.page(asked)))
    found = {each["id"]: each for each in _components(page)}
    assert [found[f"chart-{name}"]["value"] for name in ("symbol", "interval", "range", "overlays")] == [
        *("BTC/USD", "5m", "1w"),
        ["ema12"],
    ]
    assert found["chart-asked"]["data"] == {**vars(asked), "groups": ["ema12"], "overlays": "ema12"}
    assert "chart" in found and "chart-plotly" not in found


def test_plotly_is_in_the_page_only_where_it_is_asked_for() -> None:
    page = json.loads(to_json(chart.layout({"symbol": "A", "engine": "plotly"})))
    found = {each["id"] for each in _components(page)}
    assert "chart-plotly" in found and "chart" not in found


def test_every_part_that_callbacks_name_is_in_the_page() -> None:
    found = {each["id"] for each in _components(json.loads(to_json(chart.layout({}))))}
    assert found >= {"chart", "chart-data", "chart-older", "chart-asked", "chart-older-asked", "chart-styles"}
    assert found >= {f"chart-done-{name}" for name in chart_layout.CALLBACKS}


def _components(node: Any) -> list[dict[str, Any]]:
    """The properties of all components that have an id."""
    if isinstance(node, list):
        return [found for each in node for found in _components(each)]
    if not isinstance(node, dict) or "props" not in node:
        return []
    own = [node["props"]] if "id" in node["props"] else []
    return own + _components(node["props"].get("children"))


# --- what is read ----------------------------------------------------------------------------------------------------


def test_week_is_read_whole_though_an_answer_has_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart_reading, "MOST", 4_000)
    client = Shelf(list(range(12_000)))
    payload = load(client, range="1w")
    times = payload["columns"]["time"]
    assert len(times) == MOST_BARS and {after - before for before, after in pairwise(times)} == {60}
    assert [each["limit"] for each in client.asked] == [4_000, 4_000, 2_080]
    assert payload["more"] is True
    assert payload["columns"]["vwap"] == [1.0] * MOST_BARS


def test_range_counts_back_from_the_newest_bar_and_not_over_holes() -> None:
    night = 17 * 60
    minutes = [*range(60), *range(60 + night, 60 + night + 30)]
    assert load(Shelf(minutes), range="1h")["visible"] == 30
    assert load(Shelf(minutes), range="1d")["visible"] == 90
    assert load(Shelf(minutes), range="all")["visible"] == 90


def test_start_of_history_is_known() -> None:
    assert load(Shelf(list(range(10))))["more"] is False
    assert load(Shelf(list(range(400))), range="1h")["more"] is True


def test_without_a_symbol_the_first_is_shown() -> None:
    client = Shelf([0])
    assert load(client, symbol=None)["symbol"] == "AAPL"
    assert client.asked[0]["symbol"] == "AAPL"


def test_empty_market_and_unknown_symbol_are_said_in_words() -> None:
    assert "No symbol" in load(Shelf([], symbols=()), symbol=None)["problem"]
    client = Shelf([])
    client.failure = ApiRefused({"status": 404, "title": "Not Found", "detail": "unknown symbol NOBODY; GET /…"})
    assert load(client, symbol="NOBODY")["problem"] == "Nobody has heard of NOBODY. Choose another symbol."


def test_api_that_is_down_is_asked_again() -> None:
    client = Shelf([0])
    client.failure = ApiDown("no", 7.0)
    found = load(client)
    assert found["retry"] == 7.0 and "columns" not in found and "problem" not in found
    older = asyncio.run(chart.extended(client, Asked("AAPL"), START))
    assert (older["retry"], older["symbol"]) == (7.0, "AAPL")
    assert asyncio.run(chart.symbols(client, "AAPL")) == ["AAPL"]


def test_older_bars_end_where_the_others_begin() -> None:
    client = Shelf([*range(0, 50), *range(53, 400)])
    payload = asyncio.run(chart.extended(client, Asked("AAPL"), START + 53 * 60))
    times = payload["columns"]["time"].tolist()
    assert [(time - START) // 60 for time in times] == list(range(53)), "the slots up to the next bar are there"
    assert payload["more"] is False


# --- what the browser makes of it ------------------------------------------------------------------------------------


def starting(minutes: int, **last: Any) -> dict[str, Any]:
    rows = [bar(minute) for minute in range(minutes - 1)] + [bar(minutes - 1, **last)]
    return columns(rows, [values(minute) for minute in range(minutes)], 60)


def follow(steps: list[list[Message]], payload: dict[str, Any] | None = None, groups: tuple[str, ...] = SHOWN) -> Any:
    """What the chart shows after these messages, a list for each frame, and what it would show if it were new."""
    made = payload or starting(4, rev=0, state="forming")
    given = {"payload": made, "style": style(PALETTES["light"]), "groups": groups, "steps": steps}
    code = "return follow(given.payload, given.style, given.groups, given.steps);"
    return run_javascript(MODEL, code, orjson.loads(to_json(given)))


def pushed(minute: int, close: float = 100.0, rev: int = 0, state: str = "forming", **changes: Any) -> Message:
    """A bar as a message has it: exact text, microseconds."""
    amounts = {"open": 100, "high": max(close, 100) + 1, "low": 99, "close": close, "volume": 2.5}
    data = {"start": (START + 60 * minute) * 1_000_000, "rev": rev, "state": state, "reason": None, "trade_count": 9}
    return {"channel": "bars", "data": data | {name: f"{value:.8f}" for name, value in amounts.items()} | changes}


def pushed_values(minute: int, value: float | None, rev: int = 0) -> Message:
    start = (START + 60 * minute) * 1_000_000
    return {"channel": "indicators", "data": {"start": start, "rev": rev, "values": dict.fromkeys(COLUMNS, value)}}


def test_ticks_of_the_forming_bar_touch_the_small_series_alone() -> None:
    code = """
      const {Model} = tickstreamChart;
      const model = new Model(given.payload);
      model.series(given.style, given.groups);
      given.steps[0].forEach(({channel, data}) => (channel === "bars" ? model.bar(data) : model.indicators(data)));
      return model.ticks().map((tick) => tick.id);
    """
    given = {"payload": starting(100, rev=0, state="forming"), "style": style(PALETTES["light"]), "groups": SHOWN}
    steps = [[pushed(99, 101.0), pushed_values(99, 5.0)]]
    touched = set(run_javascript(MODEL, code, orjson.loads(to_json(given | {"steps": steps}))))
    assert {"price:live", "volume:live", "vwap:live", "rsi_14:live", "last"} <= touched
    assert all(name.endswith(":live") for name in touched - {"last", "rsi_high", "rsi_low"})


def test_bar_that_is_final_moves_to_the_big_series_as_it_is() -> None:
    found = follow([[pushed(3, 107.0, rev=1, state="final"), pushed_values(3, 8.0, rev=1)], [pushed(4, 108.0)]])
    assert found["followed"] == found["afresh"]
    assert found["written"]["all"] == 0
    assert found["settled"] == 4
    assert found["followed"]["price"][str(START + 180)]["close"] == 107
    assert found["followed"]["vwap"][str(START + 180)]["value"] == 8


def test_amended_bar_changes_where_it_is() -> None:
    found = follow([[pushed(1, 120.0, rev=2, state="amended", reason="late tick")]])
    assert found["followed"] == found["afresh"]
    assert [(row["state"], row["rev"], row["close"]) for row in found["rows"]][1] == (AMENDED, 2, 120)
    assert found["written"]["all"] == 1 and len(found["rows"]) == 4


def test_line_only_connects_over_slots_without_a_trade_and_over_breaks() -> None:
    """The colour of a point is that of the line from there to the next one."""
    hole, night = columns([bar(0), bar(1), bar(4)], [values(0), values(1), values(4)], 60), BREAK_SECONDS // 60
    steps = [[pushed(5), pushed_values(5, 5.0)], [pushed(8), pushed_values(8, 8.0)],
             [pushed(8 + night), pushed_values(8 + night, 9.0)]]  # fmt: skip
    found = follow(steps, hole)
    assert found["followed"] == found["afresh"]
    for name in ("vwap", "bbands_20_2_upper", "rsi_14", "macd_12_26_9"):
        points = {(int(time) - START) // 60: point for time, point in found["followed"][name].items()}
        assert sorted(points) == [0, 1, 4, 5, 8, 8 + night], "a slot without a trade has no value"
        pale = {minute for minute, point in points.items() if "color" in point}
        assert pale == {1, 5, 8}, name
        spec = next(spec for spec in style(PALETTES["light"])["series"] if spec["id"] == name)
        assert {points[minute]["color"] for minute in pale} == {spec["bridge"]} != {spec["colour"]}


def test_late_bar_in_an_empty_slot_makes_the_line_whole() -> None:
    found = follow([[pushed(6)], [pushed(4, state="final", rev=1), pushed_values(4, 4.0, rev=1)],
                    [pushed(5, state="amended", rev=2), pushed_values(5, 5.0, rev=2)]])  # fmt: skip
    assert found["followed"] == found["afresh"]
    assert not any("color" in point for point in found["followed"]["vwap"].values())


def test_columns_stand_on_zero_and_say_how_far_they_reach_to_both_sides() -> None:
    """Of several in a pixel the library shows the highest high and the lowest low."""
    found = follow([[pushed(3, 99.5), pushed_values(3, -0.25)]])["followed"]
    volume, histogram = found["volume"][str(START + 180)], found["macd_12_26_9_hist"][str(START + 180)]
    assert [volume[name] for name in ("open", "high", "low", "close")] == [0, 2.5, 0, 2.5]
    assert [histogram[name] for name in ("open", "high", "low", "close")] == [0, 0, -0.25, -0.25]
    assert (
        volume["color"]
        == volume["wickColor"]
        == histogram["color"]
        == style(PALETTES["light"])["series"][1]["colours"][0]
    )


@pytest.mark.parametrize(
    ("traded", "merged"),
    [
        (lambda _: True, 2.0),
        (lambda minute: minute % 4 == 0, 0.5),  # four times as far apart: as wide on the screen
        (lambda minute: minute < 600 or minute % 8 == 0, 0.25),  # sparse for a third of the time
        (lambda minute: not 600 <= minute < 630, 2.0),  # half an hour without a trade does not spoil the rest
    ],
    ids=["dense", "even", "evenings", "halt"],
)
def test_bars_are_shown_together_only_up_to_a_width_however_far_apart_they_are(traded: Any, merged: float) -> None:
    minutes = [minute for minute in range(897) if traded(minute)]
    payload = columns([bar(minute) for minute in minutes], [], 60)
    code = "return new tickstreamChart.Model(given).merging;"
    found = run_javascript(MODEL, code, orjson.loads(to_json(payload)))
    assert found == pytest.approx(merged, rel=0.05)


def test_chart_without_bars_has_a_width_too() -> None:
    payload = orjson.loads(to_json(columns([], [], 60)))
    assert run_javascript(MODEL, "return new tickstreamChart.Model(given).merging;", payload) == 2


def test_small_series_of_a_line_is_never_a_single_point_which_would_be_drawn_as_a_dash() -> None:
    code = """
      const {Model} = tickstreamChart;
      const series = new Model(given.payload).series(given.style, given.groups);
      return series.filter((each) => each.id.endsWith(":live") && each.type === "line").map((each) => each.data.length);
    """
    for last in ({"rev": 0, "state": "forming"}, {}):
        given = {"payload": starting(9, **last), "style": style(PALETTES["light"]), "groups": SHOWN}
        assert set(run_javascript(MODEL, code, orjson.loads(to_json(given)))) == {2}


def test_older_revision_changes_nothing() -> None:
    steps = [[pushed(1, 120.0, rev=2, state="amended")], [pushed(1, 90.0, rev=1, state="final"), pushed(1, 80.0)]]
    assert follow(steps)["rows"][1]["close"] == 120


def test_minutes_nobody_traded_in_are_empty_slots_and_a_break_is_none() -> None:
    found = follow([[pushed(7)]])
    assert [row["state"] for row in found["rows"][3:]] == [FORMING, NO_TRADE, NO_TRADE, NO_TRADE, FORMING]
    after = follow([[pushed(3 + BREAK_SECONDS // 60)]])
    assert len(after["rows"]) == 5 and after["rows"][-1]["afterBreak"] is True
    assert found["followed"] == found["afresh"] and after["followed"] == after["afresh"]


def test_late_bar_in_an_empty_slot_takes_no_other_away() -> None:
    """The library, told of a past point where a series has none, overwrites the one after it."""
    found = follow(
        [[pushed(7)], [pushed(5, 111.0, rev=2, state="amended")], [pushed(6, 112.0, rev=2, state="amended")]]
    )
    assert found["followed"] == found["afresh"]
    closes = {int(time): point["close"] for time, point in found["followed"]["price"].items()}
    assert [closes.get(START + 60 * minute) for minute in (4, 5, 6, 7)] == [None, 111, 112, 100]


def test_price_with_more_decimals_than_before_is_shown_with_all() -> None:
    assert follow([[pushed(4, 100.125)]])["decimals"] == 3
    assert follow([[pushed(4, 100.1)]])["decimals"] == 2


def test_empty_chart_begins_with_the_first_trade() -> None:
    found = follow([[pushed(0, 5.0)], [pushed_values(0, None)], [pushed(1, 6.0)]], columns([], [], 60))
    assert found["followed"] == found["afresh"]
    assert [row["close"] for row in found["rows"]] == [5, 6]


@pytest.mark.parametrize("seed", range(6))
def test_following_messages_shows_what_a_new_chart_would(seed: int) -> None:
    """Whatever comes in whatever order: bars that grow, close late, come again, are amended, are skipped."""
    steps = life(random.Random(seed))
    found = follow(steps, groups=("vwap", "bbands", "ema26"))
    assert found["followed"] == found["afresh"]
    assert found["written"]["ticks"] > 500


def life(dice: random.Random) -> list[list[Message]]:
    minute, revisions, steps = 3, dict.fromkeys(range(3), 1) | {3: 0}, []
    for _ in range(150):
        frame = []
        for _ in range(dice.choice([1, 1, 2, 5])):
            what = dice.random()
            close = dice.randint(9_000, 11_000) / 100
            if what < 0.2:
                minute += dice.choice([1, 1, 1, 2, 5, 70])
                revisions[minute] = 0
            at = minute if what < 0.7 else dice.choice(list(revisions))
            if what > 0.75:
                revisions[at] += 1
            if what > 0.97:
                at = dice.randint(0, minute)
                revisions[at] = revisions.get(at, 1) + 1
            rev = revisions[at]
            frame.append(pushed(at, close, rev, ("forming", "final")[rev] if rev < 2 else "amended"))
            if dice.random() < 0.8:
                frame.append(pushed_values(at, None if dice.random() < 0.1 else close, rev))
        steps.append(frame)
    return steps


def test_chart_that_is_read_again_keeps_what_was_loaded_and_takes_what_is_newer() -> None:
    code = """
      const {Model} = tickstreamChart;
      const model = new Model(given.before);
      model.bar(given.live.data);
      model.series(given.style, []);
      model.merge(given.again);
      const rows = model.rows.map((row) => [row.state, row.rev, row.close]);
      return [rows, model.stale, model.series(given.style, []).length > 0];
    """
    again = [bar(2), bar(3, 103.5, rev=2, state="amended"), bar(4, 90.0, rev=1), bar(6, 106.0, rev=0, state="forming")]
    given = {"before": starting(4), "again": columns(again, [], 60), "live": pushed(4, 104.0, rev=2, state="amended")}
    rows, *done = run_javascript(MODEL, code, orjson.loads(to_json(given | {"style": style(PALETTES["dark"])})))
    assert rows == [[1, 1, 100], [1, 1, 100], [1, 1, 100], [2, 2, 103.5], [2, 2, 104], [3, 0, None], [0, 0, 106]]
    assert done == [True, True]


def test_lines_go_on_across_empty_slots_to_the_forming_bar() -> None:
    code = """
      const {Model} = tickstreamChart;
      const series = new Model(given.payload).series(given.style, ["vwap"]);
      return Object.fromEntries(series.map(({id, data}) => [id, data.map((point) => point.time)]));
    """
    payload = columns([bar(0), bar(1), bar(4, rev=0, state="forming")], [values(minute) for minute in (0, 1, 4)], 60)
    found = run_javascript(MODEL, code, orjson.loads(to_json({"payload": payload, "style": style(PALETTES["dark"])})))
    assert [(time - START) // 60 for time in found["vwap:live"]] == [1, 4]
    assert [(time - START) // 60 for time in found["vwap"]] == [0, 1]


def test_numbers_for_people() -> None:
    code = """
      const {human, duration, clock} = tickstreamChart.legend;
      const amounts = [0, 12, 1.23456, 999.5, 1234567, 2.5e9, null].map(human);
      return [amounts, [60, 5400, 63000, 180000].map(duration), clock(1795279500, 300)];
    """
    amounts, spans, slot = run_javascript(MODEL, code)
    assert amounts == ["0", "12", "1.2346", "999.5", "1.23M", "2.50B", "–"]
    assert spans == ["1 min", "1 h 30 min", "17 h 30 min", "2 d 2 h"]
    assert slot == "2026-11-21 16:45–16:50 UTC"


# --- Plotly ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_plotly_has_the_same_panes_without_range_breaks(theme: Any) -> None:
    payload = columns([bar(0), bar(1), bar(3), bar(2000)], [values(0)], 60) | {"symbol": "A", "interval": "1m"}
    made = plotly_candles.figure(payload, ("vwap",), theme)
    drawn = {trace.meta["column"]: trace for trace in made.data}
    assert set(drawn) == {
        "price",
        "volume",
        "vwap",
        "rsi_14",
        "macd_12_26_9",
        "macd_12_26_9_signal",
        "macd_12_26_9_hist",
    }
    assert {trace.yaxis for trace in made.data} == {"y", "y2", "y3", "y4"}
    assert made.layout.xaxis.type == "category" and not made.layout.xaxis.rangebreaks
    slots = [plotly_candles.slot_text(int(time)) for time in payload["columns"]["time"]]
    assert list(made.layout.xaxis.categoryarray) == slots and len(slots) == 5
    assert len(drawn["price"].x) == 4 and drawn["price"].x[0] == plotly_candles.slot_text(START)
    assert made.layout.uirevision == "A 1m"


def test_plotly_breaks_a_line_where_slots_are_empty_and_connects_it_palely() -> None:
    rows, found = [bar(0), bar(1), bar(3)], [values(0), values(1), values(3)]
    made = plotly_candles.figure(columns(rows, found, 60), ("vwap",), "light")
    pale, line = (trace for trace in made.data if trace.meta["column"] == "vwap")
    assert (pale.connectgaps, pale.opacity, pale.line.color) == (True, BRIDGE_OPACITY, line.line.color)
    assert not line.connectgaps and line.opacity is None
    whole = plotly_candles.figure(columns(rows[:2], found[:2], 60), ("vwap",), "light")
    assert [trace.meta["column"] for trace in whole.data].count("vwap") == 1


def test_plotly_is_drawn_by_the_server_where_it_is_asked_for() -> None:
    assert "figure" not in load(Shelf([0, 1]))
    figure = load(Shelf([0, 1]), engine="plotly")["figure"]
    assert figure["data"][0]["type"] == "candlestick"


def test_plotly_follows_the_bars_once_a_second_at_most() -> None:
    code = """
      const [written, waits] = [[], []];
      globalThis.dash_clientside = {set_props: (id, {figure}) => written.push([id, figure])};
      globalThis.setTimeout = (call, wait) => { waits.push(wait); globalThis.later = call; return 1; };
      const {Model, plotly} = tickstreamChart;
      const model = new Model(given.payload);
      tickstreamChart.style = () => given.style;
      plotly.draw(given.payload.figure);
      given.steps.forEach((data) => { model.bar(data); plotly.update(model); });
      later();
      const [id, figure] = written[1];
      const price = figure.data.find((trace) => trace.meta.column === "price");
      const volume = figure.data.find((trace) => trace.meta.column === "volume");
      const slots = Object.values(figure.layout).map((axis) => axis.categoryarray?.length).filter(Boolean);
      const colours = volume.marker.color.length;
      return {count: written.length, waits, id, close: price.close, x: price.x, slots, colours};
    """
    payload = starting(3) | {"symbol": "A", "interval": "1m"}
    payload["figure"] = plotly_candles.figure(payload, ("vwap",), "dark").to_plotly_json()
    steps = [pushed(4, 101.0)["data"], pushed(4, 102.0)["data"]]
    given = {"payload": payload, "style": style(PALETTES["dark"]), "steps": steps}
    found = run_javascript(("../../tests/unit/dashboard/chart_library.js", *PLOTLY), code, orjson.loads(to_json(given)))
    assert found["count"] == 2 and found["id"] == "chart-plotly"
    assert len(found["waits"]) == 1 and 900 < found["waits"][0] <= 1000
    assert found["close"] == [100, 100, 100, 102] and found["x"][-1] == plotly_candles.slot_text(START + 240)
    assert found["slots"] == [5] * 4 and found["colours"] == 4


def test_ranges_are_those_of_the_page() -> None:
    assert list(RANGES) == ["1h", "6h", "1d", "1w", "all"]
    assert isinstance(chart.layout({}), Component)
