"""Lines whose values the socket does not bring: what is asked for, when, and what the chart makes of the answer."""

import asyncio
from typing import Any

import httpx
import orjson
from dash._utils import to_json

from core.indicators import columns_of, parse_all
from dashboard.client import ApiClient
from dashboard.figures.candles import columns, style
from dashboard.figures.overlays import COLUMNS, INDICATORS, LINES
from dashboard.pages import chart_reading
from dashboard.reader import SOURCES
from dashboard.theme import PALETTES
from tests.javascript import ASSETS, run_javascript

MODEL = ("../../tests/unit/dashboard/chart_library.js", "chart_bars.js", "chart_model.js")
START = 1_795_200_000
# A page with a chart, and a wire that writes down who follows what.
PAGE = """
  globalThis.follows = [];
  globalThis.tickstream = {follow: (what, params, handler) => {
    const own = {what, params, handler, open: true};
    follows.push(own);
    return {close: () => { own.open = false; }};
  }};
  globalThis.document = {hidden: false, addEventListener: (_, call) => { document.changed = call; }};
  const node = {};
  const soon = () => { page.written += 1; };
  const page = tickstreamChart.page = {written: 0, node: () => page.there, there: node, soon};
  require(given.asked);
  const {Model} = tickstreamChart;
  const model = new Model(given.payload);
  model.series(given.style, given.groups);
  page.shown = {model, names: {symbol: "A", interval: "1m"}, node, payload: {unpushed: given.unpushed}};
  const {check} = tickstreamChart.asked;
  const asked = () => follows.filter((each) => each.open).map(({what, params}) => [what, params.type]);
"""


def ask(code: str, unpushed: list[str], groups: tuple[str, ...] = ("vwap", "bbands", "sma50")) -> Any:
    """What the code, run in a page with a chart, returns."""
    rows = [_bar(minute) for minute in range(3)]
    values = [{"start": row["start"], "values": dict.fromkeys(COLUMNS, 7.0)} for row in rows]
    given = {
        "payload": columns(rows, values, 60),
        "style": style(PALETTES["light"]),
        "groups": groups,
        "unpushed": unpushed,
        "asked": str(ASSETS / "chart_asked.js"),
    }
    return run_javascript(MODEL, PAGE + code, orjson.loads(to_json(given)))


def _bar(minute: int, **changes: Any) -> dict[str, Any]:
    prices = dict.fromkeys(("open", "high", "low", "close"), 100.0)
    fields = {"start": chart_reading.text_of(START + 60 * minute), "volume": 1.0, "trade_count": 1, "rev": 1}
    return prices | fields | {"state": "final", "reason": None} | changes


def test_every_line_is_asked_for_by_a_name_that_the_api_answers_with_its_column() -> None:
    for line in LINES:
        answered = [column for each in parse_all(line.indicator or "vwap") for column in columns_of(each)]
        assert line.kind == "zone" or line.column in answered
    assert INDICATORS.count("macd") == 1


def test_nothing_is_asked_for_while_the_socket_brings_all_that_is_shown() -> None:
    assert ask("check(); return asked();", []) == []
    assert ask("check(); return asked();", ["ema_12", "ema_26"]) == [], "those are not shown"


def test_lines_that_are_not_pushed_are_asked_for_while_they_are_shown_and_seen() -> None:
    code = """
      const seen = [];
      const look = () => { check(); seen.push(asked()); };
      look();
      check();
      model.choose(given.style, ["sma50"]); look();
      document.hidden = true; document.changed(); seen.push(asked());
      document.hidden = false; document.changed(); seen.push(asked());
      model.choose(given.style, []); look();
      page.shown = null; look();
      return [seen, follows.length];
    """
    unpushed = ["bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower", "sma_50"]
    seen, count = ask(code, unpushed)
    sma = [["indicators", "sma:50"]]
    assert seen == [[["indicators", "bbands:20,2;sma:50"]], sma, [], sma, [], []]
    assert count == 3, "what is followed already is not asked for again"


def test_answer_moves_the_lines_and_another_page_ends_the_asking() -> None:
    code = """
      const time = model.newest.time;
      const answer = (value, rev) => ({newest: [{start: time * 1e6, rev, values: {sma_50: value}}]});
      check();
      const {handler} = follows[0];
      handler(answer(7.00001, 1)); handler({newest: null});
      const still = [page.written, model.dirty.size];
      handler(answer(8, 1));
      const ids = model.ticks().map((tick) => tick.id);
      handler(answer(9, 0));
      const held = model.newest.values.sma_50;
      page.there = {};
      handler(answer(10, 1));
      return {still, ids, held, written: page.written, after: model.newest.values.sma_50, open: asked()};
    """
    found = ask(code, ["sma_50"])
    assert found["still"] == [0, 0], "no value is new, and an answer that failed says nothing"
    assert {"sma_50", "sma_50:live"} <= set(found["ids"]) and found["written"] == 1
    assert found["held"] == 8, "an older revision is no news"
    assert found["after"] == 8 and found["open"] == []


def test_newest_values_are_read_as_the_socket_says_them() -> None:
    rows = [
        {"start": "2026-11-21T16:45:00.000000Z", "end": "", "rev": 2, "values": {"sma_50": 1.5}, "source": "computed"}
    ]
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json={"rows": rows})

    client = ApiClient("http://api", transport=httpx.MockTransport(answer))
    (fetch,) = SOURCES["indicators"].fetches.values()
    found = asyncio.run(fetch(client, {"symbol": "BTC/USD", "interval": "1m", "type": "sma:50"}))  # type: ignore[arg-type]
    assert found == [{"start": 1_795_279_500_000_000, "rev": 2, "values": {"sma_50": 1.5}}]
    assert asked[0].raw_path.startswith(b"/api/v1/indicators/BTC%2FUSD?")
    assert dict(asked[0].params) == {"interval": "1m", "type": "sma:50", "limit": "15"}


def test_columns_that_bars_come_without_are_known_from_the_start() -> None:
    def unpushed(answer: httpx.Response) -> list[str]:
        client = ApiClient("http://api", transport=httpx.MockTransport(lambda _: answer))
        return asyncio.run(chart_reading.unpushed_columns(client, "A", "1m"))

    carried = {name: None for name in COLUMNS if name != "sma_50"} | {"obv": 1.0}
    assert unpushed(httpx.Response(200, json={"rows": [{"values": carried}]})) == ["sma_50"]
    assert unpushed(httpx.Response(200, json={"rows": []})) == [], "without bars nothing moves"
    assert unpushed(httpx.Response(422, json={"status": 422, "title": "", "detail": "none"})) == list(COLUMNS)
