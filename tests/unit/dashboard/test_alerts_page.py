"""The alerts page: what it makes of the API's answers, in words, tables and the figure."""

from typing import Any

import pytest
from dash.development.base_component import Component

from dashboard.figures.anomalies import MOST_SYMBOLS, timeline_figure
from dashboard.pages.alerts import Found, layout, shown
from dashboard.pages.alerts_tables import alerts_table, anomalies_table
from dashboard.pages.alerts_words import condition_text, failure_of, lasting, receipts_text

FIRST, LAST = "2024-05-01T12:30:00Z", "2024-05-02T12:30:00Z"
DELIVERY = {"target": "ops", "kind": "firing", "state": "sent", "attempts": 1, "detail": ""}
ALERT: dict[str, Any] = {
    "id": "1", "rule_id": "2", "rule": "AAPL hot", "symbol": "AAPL", "interval": "1m", "severity": "warning",
    "state": "firing", "since": "2024-05-02T12:01:00.000000Z", "until": None, "crossings": 1000, "messages": 4,
    "value": 71.25, "threshold": 70.0, "lowest": 70.1, "highest": 74.9, "text": "rsi:14 > 70 on 1m bars",
    "created_at": FIRST, "updated_at": LAST, "acknowledged_at": None, "acknowledged_by": None,
    "deliveries": [DELIVERY, DELIVERY, DELIVERY | {"target": "desk", "state": "pending", "detail": "no answer"}],
}  # fmt: skip
FINDING: dict[str, Any] = {
    "symbol": "AAPL", "interval": "1m", "start": "2024-05-02T12:00:00.000000Z", "end": "2024-05-02T12:01:00.000000Z",
    "rev": 1, "rule": "price_move", "severity": "critical", "state": "firing", "value": -5.4, "threshold": 5.0,
    "score": 1.08, "since": "2024-05-02T12:00:00.000000Z", "text": "AAPL fell",
}  # fmt: skip
RULE = {"name": "AAPL hot", "enabled": True, "symbols": ["AAPL"], "interval": "1m", "severity": "warning",
        "targets": [], "cooldown_seconds": 300,
        "condition": {"kind": "indicator", "expression": "rsi:14 > 70", "hysteresis": 2.0}}  # fmt: skip
ANOMALY_RULE = {"rule": "price_move", "means": "the close moved", "threshold": 5.0, "warning": 7.5, "critical": None,
                "release": 4.5, "setting": "TICKSTREAM_ANOMALY_MOVE_PERCENT", "intervals": ["1m"]}  # fmt: skip


def found(**changes: Any) -> Found:
    answer = {"alerts": [ALERT], "truncated": False}
    anomalies = {"anomalies": [FINDING], "truncated": False}
    parts: dict[str, Any] = {"first": FIRST, "last": LAST, "alerts": answer, "firing": [ALERT], "anomalies": anomalies,
                             "alert_rules": [{"rule": RULE}], "anomaly_rules": [ANOMALY_RULE]}  # fmt: skip
    return Found(**(parts | changes))


def text_of(component: Any) -> str:
    """All that is written in a component."""
    if isinstance(component, Component):
        return text_of(getattr(component, "children", None))
    if isinstance(component, list | tuple):
        return " ".join(text_of(each) for each in component)
    return "" if component is None else str(component)


def test_page_says_what_fires_and_whom_it_was_told() -> None:
    words, cards, alerts, _, anomalies, rules, looked_for = shown(found(), None, "light")
    assert words == "1 alert fires, and 1 anomaly lasts in the bars (1 critical)."
    assert "1 warning" in text_of(cards)
    for told in ("AAPL hot", "1,000", "71.25 (limit 70)", "ops 2 sent, desk 1 pending", "no answer"):
        assert told in text_of(alerts)
    assert "AAPL fell" in text_of(anomalies)
    assert "rsi:14 > 70 on 1m bars" in text_of(rules)
    assert "TICKSTREAM_ANOMALY_MOVE_PERCENT" in text_of(looked_for)


