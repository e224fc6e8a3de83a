"""The pipeline page: what it says of the API's answers, that it says so when there are none, and what it remembers."""

import asyncio
import copy
import doctest
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from api.models_market import KafkaAnswer
from api.models_pipeline import DeadLettersAnswer, GapCounts, QueriesAnswer, StoresAnswer
from dashboard.client import ApiDown
from dashboard.figures import lines, stages
from dashboard.pages import pipeline, pipeline_texts, pipeline_view, pipeline_words
from dashboard.reader import SOURCES
from tests.javascript import run_javascript

NOW = 1_767_623_400_000_000  # 2026-01-05T14:30:00Z
AT = "2026-01-05T14:30:00.000000Z"
SERIES = "pipeline_series.js"
Change = Callable[[dict[str, Any]], None]


def query(name: str, state: str = "running", **changes: Any) -> dict[str, Any]:
    fields = {"query": name, "what": "into `bars.live`", "state": state, "because": "seen", "as_of": AT, "lag": 12}
    fields |= {"overdue": 0, "allowed_seconds": 10.0, "batch": 3, "watermark": None}
    return fields | {"watermark_lag_seconds": None, "watermark_allowed_seconds": None} | changes


def stage(name: str, p50: float | None = 3.0, p95: float | None = 9.0) -> dict[str, Any]:
    count = 0 if p50 is None else 60
    return {"stage": name, "what": "", "count": count, "p50_ms": p50, "p95_ms": p95, "p99_ms": p95, "max_ms": p95}


def topic(name: str, end: int, newest: str | None = AT) -> dict[str, Any]:
    partitions = [{"partition": number, "first": 0, "end": end} for number in range(2)]
    return {"topic": name, "partitions": partitions, "records": 2 * end, "newest": newest}


def answers() -> dict[str, Any]:
    """What the API says of a pipeline that is well."""
    final = query("final", watermark="2026-01-05T14:29:48.700000Z", watermark_lag_seconds=11.3)
    reader = {"reader": "final", "topic": "ticks", "lag": 12, "partitions": {}, "source": "checkpoint", "as_of": AT}
    windows = [
        {"minutes": minutes, "ticks": 12_000 * minutes, "ticks_per_second": 200.0, "bars": 20, "bars_per_second": 0.33}
        for minutes in (1, 5, 15)
    ]
    store = {"state": "ok", "latency_ms": 2.1, "error": None}
    measured = [stage(name) for name in (*pipeline_view.STAGES.values(), "received_to_redis")]
    counts = ("connections_total", "sent", "conflated", "dropped", "slow_closes", "streams")
    return {
        "at_us": NOW,
        "errors": {},
        "latency": {"live": "ok", "stages": measured},
        "throughput": {"to": AT, "windows": windows},
        "kafka": {"at": AT, "topics": [topic("ticks", 500), topic("bars.live", 900)], "readers": [reader]},
        "queries": {"at": AT, "queries": [query("live", lag=None), final | {"watermark_allowed_seconds": 20.0}]},
        "stores": {"at": AT, "stores": {"timescale": store, "influx": store | {"state": "off", "latency_ms": None}}},
        "late_ticks": {"runs": []},
        "dead_letters": {"at": AT, "records": 3, "minutes": 60, "recent": 0, "reasons": {}, "letters": []},
        "gaps": {"at": AT, "hours": 24, "open": 0, "filled": 2, "lost": 0, "ticks_filled": 9, "newest": AT},
        "sockets": dict.fromkeys(counts, 0) | {"connections": 2, "redis_connected": True},
        "cache": {"redis": {"hit_ratio": 0.9961, "operations_per_second": 3329}, "responses": {"hits": 3, "misses": 1}},
        "health": None,
    }


def shown(change: Change | None = None) -> dict[str, Any]:
    """The view of a pipeline that is well but for a change; it must be JSON."""
    data = answers()
    if change is not None:
        change(data)
    before = copy.deepcopy(data)
    view = pipeline_view.view(data)
    assert data == before
    return dict(json.loads(json.dumps(view)))


def part(view: dict[str, Any], name: str) -> tuple[str, str]:
    return next((each["state"], each["text"]) for each in view["parts"] if each["name"] == name)


def test_answers_of_these_tests_are_what_the_api_publishes() -> None:
    data = answers()
    for model, name in (
        (KafkaAnswer, "kafka"),
        (QueriesAnswer, "queries"),
        (StoresAnswer, "stores"),
        (DeadLettersAnswer, "dead_letters"),
        (GapCounts, "gaps"),
    ):
        model.model_validate(data[name], strict=True)
    assert SOURCES["pipeline"].fetches.keys() == data.keys() - {"at_us", "errors"}


