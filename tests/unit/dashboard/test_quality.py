"""Figures and words of the data quality page; no rounding flatters."""

from typing import Any

import pytest

from dashboard.figures.quality import ALL, calendar_figure, grade, lateness_figure, ratio_text, worst_symbols
from dashboard.pages.quality_words import NOTHING_EVER, changes, duration_text, late_text, reasons_text, sentence
from tests.javascript import run_javascript

TODAY = "2024-05-02"


def day(symbol: str, date: str, checked: int, amended: int = 0) -> dict[str, Any]:
    """A row of `/api/v1/quality/days`."""
    named = {"symbol": symbol, "day": date, "at": f"{date}T12:00:00.000000Z"}
    return named | {"checked": checked, "matched": checked - amended, "amended": amended}


def test_one_wrong_bar_is_not_all_match_however_many_there_are() -> None:
    assert [grade(10, 10), grade(1_000_000, 999_999), grade(1000, 995), grade(100, 98), grade(0, 0)] == [
        0,
        1,
        2,
        3,
        None,
    ]
    assert [ratio_text(3, 2), ratio_text(100_000, 99_999), ratio_text(7, 7)] == ["66.66 %", "99.99 %", "100 %"]


def test_the_worst_symbols_come_first() -> None:
    days = [day("A", TODAY, 10), day("B", TODAY, 10, 5), day("B", "2024-05-01", 90), day("C", TODAY, 10, 2)]
    assert worst_symbols(days) == ["C", "B", "A"]  # 80 %, 95 %, 100 %
    assert worst_symbols(days, 1) == ["C"]


def test_calendar_has_a_cell_for_each_day_and_a_hole_where_nothing_was_checked() -> None:
    days = [day("A", TODAY, 100, 2), day("A", "2024-04-30", 50)]
    totals = [day("", "2024-04-30", 50), day("", TODAY, 100, 2)]
    heat = calendar_figure(totals, days, "2024-04-30", TODAY, "dark").data[0]
    assert list(heat.x) == ["2024-04-30", "2024-05-01", "2024-05-02"]
    assert list(heat.y) == ["A", ALL]  # the first row is drawn at the bottom
    assert [list(line) for line in heat.z] == [[0, None, 3], [0, None, 3]]
    assert [list(line) for line in heat.text] == [["", "", "2"], ["", "", "2"]]
    assert "98.00 %" in heat.customdata[0][2] and "nothing was checked" in heat.customdata[0][1]
    only = calendar_figure(totals, days, "2024-04-30", TODAY, "light", ["A"]).data[0]
    assert list(only.y) == ["A"]


def test_calendar_says_when_nothing_was_checked_rather_than_stay_empty() -> None:
    def said(rows: list[dict[str, Any]]) -> list[str]:
        made = calendar_figure([], rows, "2024-04-30", TODAY, "dark", ["A"])
        return [each.text for each in made.layout.annotations]

    assert said([]) == said([day("A", TODAY, 0)]) == ["No bar was checked in these days"]
    assert said([day("A", TODAY, 5)]) == []


def test_lateness_is_in_seconds_oldest_first() -> None:
    runs = [
        {"at": "2024-05-02T12:05:00Z", "ticks": 2, "p50_us": 15_000_000, "p90_us": 16_000_000, "max_us": 17_500_000},
        {"at": "2024-05-02T12:00:00Z", "ticks": 1, "p50_us": 14_000_000, "p90_us": 14_000_000, "max_us": 14_000_000},
    ]
    bars, latest, *_ = lateness_figure(runs, "light").data
    assert list(bars.y) == [1, 2] and list(latest.y) == [14.0, 17.5]
    assert list(bars.x) == ["2024-05-02T12:00:00Z", "2024-05-02T12:05:00Z"]
    nothing = lateness_figure([], "dark")
    assert [len(trace.x) for trace in nothing.data] == [0, 0, 0, 0]
    assert not any(axis.visible for axis in (nothing.layout.xaxis, nothing.layout.yaxis, nothing.layout.yaxis2))


