"""What a rule may be: conditions that are read as they are meant, mistakes that are named, quiet hours by the clock."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from alerts.expressions import parse_expression, read
from alerts.rules import QuietHours, Rule, parse_rule, stored_rule
from core.errors import InputError


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def rule(condition: dict[str, Any] | None = None, **changes: Any) -> Rule:
    usual = {"name": "r", "condition": condition or {"kind": "price", "when": "above", "level": 100}}
    return parse_rule(usual | changes)


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("rsi:14 > 70", {"rsi_14": 71.0}, True),
        ("rsi:14 > 70", {"rsi_14": 70.0}, False),
        ("rsi:14 >= 70", {"rsi_14": 70.0}, True),
        ("rsi < 30", {"rsi_14": 29.0}, True),
        ("close <= 30.5", {"close": 30.5}, True),
        ("macd:12,26,9.signal < 0", {"macd_12_26_9_signal": -1.0, "macd_12_26_9": 1.0}, True),
        ("macd:12,26,9 < 0", {"macd_12_26_9_signal": -1.0, "macd_12_26_9": 1.0}, False),
        ("close > bbands:20,2.5.upper", {"close": 5.0, "bbands_20_2.5_upper": 4.0}, True),
        ("sma:5 > sma:20", {"sma_5": 1.0, "sma_20": 2.0}, False),
        ("rsi:14 > -5", {"rsi_14": 0.0}, True),
    ],
)
def test_expression_is_read_as_it_is_meant(text: str, values: dict[str, float], holds: bool) -> None:
    comparison = parse_expression(text)
    assert {each.name for each in (comparison.left, comparison.right) if each.name} <= values.keys()
    found = read(comparison, values, False, 0)
    assert found is not None and found.holds is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rsi:14>70", "spaces around"),
        ("rsi:14 = 70", "unknown operator '='; known: >"),
        ("rsl:14 > 70", "unknown indicator 'rsl'; known:"),
        ("rsi:0 > 70", "between"),
        ("macd:12,26,9.sginal > 0", "it has: macd, signal"),
        ("1 > 2", "two numbers"),
        ("rsi:14 > nan", "unknown indicator"),
        ("rsi:14 > 1e9", "unknown indicator"),
        ("", "spaces around"),
    ],
)
def test_expression_that_cannot_be_read_says_why(text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        parse_expression(text)
    assert said in str(error.value)


def test_value_that_is_not_ready_says_nothing() -> None:
    comparison = parse_expression("rsi:14 > 70")
    assert read(comparison, {"rsi_14": float("nan")}, True, 0) is None and read(comparison, {}, True, 0) is None


def test_hysteresis_keeps_what_holds_and_starts_nothing() -> None:
    for text, values in (
        ("rsi:14 > 70", (69.0, 71.0, 69.0, 68.0, 69.0)),
        ("rsi:14 < 30", (31.0, 29.0, 31.0, 32.0, 31.0)),
    ):
        firing, seen = False, []
        for value in values:
            found = read(parse_expression(text, 2.0), {"rsi_14": value}, firing, 0)
            assert found is not None
            firing = found.holds
            seen.append(firing)
        assert seen == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("operator", "hits"),
    [("crosses", [1, 3, 6]), ("crosses_above", [1, 6]), ("crosses_below", [3])],
)
def test_crossing_is_of_the_bar_that_crosses(operator: str, hits: list[int]) -> None:
    comparison, side, seen = parse_expression(f"close {operator} 100"), 0, []
    for place, close in enumerate((99.0, 101.0, 102.0, 98.0, 100.0, 97.0, 103.0)):
        found = read(comparison, {"close": close}, False, side)
        assert found is not None
        side = found.side
        seen += [place] if found.holds else []
    assert seen == hits
    first = read(comparison, {"close": 103.0}, False, 0)
    assert first is not None and not first.holds  # nobody knows where it was before


def test_move_is_the_change_in_percent_over_so_many_bars() -> None:
    for direction, holds in (("any", (True, True)), ("up", (True, False)), ("down", (False, True))):
        comparison = rule({"kind": "move", "percent": 5, "bars": 3, "direction": direction}).comparison
        assert comparison is not None and [each.spec for each in comparison.indicators] == ["roc:3"]
        for change, expected in zip((5.0, -6.0), holds, strict=True):
            found = read(comparison, {"roc_3": change}, False, 0)
            assert found is not None and found.holds is expected
            small = read(comparison, {"roc_3": change / 2}, False, 0)
            assert small is not None and not small.holds


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"condition": {"kind": "price", "when": "above", "level": -1}}, "condition.price.level"),
        ({"condition": {"kind": "price", "when": "above", "level": float("inf")}}, "condition.price.level"),
        ({"condition": {"kind": "weather"}}, "'price', 'move', 'indicator', 'anomaly', 'health'"),
        ({"condition": {"kind": "indicator", "expression": "rsl > 70"}}, "unknown indicator"),
        ({"condition": {"kind": "health", "check": "store_down"}}, "`store` goes with"),
        ({"condition": {"kind": "health", "check": "bars_late", "store": "redis"}}, "`store` goes with"),
        ({"condition": {"kind": "price", "when": "crosses", "level": 1}, "for_bars": 2}, "one bar"),
        ({"condition": {"kind": "anomaly"}, "for_bars": 2}, "for_bars: Value error, of anomalies"),
        ({"condition": {"kind": "anomaly"}, "resolve_bars": 2}, "resolve_bars: Value error, of anomalies"),
        ({"condition": {"kind": "health", "check": "bars_late"}, "for_bars": 2}, "of the system's health"),
        ({"condition": {"kind": "health", "check": "bars_late"}, "resolve_bars": 2}, "`seconds` says how long"),
        ({"condition": {"kind": "health", "check": "bars_late"}, "symbols": ["A"]}, "as a whole"),
        ({"symbols": []}, "between 1 and 500"),
        ({"symbols": ["A B"]}, "symbols"),
        ({"escalation_seconds": [900, 300]}, "longer than the one before"),
        ({"quiet": {"start": "22:00", "end": "24:00"}}, "quiet.end"),
        ({"quiet": {"start": "22:00", "end": "07:00", "zone": "Europe/Atlantis"}}, "IANA"),
        ({"quiet": {"start": "22:00", "end": "07:00", "zone": "../../etc/passwd"}}, "IANA"),
        ({"name": " x"}, "name"),
        ({"nmae": "x"}, "nmae"),
        ({"interval": "2m"}, "interval"),
        ({"targets": ["mailto://x"]}, "targets"),
    ],
)
def test_rule_that_is_wrong_says_where(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        rule(**changes)
    assert said in str(error.value)


def test_rule_comes_back_from_json_as_it_was() -> None:
    made = rule({"kind": "anomaly", "rules": ["x"], "least": "warning"}, quiet={"start": "22:00", "end": "06:00"})
    assert parse_rule(made.model_dump(mode="json")) == made


def test_stored_rule_of_an_older_version_is_read_and_no_other_changed() -> None:
    for condition in ({"kind": "anomaly"}, {"kind": "health", "check": "bars_late"}):
        made = rule(condition)
        assert stored_rule(made.model_dump(mode="json") | {"for_bars": 3, "resolve_bars": 2}) == made
    of_bars = rule(for_bars=3, resolve_bars=2)
    assert stored_rule(of_bars.model_dump(mode="json")) == of_bars


def test_what_is_watched_is_apart_from_how_it_is_told() -> None:
    assert rule().watched == rule(severity="critical", cooldown_seconds=1, name="other").watched
    assert len({each.watched for each in (rule(), rule(interval="5m"), rule(for_bars=2), rule(symbols=["A"]))}) == 4


# Berlin: clocks go forward on 2024-03-31 at 02:00 (01:00 UTC), and back on 2024-10-27 at 03:00 (01:00 UTC).
@pytest.mark.parametrize(
    ("moment", "quiet"),
    [
        ("2024-03-30 20:59", False),
        ("2024-03-30 21:00", True),  # 22:00 CET
        ("2024-03-31 00:59", True),
        ("2024-03-31 04:59", True),  # 06:59 CEST
        ("2024-03-31 05:00", False),  # 07:00 CEST, an hour of UTC earlier than the day before
        ("2024-03-31 19:59", False),
        ("2024-03-31 20:00", True),  # 22:00 CEST
        ("2024-10-27 05:59", True),  # 06:59 CET
        ("2024-10-27 06:00", False),
    ],
)
def test_quiet_hours_follow_the_clocks_of_their_zone(moment: str, quiet: bool) -> None:
    hours = QuietHours(start="22:00", end="07:00", zone="Europe/Berlin")
    assert hours.covers(us(moment)) is quiet


def test_quiet_hours_of_one_day_and_none() -> None:
    noon = QuietHours(start="12:00", end="13:00")
    assert [noon.covers(us(f"2024-01-01 {hour}")) for hour in ("11:59", "12:00", "12:59", "13:00")] == [
        False, True, True, False,
    ]  # fmt: skip
    assert not QuietHours(start="12:00", end="12:00").covers(us("2024-01-01 12:00"))


def test_night_of_the_change_of_clocks_has_as_many_quiet_minutes_as_it_has() -> None:
    hours = QuietHours(start="22:00", end="07:00", zone="Europe/Berlin")
    for day, expected in (("2024-03-30 12:00", 8 * 60), ("2024-10-26 12:00", 10 * 60), ("2024-06-01 12:00", 9 * 60)):
        begin = us(day)
        covered = [hours.covers(begin + minute * 60_000_000) for minute in range(24 * 60)]
        assert sum(covered) == expected and len(list(itertools.groupby(covered))) == 3