def test_a_pipeline_that_is_well_says_so_in_words() -> None:
    view = shown()
    assert view["overall"] == {"state": "ok", "title": "All is well"}
    assert [each["state"] for each in view["parts"]] == ["ok"] * 6
    assert part(view, "Latency")[1] == "tick to Redis in 9.0 ms (p95)" and view["at"] == "14:30:00"
    assert view["stages"]["processed"] == {"count": 60, "p50": 3.0, "p95": 9.0, "p99": 9.0}
    assert view["tiles"]["watermark"]["value"] == "11 s" and "14:29:48 UTC" in view["tiles"]["watermark"]["note"]
    assert view["tiles"]["cache"]["value"] == "99.6%" and "75% of 4" in view["tiles"]["cache"]["note"]
    assert view["stores"][1]["word"] == "off" and view["queries"][0]["title"] == "into bars.live"
    assert view["points"] == {"watermark": 11.3, "watermark_allowed": 20.0, "lag.final": 12, "redis.p95": 9.0}
    assert view["counters"] == {"ticks": 1000, "bars.live": 1800} and view["counted_us"] == NOW


def _set(*path: Any, to: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "name", "state", "says"),
    [
        (_set("kafka", "topics", 0, "newest", to="2026-01-05T14:29:50.000000Z"), "Feed", "warn", "no record for 10 s"),
        (_set("kafka", "topics", 0, "newest", to="2026-01-05T14:20:00.000000Z"), "Feed", "bad", "10 min 0 s"),
        (_set("kafka", "topics", 0, "newest", to=None), "Feed", "idle", "no tick has come yet"),
        (_set("latency", "stages", 3, to=stage("received_to_redis", 40.0, 61.0)), "Latency", "warn", "61 ms"),
        (_set("latency", "stages", 3, to=stage("received_to_redis", 40.0, 1001.0)), "Latency", "bad", "1.0 s"),
        (_set("latency", "stages", 3, to=stage("received_to_redis", None, None)), "Latency", "idle", "no bar moves"),
        (_set("latency", to={"live": "unavailable", "stages": []}), "Latency", "unknown", "Redis does not answer"),
        (_set("queries", "queries", 0, to=query("live", "stalled")), "Queries", "bad", "live is stalled"),
        (_set("queries", "queries", 0, to=query("live", "behind")), "Queries", "warn", "live is behind"),
        (_set("queries", "queries", 0, to=query("live", "unknown")), "Queries", "unknown", "live is not known"),
        (_set("queries", "queries", 0, to=query("live", "idle")), "Queries", "ok", "all 2 queries run"),
        (
            _set("stores", "stores", "timescale", to={"state": "unavailable", "latency_ms": None, "error": "gone"}),
            "Stores",
            "bad",
            "TimescaleDB does not answer",
        ),
        (_set("stores", "stores", "timescale", "latency_ms", to=501.0), "Stores", "warn", "answers slowly"),
        (_set("gaps", "open", to=2), "Losses", "warn", "2 open gaps"),
        (_set("gaps", "lost", to=1), "Losses", "warn", "1 lost gap"),
        (_set("dead_letters", "recent", to=1200), "Losses", "warn", "1,200 records refused in 60 min"),
        (_set("sockets", "slow_closes", to=1), "Sockets", "warn", "0 dropped, 1 closed"),
    ],
)
def test_what_is_wrong_is_named_where_it_is_and_on_top(change: Change, name: str, state: str, says: str) -> None:
    view = shown(change)
    found, text = part(view, name)
    assert found == state and says in text
    assert view["overall"]["state"] == ("ok" if state == "idle" else state)
    assert (name.lower() in view["overall"]["title"]) == (state in ("warn", "bad", "unknown"))


def test_conflation_is_no_loss() -> None:
    view = shown(_set("sockets", "conflated", to=5_000))
    assert part(view, "Sockets") == ("ok", "2 clients") and "5,000 conflated" in view["tiles"]["sockets"]["note"]


