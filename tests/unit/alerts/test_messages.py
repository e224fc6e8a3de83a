"""What people read, who is told, and what of a URL nobody may see."""

from typing import Any

import pytest

from alerts.messages import MAX_LINES, Message, digest, fitted, message, number
from alerts.rules import parse_rule
from alerts.sending import Sender, hidden, secrets
from alerts.states import Notice
from alerts.targets import Target, parse_targets, route
from core.errors import ConfigError

RULE = parse_rule({"name": "hot", "condition": {"kind": "indicator", "expression": "rsi:14 > 70"}})
SINCE = 1_714_570_200_000_000  # 2024-05-01 13:30 UTC


def notice(**changes: Any) -> Notice:
    usual: dict[str, Any] = {
        "id": "i", "alert": "a-1", "kind": "firing", "severity": "warning", "crossings": 1, "total": 1,
        "since_us": SINCE, "first_us": SINCE, "end_us": SINCE + 60_000_000, "value": 71.25, "threshold": 70.0,
        "low": 71.25, "high": 71.25, "text": "rsi:14 > 70 on 1m bars",
    }  # fmt: skip
    return Notice(**usual | changes)


def test_message_has_the_numbers_and_when() -> None:
    made = message(RULE, "BTC-USD", notice())
    assert made.title == "[warning] BTC-USD: hot fires"
    assert made.body == (
        "rsi:14 > 70 on 1m bars: 71.25 (threshold 70)\nsince 2024-05-01 13:30:00 UTC, seen at 2024-05-01 13:31:00 UTC\n"
        "alert a-1"
    )


def test_message_says_how_often_and_between_which_values() -> None:
    made = message(RULE, "BTC-USD", notice(kind="reminder", crossings=7, total=1000, low=70.5, high=99.125))
    assert "began 7 times since the last message, 1000 in all, the first at 2024-05-01 13:30:00 UTC" in made.body
    assert "between 70.5 and 99.125" in made.body
    once = message(RULE, "BTC-USD", notice(kind="resolved", crossings=0))
    assert "began" not in once.body  # it says since when
    passed = message(RULE, "*", notice(kind="passed"))
    assert passed.title == "[warning] system: hot fired and is over"
    assert "from 2024-05-01 13:30:00 UTC to 2024-05-01 13:31:00 UTC" in passed.body


def test_several_become_one_of_the_greatest_severity_that_hides_nothing() -> None:
    one = Message("t", "b", "info", 3)
    assert digest([one]) is one
    many = [Message(f"[info] S{place}: x fires", f"body {place}", "info", 2) for place in range(MAX_LINES + 5)]
    made = digest([*many, Message("[critical] A:B: y fires", "worse", "critical", 1)])
    assert made.title == f"[critical] {MAX_LINES + 6} alerts: S0, S1, S2, S3, S4, S5 …"
    assert digest(many[:2] + many[:1]).title == "[info] 3 alerts: S0, S1"
    assert made.crossings == 2 * (MAX_LINES + 5) + 1
    assert "[info] S0: x fires\nbody 0" in made.body and f"and 6 more, which began {5 * 2 + 1} times" in made.body


def test_body_that_is_too_long_is_cut_between_lines_and_says_so() -> None:
    body = "\n".join(f"line {place}" for place in range(100))
    assert fitted(body, len(body)) == body
    for most in (300, 100, 60):
        made = fitted(body, most)
        assert len(made) <= most and made.endswith("GET /api/v1/alerts")
        assert set(made.splitlines()[:-1]) <= set(body.splitlines())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (64010.5, "64010.5"),
        (0.0, "0"),
        (1.5e-9, "1.5e-09"),
        (123456789.125, "123456789.125"),
        (1e6, "1000000"),
        (0.00001234, "0.00001234"),
        (1 / 3, "0.33333333"),
        (None, "-"),
    ],
)
def test_numbers_as_people_write_them(value: float | None, text: str) -> None:
    assert number(value) == text


def test_targets_by_name_and_severity() -> None:
    text = "ops[critical]=slack://A/B/C desk=json://127.0.0.1:1/x\n night[warning,critical]=mailto://u:p@h"
    targets = parse_targets(text)
    assert [(each.name, sorted(each.severities)) for each in targets] == [
        ("ops", ["critical"]), ("desk", ["critical", "info", "warning"]), ("night", ["critical", "warning"]),
    ]  # fmt: skip
    assert [each.name for each in route(targets, [], "warning")] == ["desk", "night"]
    assert [each.name for each in route(targets, ["ops"], "info")] == ["ops"]
    assert route(targets, ["nobody"], "critical") == []
    assert parse_targets("  ") == () and "slack" not in repr(targets)


@pytest.mark.parametrize(
    "text",
    ["json://h/SECRET", "a=SECRET", "a=json://h/SECRET a=json://h/x", "a[loud]=json://h/SECRET", "a=syslog://SECRET",
     "a=windows://SECRET", "a b=json://h/SECRET", "=json://SECRET"],
)  # fmt: skip
def test_targets_that_are_wrong_are_named_without_their_urls(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_targets(text)
    assert "SECRET" not in str(error.value)


def test_url_that_apprise_does_not_know_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError) as error:
        Sender(Target("ops", "nosuchthing://tok3n/x"), 1)
    assert "tok3n" not in str(error.value)


def test_nothing_of_a_url_stays_in_what_is_said() -> None:
    url = "slack://bot@T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?to=%23trading&pass=a%2Fb%20c"
    said = f"cannot reach {url} as T1JJ3T3L2 with TIiajkdnlazkcOXrIdevi7FQ, a/b c\nor a%2Fb%20c for #trading"
    clean = hidden(said, secrets(url))
    for secret in ("T1JJ3T3L2", "A1BRTD4JD", "TIiaj", "a/b c", "a%2Fb", "trading", "\n"):
        assert secret not in clean
    assert clean.startswith("cannot reach ***")