def test_page_of_a_system_without_alerts_says_what_to_do() -> None:
    nothing = found(alerts={"alerts": [], "truncated": False}, firing=[], alert_rules=[],
                    anomalies={"anomalies": [], "truncated": False})  # fmt: skip
    words, _, alerts, figure, anomalies, rules, _ = shown(nothing, None, "dark")
    assert words.startswith("No alert fires, and nothing unusual lasts in the bars.")
    assert "python -m alerts rules apply FILE" in words
    assert [text_of(each).strip() for each in (alerts, anomalies, rules)] == [
        "There was no alert.", "No rule found anything.", "There is no alert rule."]  # fmt: skip
    assert figure.layout.annotations[0].text == "Nothing unusual in this time"


def test_what_lasts_is_the_newest_word_of_each_series_and_rule() -> None:
    over = FINDING | {"state": "resolved", "start": "2024-05-02T12:05:00.000000Z"}
    other = FINDING | {"interval": "5m"}
    assert lasting([over, other, FINDING]) == [other]
    assert lasting([FINDING | {"severity": "info"}, FINDING]) == [FINDING | {"severity": "info"}]


def test_waiting_messages_are_counted() -> None:
    _, cards, *_ = shown(found(), None, None)
    (waiting,) = [
        each for card in cards for each in card._traverse() if getattr(each, "id", "") == "alerts-card-messages"
    ]
    assert waiting.children == "1"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"kind": "price", "field": "close", "when": "crosses_above", "level": 70000.0}, "close crosses above 70000"),
        ({"kind": "move", "percent": 5.0, "bars": 5, "direction": "down"}, "a fall of 5 % over 5 bars"),
        ({"kind": "anomaly", "rules": ["price_move"], "least": "warning"}, "price_move (warning or worse)"),
        ({"kind": "anomaly", "rules": [], "least": "info"}, "any anomaly"),
    ],
)
def test_condition_in_words(condition: dict[str, Any], words: str) -> None:
    assert condition_text({"interval": "1m", "condition": condition}) == f"{words} on 1m bars"


def test_health_condition_in_words() -> None:
    condition = {"kind": "health", "check": "store_down", "store": "redis", "seconds": 60.0, "count": 0}
    assert condition_text({"interval": "1m", "condition": condition}) == "redis does not answer for 60 s"


def test_failure_that_was_overcome_is_none() -> None:
    assert failure_of([DELIVERY | {"detail": "once", "state": "sent"}]) == ""
    assert receipts_text([]) == "–"


def test_text_of_others_is_text() -> None:
    """A rule's name is somebody's words: no component, no markup."""
    name = "<img src=x onerror=alert(1)>"
    assert name in text_of(alerts_table([ALERT | {"rule": name}]))
    assert name in text_of(anomalies_table([FINDING | {"text": name}]))


def test_timeline_has_a_mark_for_each_beginning_and_none_for_an_end() -> None:
    rows = [FINDING, FINDING | {"symbol": "MSFT", "severity": "info"}, FINDING | {"state": "resolved"}]
    figure = timeline_figure(rows, FIRST, LAST, "light")
    assert {trace.name: len(trace.x) for trace in figure.data} == {"info": 1, "warning": 0, "critical": 1}
    assert figure.layout.xaxis.range == (FIRST, LAST)


def test_timeline_keeps_the_busiest_symbols() -> None:
    rows = [FINDING | {"symbol": f"S{n:02}"} for n in range(40) for _ in range(1 + n % 2)]
    figure = timeline_figure(rows, FIRST, LAST, "dark")
    names = {name for trace in figure.data for name in trace.y}
    assert len(names) == MOST_SYMBOLS
    assert all(f"S{n:02}" in names for n in range(1, 40, 2))


def test_page_knows_its_symbol_from_the_url() -> None:
    (choice,) = [each for each in layout({"symbol": "AAPL"})._traverse() if getattr(each, "id", "") == "alerts-symbol"]
    assert choice.value == "AAPL"
    assert {"label": "AAPL", "value": "AAPL"} in choice.options