def test_late_ticks_count_for_an_hour() -> None:
    def change(data: dict[str, Any]) -> None:
        times = ("2026-01-05T14:29:00.000000Z", "2026-01-05T13:31:00.000000Z", "2026-01-05T13:29:59.000000Z")
        worst = (14_000_000, 16_000_000, 99_000_000)
        data["late_ticks"]["runs"] = [{"at": at, "ticks": 2, "max_us": us} for at, us in zip(times, worst, strict=True)]

    tile = shown(change)["tiles"]["late"]
    assert (tile["value"], tile["note"], tile["state"]) == ("4", "at most 16 s after their time", "ok")


def test_watermark_that_is_not_known_says_why() -> None:
    change = _set("queries", "queries", 1, to=query("final", "unknown", because="`kafka` is down"))
    tile = shown(change)["tiles"]["watermark"]
    assert (tile["value"], tile["note"], tile["state"]) == ("–", "kafka is down", "unknown")


def test_watermark_beyond_what_is_allowed_takes_the_state_of_its_query() -> None:
    def change(data: dict[str, Any]) -> None:
        data["queries"]["queries"][1] |= {"watermark_lag_seconds": 400.0, "state": "idle"}

    tile = shown(change)["tiles"]["watermark"]
    assert tile["state"] == "idle" and tile["value"] == "6 min 40 s"  # nobody trades: nothing is wrong


@pytest.mark.parametrize("name", sorted(answers().keys() - {"at_us", "errors", "health"}))
def test_an_answer_that_failed_is_not_known_and_the_rest_is_there(name: str) -> None:
    def change(data: dict[str, Any]) -> None:
        data[name] = None
        data["errors"][name] = "503 it is down"

    view = shown(change)
    known = {each["name"]: each["state"] for each in view["parts"]}
    assert "bad" not in known.values() and "warn" not in known.values()
    blind = [tile for tile in view["tiles"].values() if tile["note"] == "503 it is down"]
    assert all((tile["value"], tile["state"]) == ("–", "unknown") for tile in blind)
    assert (blind or "unknown" in known.values()) and not view["blind"]


def test_nothing_known_at_all_is_said_without_alarm() -> None:
    data = {name: None for name in answers()} | {"at_us": NOW, "errors": {"queries": "the API does not answer"}}
    view = pipeline_view.view(data)
    assert view["overall"]["state"] == "unknown" and view["overall"]["title"].startswith("Cannot be seen: feed")
    assert view["counters"] == {} and view["counted_us"] is None and view["queries"] == [] and view["blind"]


def test_topics_with_a_prefix_are_found_and_not_mixed_up() -> None:
    def change(data: dict[str, Any]) -> None:
        data["kafka"]["topics"] = [
            topic("eu.bars.live", 7),
            topic("eu.bars", 5),
            topic("eu.ticks", 3),
            topic("oldticks", 1),
        ]

    view = shown(change)
    assert view["counters"] == {"ticks": 6, "bars.live": 14, "bars": 10} and part(view, "Feed")[0] == "ok"


def test_layout_has_an_element_and_a_text_for_everything_that_is_painted() -> None:
    page = json.dumps(pipeline.layout({"symbol": "A/B"}).to_plotly_json(), default=lambda part: part.to_plotly_json())
    wanted = [f"pipeline-{kind}-{name}" for kind in ("value", "note") for name in pipeline_view.TILES]
    wanted += [f"pipeline-{kind}-{name}" for kind in ("p50", "tail", "count") for name in pipeline_texts.STAGES]
    wanted += [f"pipeline-{name}" for name in (*pipeline.GRAPHS, "strip", "parts", "probe", "skew", "word", "title")]
    wanted += [f"pipeline-list-{name}" for name in ("queries", "stores", "topics", "letters")]
    assert [name for name in wanted if f'"id": "{name}"' not in page] == []
    assert '"data": "A/B"' in page and len(pipeline.empty_figures(None)) == len(pipeline.GRAPHS)
    assert (
        pipeline_texts.FIGURES.keys() == set(pipeline.GRAPHS)
        and pipeline_texts.TILES.keys() == pipeline_view.TILES.keys()
    )


class _Overview:
    """The part of ApiClient that the choice of a symbol needs."""

    def __init__(self, rows: list[dict[str, Any]] | None) -> None:
        self._rows = rows

    async def overview(self, **_: Any) -> dict[str, Any]:
        if self._rows is None:
            raise ApiDown("gone")
        return {"symbols": self._rows}


