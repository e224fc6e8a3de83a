"""The predictions page: its rows are the same off the socket and out of REST, and it claims no more than was shown."""

from typing import Any

import msgspec
import pytest

from core.intervals import MINUTE_US
from dashboard.figures.predictions import VERDICTS, calibration_figure, skill_figure
from dashboard.pages.predictions import base, card, layout, newest_model, row_of, us_of, worth
from dashboard.pages.predictions_model import conclusion, model_part
from stores.redis_predictions import Said
from tests.javascript import run_javascript
from tests.unit.dashboard.test_quality_page import text_of

SCRIPT = "predictions.js"
END_US = us_of("2026-01-05T14:31:00.000000Z")
REST = {
    "symbol": "BTC/USD",
    "start": "2026-01-05T14:30:00.000000Z",
    "end": "2026-01-05T14:31:00.000000Z",
    "horizon": 5,
    "outcome_at": "2026-01-05T14:36:00.000000Z",
    "made_at": "2026-01-05T14:31:10.500000Z",
    "expected_return": 0.00012,
    "rise_probability": 0.512,
    "volatility": 0.0011,
    "abstains": ["return"],
    "model": "m2",
}


def run(code: str, given: Any = None) -> Any:
    return run_javascript([SCRIPT], f"const page = globalThis.tickstreamPredictions;\n{code}", given)


def test_row_is_the_same_off_the_socket_and_out_of_rest() -> None:
    shown = {name: REST[name] for name in ("horizon", "expected_return", "rise_probability", "volatility", "abstains")}
    said = Said(symbol="BTC/USD", interval="1m", start=END_US - MINUTE_US, end=END_US, event_us=END_US, close=1.0,
                model="m2", horizons=[shown | {"outcome_us": END_US + 5 * MINUTE_US}])  # fmt: skip
    code = "return [page.complete(given.row), page.rowsOf(given.said)[0]];"
    rest, socket = run(code, {"row": row_of(REST), "said": msgspec.to_builtins(said)})
    assert rest == socket
    assert (rest["id"], rest["end_us"]) == ("BTC/USD|5", END_US)
    assert rest["reason"] == "abstains: did not beat its baselines in return"