LOG = "from the tick log"
SENTENCES = [
    ([], {}, None, NOTHING_EVER),
    (
        [day("", TODAY, 4812)],
        {},
        None,
        f"All 4,812 checked bars of today match their recomputation {LOG}, none had to be amended.",
    ),
    (
        [day("", "2024-05-01", 9), day("", TODAY, 4812, 3)],
        {"cancel": 1, "late": 2},
        None,
        f"All 4,812 checked bars of today match their recomputation {LOG}: 4,809 as first made, 3 after being amended."
        " Since midnight UTC 3 bars were amended: 2 late, 1 cancel.",
    ),
    (
        [day("A", TODAY, 1)],
        {},
        "A",
        f"The one checked A bar of today matches its recomputation {LOG}, none had to be amended.",
    ),
    (
        [day("", "2024-05-01", 9, 1)],
        {},
        None,
        "No bar of today has been checked yet. The last day with checks is 2024-05-01: 9 bars, 1 amended.",
    ),
    ([day("", TODAY, 0)], {}, "A", "No A bar has been checked in these days."),
]


@pytest.mark.parametrize(("totals", "reasons", "symbol", "text"), SENTENCES)
def test_sentence_says_how_today_fared(totals: Any, reasons: Any, symbol: Any, text: str) -> None:
    assert sentence(TODAY, totals, reasons, symbol) == text


def test_reasons_come_by_number_and_unknown_ones_by_their_own_name() -> None:
    assert reasons_text({"correction": 2, "late": 5, "odd": 1}) == "5 late, 2 corrections, 1 odd"
    assert reasons_text({}) == ""


def test_changes_are_those_values_that_differ() -> None:
    names = ("open", "high", "low", "close", "volume", "vwap")
    was = dict.fromkeys(names, "10.5") | {"trade_count": 2}
    assert changes(was, was | {"close": "10.70", "trade_count": 3, "vwap": None}) == [
        ("close", "10.5", "10.70"),
        ("VWAP", "10.5", "–"),
        ("trades", "2", "3"),
    ]
    assert [old for _, old, _ in changes(None, was)] == ["none"] * 7


def test_lateness_and_durations_in_words() -> None:
    assert late_text([]) == "No tick came behind the watermark."
    assert (
        late_text([{"ticks": 1, "max_us": 15_200_000}]) == "1 tick in the last run that found any, up to 15.2 s late."
    )
    assert [duration_text(each) for each in (59.94, 60, 3599, 3660)] == [
        "59.9 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 1 min",
    ]


BADGE = "return given.map((data) => globalThis.tickstreamQuality.badgeOf(data));"


def test_badge_is_of_the_newest_day_with_checks() -> None:
    totals = [day("", "2024-05-01", 100, 1), day("", TODAY, 1_000_000, 1), day("", "2024-05-03", 0)]
    pushes = [
        {"days": None},
        {"days": {"totals": []}},
        {"days": {"totals": totals}, "gaps": {"states": {"open": 1}}},
        {"days": {"totals": totals[:1]}, "gaps": None},
        {"days": {"totals": [day("", TODAY, 5)]}, "gaps": None},
    ]
    nothing, empty, newest, older, perfect = run_javascript(["quality.js"], BADGE, pushes)
    assert nothing is None and empty is None
    assert (newest["text"], newest["state"]) == ("99.99 %", "amended") and "1 gap is open" in newest["title"]
    assert older["text"] == "99.00 %" and perfect == perfect | {"text": "100 %", "state": "all"}


def test_ratio_of_the_badge_equals_that_of_the_page() -> None:
    pairs = [(1, 0), (3, 2), (7, 7), (9_999, 9_998), (123_457, 123_001)]
    code = "return given.map(([checked, matched]) => globalThis.tickstreamQuality.ratioText({checked, matched}));"
    assert run_javascript(["quality.js"], code, pairs) == [ratio_text(*pair) for pair in pairs]


def test_page_asks_again_only_when_a_figure_moved() -> None:
    push = {
        "days": {"totals": [day("", TODAY, 100, 1)]},
        "amendments": {"amendments": [{"known_at": "2024-05-02T12:00:00Z"}], "reasons": {"late": 1}},
        "gaps": {"gaps": [], "states": {}},
        "late_ticks": {"runs": []},
    }
    amended = push | {"amendments": {"amendments": [{"known_at": "2024-05-02T12:01:00Z"}], "reasons": {"late": 2}}}
    pushes = [
        push | {"at_us": 1},
        push | {"at_us": 2, "errors": {}},
        amended,
        push | {"late_ticks": {"runs": [{"at": "x"}]}},
    ]
    code = "return given.map((data) => globalThis.tickstreamQuality.digest(data));"
    first, second, third, fourth = run_javascript(["quality.js"], code, pushes)
    assert first == second and len({first, third, fourth}) == 3