@pytest.mark.parametrize(
    ("rows", "symbol"),
    [
        ([("A", 5, False), ("B", 9, False), ("C", 99, True)], "B"),  # C has not traded for long
        ([("A", 5, True), ("B", 9, True)], "B"),
        ([], None),
        (None, None),
    ],
)
def test_symbol_that_is_timed_is_one_that_trades(rows: Any, symbol: str | None) -> None:
    listed = rows and [{"symbol": name, "trade_count": count, "stale": stale} for name, count, stale in rows]
    assert asyncio.run(pipeline.busiest(_Overview(listed))) == symbol  # type: ignore[arg-type]


def test_symbol_is_asked_for_again_while_the_api_cannot_say() -> None:
    row = {"symbol": "A", "trade_count": 1, "stale": False}
    answers = iter([None, [], [row]])

    class Waking(_Overview):
        async def overview(self, **_: Any) -> dict[str, Any]:
            self._rows = next(answers)
            return await super().overview()

    assert asyncio.run(pipeline.patiently(Waking(None), pause=0.0)) == "A"  # type: ignore[arg-type]
    assert asyncio.run(pipeline.patiently(_Overview(None), tries=2, pause=0.0)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [pipeline_words, pipeline_view, lines, stages])
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0


PLAY = """
const {Lines, Rates, skew, millis, perSecond, path, MOST_POINTS} = globalThis.tickstreamPipeline;
const history = (points) => {
  const lines = new Lines();
  for (const [at, value] of points) { lines.extend("a", at, value); }
  return {...lines.get("a"), most: MOST_POINTS, other: lines.get("b")};
};
const rates = (readings) => {
  const all = new Rates();
  return readings.map(([at, n]) => all.take(at, {n}).n);
};
const each = {history, rates, path, skew: (p50) => skew({count: 9, p50}), millis, perSecond};
return Object.fromEntries(Object.entries(given).map(([name, cases]) => [name, cases.map((one) => each[name](one))]));
"""
MILLIS = [None, 0.04, 7.673, 45.3, 999.4, 44915.4, -3.21]
RATES = [0, 0.3333, 12.345, 200.02, 15_000.0]
STEADY = [[0, 1000], [2000, 1400], [4100, 1820], *([2000 * step, 1000 + 400 * step] for step in range(3, 9))]
BURST = [[0, 0], [2000, 1000], *([2000 * step, 1000] for step in range(2, 9))]
LONG = [[2000 * place, place] for place in range(5000)]
BROKEN = [[0, 1], [2000, 2], [2000, 7], [60_000, 3], [62_000, None]]


@pytest.fixture(scope="module")
def played() -> dict[str, Any]:
    """What the page's own JavaScript makes of these, in one run."""
    cases: dict[str, list[Any]] = {"millis": MILLIS, "perSecond": RATES, "skew": [2.0, -0.4, -120.0]}
    cases["history"] = [LONG, BROKEN, [[0, 1], [1_800_000, 2]]]
    cases["rates"] = [STEADY, BURST, [[0, 500], [2000, 20], [4000, 420]]]
    cases["path"] = [{"at": [0, 10, 20, 30], "value": [5, None, -2, 10]}]
    return dict(run_javascript([SERIES], PLAY, cases))


def test_history_is_bounded_in_points_and_time_and_breaks_where_pushes_did(played: dict[str, Any]) -> None:
    long, broken, slow = played["history"]
    assert len(long["at"]) == long["most"] == 450 and long["value"][-1] == 4999 and long["other"]["at"] == []
    assert broken["at"] == [0, 2000, 2001, 60_000, 62_000] and broken["value"] == [1, 2, None, 3, None]
    assert slow["value"] == [2]


def test_rates_are_over_ten_seconds_and_survive_a_topic_made_anew(played: dict[str, Any]) -> None:
    steady, burst, anew = played["rates"]
    assert steady[0] is None and steady[1:] == pytest.approx([200] * 8)
    assert burst[4] == pytest.approx(125) and burst[-1] == 0  # what was longer ago than ten seconds is gone
    assert anew == [None, None, 200]


def test_skew_is_told_only_when_it_shows(played: dict[str, Any]) -> None:
    none, small, seen = played["skew"]
    assert none == small == "" and "at least 120 ms behind" in seen


def test_numbers_read_alike_in_the_browser_and_on_the_server(played: dict[str, Any]) -> None:
    assert played["millis"] == [pipeline_words.millis(value) for value in MILLIS]
    assert played["perSecond"] == [pipeline_words.rate(value) for value in RATES]


def test_spark_lines_begin_anew_after_a_hole_and_stay_in_their_box(played: dict[str, Any]) -> None:
    assert played["path"] == ["M0.0 13.0M66.7 24.0L100.0 2.0"]