def standing(rows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    given = {"rows": rows, "now": END_US + int(seconds * 1e6)}
    found: dict[str, Any] = run(f'return page.standing(given.rows, "1m", {MINUTE_US}, given.now);', given)
    return found


def test_standing_says_whether_anybody_speaks_and_whether_to_believe_it() -> None:
    def rows(*abstains: list[str]) -> list[dict[str, Any]]:
        return [row_of(REST | {"abstains": each}) for each in abstains]

    assert standing([], 0)["state"] == "empty" and "No prediction was made yet" in standing([], 0)["text"]
    quiet = standing(rows([]), 181)
    assert quiet["state"] == "silent" and "2026-01-05 14:31:00 UTC, 3 min ago" in quiet["text"]
    fresh = standing(rows([], []), 12)
    assert fresh["state"] == "live" and "14:31:00 UTC, 12 s ago, by model m2" in fresh["text"]
    assert "beat its baselines on every horizon" in fresh["text"]
    assert "abstains from everything" in standing(rows(["return", "rise"], ["rise", "return"]), 1)["text"]
    partly = standing(rows([], ["rise"]), 1)["text"]
    assert "in grey" in partly and "everything" not in partly
    old = row_of(REST | {"end": "2026-01-05T14:20:00.000000Z", "model": "m1"})
    assert "by model m2" in standing([old, *rows([])], 1)["text"]


FORMATS = [
    ("Points", 0.00012, "expected_return", "+1.2"),
    ("Points", -0.000123, "expected_return", "−1.2"),
    ("Points", -0.000001, "expected_return", "0.0"),
    ("Points", 0.0011, "volatility", "11.0"),
    ("Percent", 0.5123, "rise_probability", "51.2 %"),
    ("Time", END_US, "end_us", "14:31:00"),
    ("Exact", END_US, "end_us", "2026-01-05 14:31:00 UTC"),
    ("Exact", 0.5, "rise_probability", "0.5"),
    ("Whole", None, "horizon", "–"),
]


def test_numbers_are_written_for_people() -> None:
    cell = "{value, column: {getColId: () => id}}"
    code = f"return given.map(([name, value, id]) => page.functions[`predictions${{name}}`]({cell}));"
    assert run(code, [each[:3] for each in FORMATS]) == [each[3] for each in FORMATS]


def test_symbols_are_sorted_either_way_and_horizons_always_the_nearest_first() -> None:
    code = """
    const rows = given.map(([symbol, horizon]) => ({data: {symbol, horizon}}));
    const {predictionsOrder} = page.functions;
    const compare = (a, b, descending) => predictionsOrder(a.data.symbol, b.data.symbol, a, b, descending);
    const order = (descending) => [...rows].sort((a, b) => (descending ? -1 : 1) * compare(a, b, descending))
      .map((row) => row.data.symbol + row.data.horizon);
    return [order(false), order(true)];
    """
    up, down = run(code, [["B", 15], ["A", 5], ["B", 1], ["A", 1], ["A", 15]])
    assert up == ["A1", "A5", "A15", "B1", "B15"] and down == ["B1", "B15", "A1", "A5", "A15"]


def estimate(value: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


def score(model: str = "m2", horizon: int = 1, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "model": model, "horizon": horizon, "made": 1440, "known": 1400, "other_session": 0, "moved": 1390,
        "blocks": 24, "block_minutes": 60, "direction_right": estimate(0.512, 0.501, 0.523),
        "skill_of_rise": {"coin": estimate(0.01, 0.002, 0.018), "prior": estimate(0.002, -0.004, 0.008)},
        "skill_of_return": {"zero": estimate(-0.01, -0.02, -0.001)},
        "calibration": [{"said": 0.48, "came": 0.47, "samples": 100}, {"said": 0.55, "came": 0.0, "samples": 4}],
        "verdict": "Direction: not distinguishable from the share of rises. Return: worse than saying 0.",
    }  # fmt: skip
    return fields | changes


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_skill_is_coloured_by_its_whole_interval(theme: Any) -> None:
    figure = skill_figure([score(), score(horizon=5, skill_of_return={"zero": estimate(0.5, None, None)})], theme)
    shown = {trace.name: list(trace.y) for trace in figure.data}
    assert set(shown) == set(VERDICTS)
    assert shown["better"] == ["1 bar · direction vs coin", "5 bars · direction vs coin"]
    assert shown["not distinguishable"][0] == "1 bar · direction vs rises"
    assert shown["worse"] == ["1 bar · return vs 0"] and shown["too few blocks"] == ["5 bars · return vs 0"]
    (better,) = (trace for trace in figure.data if trace.name == "better")
    assert better.error_x.array[0] == pytest.approx(0.008) and "[+0.20%, +1.80%]" in better.customdata[0]


def test_calibration_has_a_line_to_be_held_against_and_errors_that_are_never_nothing() -> None:
    line, points = calibration_figure([score()], "light").data
    assert list(line.x) == list(line.y)
    assert list(points.x) == [0.48, 0.55] and min(points.error_y.array) > 0
    assert line.x[0] <= 0.47 and line.x[1] >= 0.55


def test_nothing_has_a_defined_look() -> None:
    for figure in (skill_figure([], "dark"), calibration_figure([], "dark")):
        assert figure.layout.height == 20 and figure.layout.xaxis.visible is False
    cards, _, _, hidden = worth([], None)
    assert cards == [] and hidden is True
    early = score(moved=0, known=0, direction_right=None, calibration=[], verdict="No outcome is known yet.",
                  skill_of_rise={"coin": None, "prior": None}, skill_of_return={"zero": None})  # fmt: skip
    (shown,), _, _, hidden = worth([early], "light")
    assert hidden is True and "–" in text_of(shown) and "No outcome is known yet." in text_of(shown)


def test_card_says_the_verdict_and_of_how_much_it_is_made() -> None:
    said = text_of(card(score(other_session=9)))
    assert "51.2 %" in said and "50.1 % to 52.3 %" in said and score()["verdict"] in said
    assert "1,400 of 1,440 outcomes known, 24 blocks of 60 min, 9 reach into another session; model m2" in said


SKILLS = [
    {"of": "rise", "baseline": "zero", "value": 0.01, "low": 0.002, "high": 0.02},
    {"of": "rise", "baseline": "prior", "value": 0.004, "low": -0.001, "high": 0.009},
    {"of": "return", "baseline": "zero", "value": 0.01, "low": 0.001, "high": 0.02},
]


def test_model_is_shown_with_the_baseline_that_it_stands_worst_against() -> None:
    horizon = {"horizon": 5, "samples": 2203, "moments": 110, "direction_right": estimate(0.51, 0.5, 0.52),
               "calibration_error": 0.01, "abstains": ["rise"], "skills": SKILLS}  # fmt: skip
    model = {"version": "m2", "made_at": REST["end"], "bars": 40_000, "histories": 20, "start": REST["start"],
             "end": REST["end"], "calendar": "24/7", "features": 28, "horizons": [horizon]}  # fmt: skip
    said = text_of(model_part({"champion": model, "because": None, "versions": ["m2", "m1"]}))
    assert "Version m2, trained on 40,000 bars of 20 symbols, 2026-01-05 14:30:00 to" in said
    assert "1 other version kept" in said and "5 bars ahead 2,203 51.00 % (50.00 to 52.00)" in said
    assert "not distinguishable: what was usual, −0.10 to +0.90 %" in said
    assert "better: saying nothing, +0.10 to +2.00 %" in said
    assert said.endswith("speaks of the return, abstains from the direction")
    assert conclusion([]) == "speaks of both" and conclusion(["return", "rise"]) == "abstains from both"
    nothing = model_part({"champion": None, "because": "no model of 1m here: none yet", "versions": []})
    assert text_of(nothing) == "No model of 1m here: none yet."


def test_newest_model_is_shown_unless_only_an_older_one_has_outcomes() -> None:
    both = [score("m2"), score("m2", 5), score("m1")]
    assert [row["model"] for row in newest_model(both)] == ["m2", "m2"]
    fresh = [score("m3", moved=0), *both]
    assert {row["model"] for row in newest_model(fresh)} == {"m2"}
    assert {row["model"] for row in newest_model([score("m3", moved=0)])} == {"m3"} and newest_model([]) == []


def test_browser_begins_with_rows_symbols_and_the_servers_clock() -> None:
    found = base({"interval": "5m", "now": "2026-01-05T14:31:12.000000Z", "predictions": [REST]}, ["B", "A"])
    assert (found["bar_us"], found["now_us"] - END_US) == (5 * MINUTE_US, 12_000_000)
    assert found["followed"] == ["A", "B"] and found["rows"][0]["outcome_us"] == END_US + 5 * MINUTE_US
    many = base({"interval": "1m", "now": REST["end"], "predictions": []}, [f"S{n:03}" for n in range(460)])
    assert (len(many["followed"]), many["beyond"]) == (450, 10)


def test_interval_of_the_url_is_chosen_and_a_wrong_one_is_not() -> None:
    def choice(query: dict[str, str]) -> Any:
        return next(each for each in layout(query)._traverse() if getattr(each, "id", None) == "predictions-interval")

    assert choice({"interval": "5m"}).value == "5m" and choice({"interval": "2w"}).value == choice({}).value == "1m"
