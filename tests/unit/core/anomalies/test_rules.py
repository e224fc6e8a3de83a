"""Each rule fires, grows worse and is over, where and how it should."""

from dataclasses import replace

import numpy as np
import pytest

from core.anomalies import RULES, Limits
from core.anomalies.base import Rule
from core.anomalies.finding import number_text, price_text
from core.intervals import MINUTE_US
from tests.unit.core.anomalies.series import BEGIN_US, LIMITS, Series, found, judge, minutes, quiet, take

FLAT = [100.0] * 30
LONG = quiet(90)


def after(*more: float | None, before: list[float] = FLAT) -> list[float | None]:
    return [*before, *more]


def volumes(*more: float, before: int = 30) -> list[float]:
    return [100.0] * before + list(more)


def rises(count: int, step: float = 0.0001) -> list[float | None]:
    """After an even up and down, only up."""
    even = [100.0 + (minute % 2) * 0.01 for minute in range(30)]
    return [*even, *(100.0 * (1 + step) ** minute for minute in range(1, count))]


CASES: dict[str, tuple[Series, list[tuple[int, str, str]]]] = {
    "price_move": (
        Series(after(94.9, 94.9)),
        [(30, "firing", "info"), (31, "resolved", "info")],
    ),
    "price_move up, by far": (
        Series(after(111.0, 111.0)),
        [(30, "firing", "critical"), (31, "resolved", "critical")],
    ),
    "price_move grows worse": (
        Series(after(106.0, 114.5, 126.5, 126.5)),
        [(30, "firing", "info"), (31, "firing", "warning"), (32, "firing", "critical"), (33, "resolved", "critical")],
    ),
    "price_move does not flap": (
        Series(after(105.5, 105.5 * 1.0455, 110.0)),
        [(30, "firing", "info"), (32, "resolved", "info")],
    ),
    "return_mad": (
        Series([*LONG, LONG[-1] * 1.006, LONG[-1] * 1.006]),
        [(90, "firing", "info"), (91, "resolved", "info")],
    ),
    "return_ewma": (
        Series([*LONG, LONG[-1] * 0.994, LONG[-1] * 0.994]),
        [(90, "firing", "critical"), (91, "resolved", "critical")],
    ),
    "close_zscore": (
        Series([*LONG, *[LONG[-1] * 1.02] * 4]),
        [(90, "firing", "warning"), (93, "resolved", "warning")],
    ),
    "rsi_overbought": (
        Series([*rises(40), *(100.0 - minute for minute in range(1, 4))]),
        [(36, "firing", "info"), (42, "firing", "warning"), (69, "resolved", "warning")],
    ),
    "rsi_oversold": (
        Series([*rises(40, -0.0001), *(100.0 + minute for minute in range(1, 4))]),
        [(36, "firing", "info"), (42, "firing", "warning"), (69, "resolved", "warning")],
    ),
    "volume_spike": (
        Series(after(100.0, 100.0), volumes(301.0, 100.0)),
        [(30, "firing", "info"), (31, "resolved", "info")],
    ),
    "volume_spike is no more than a warning": (
        Series(after(100.0, 100.0), volumes(90_000.0, 100.0)),
        [(30, "firing", "warning"), (31, "resolved", "warning")],
    ),
    "silent_feed": (
        Series(after(None, None, None, None, None, 100.0)),
        [(34, "firing", "info"), (35, "resolved", "info")],
    ),
    "silent_feed for long": (
        Series(after(*[None] * 11, 100.0)),
        [(34, "firing", "info"), (37, "firing", "warning"), (39, "firing", "critical"), (41, "resolved", "critical")],
    ),
    "silent_feed of almost five minutes": (Series(after(None, None, None, None, 100.0)), []),
    "latency": (
        Series(FLAT[:5], latencies=[20.0, 101.0, 95.0, 210.0, 89.0]),
        [(1, "firing", "info"), (3, "firing", "critical"), (4, "resolved", "critical")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rule_fires_and_is_over(name: str) -> None:
    series, expected = CASES[name]
    assert minutes(found(series, name.split()[0])) == expected


def test_every_rule_has_a_case() -> None:
    assert {name.split()[0] for name in CASES} | {"volume_profile"} == set(RULES)


def test_volume_profile_knows_the_time_of_day() -> None:
    """A busy open is no news on the second day; the same volume at another time is, and relvol cries at both."""
    day = [1000.0] * 15 + [100.0] * 75
    lunch = [*day[:60], 1000.0, *day[61:]]
    days = [Series([100.0] * 90, day, begin_us=BEGIN_US + n * 1440 * MINUTE_US).rows() for n in range(2)]
    third = Series([100.0] * 90, lunch, begin_us=BEGIN_US + 2 * 1440 * MINUTE_US).rows()
    by = judge()
    every = [each for part in (*days, third) for each in take(by, part)]
    days_of = {rule: [divmod((each.start - BEGIN_US) // MINUTE_US, 1440) for each in every if each.rule == rule]
               for rule in ("volume_profile", "volume_spike")}  # fmt: skip
    assert days_of["volume_profile"] == [(2, 60), (2, 61)]
    assert {(1, 0), (2, 0), (2, 60)} <= set(days_of["volume_spike"])
    first = next(each for each in every if each.rule == "volume_profile")
    assert first.text == (
        "AAA 1m traded 10 times the volume that is usual at this time of the session: more than 8 times"
    )


def test_volume_profile_says_nothing_before_it_has_seen_the_time_of_day() -> None:
    burst = Series([100.0] * 14, [100.0] * 12 + [5000.0, 100.0])
    assert found(burst, "volume_profile") == []
    assert len(found(Series([100.0] * 40, [100.0] * 38 + [5000.0, 100.0]), "volume_spike")) == 2


@pytest.mark.parametrize("rule", ["return_mad", "return_ewma", "close_zscore"])
def test_move_that_is_small_in_percent_is_none_however_quiet_it_was(rule: str) -> None:
    still = quiet(90, sigma=0.00002)
    moves = [Series([*still, still[-1] * (1 + percent / 100)]) for percent in (0.4, 0.6)]
    assert [bool(found(series, rule)) for series in moves] == [False, True]
    every = replace(LIMITS, return_percent=0.0)
    assert found(moves[0], rule, limits=every)


def test_finding_says_what_it_is_and_from_which_bar() -> None:
    series = replace(Series([*LONG, 200.0, 187.3]), symbol="BRK/B")
    finding = found(series, "price_move", limits=replace(LIMITS, release=0.5))[-1]
    start = BEGIN_US + 90 * MINUTE_US
    assert (finding.symbol, finding.interval, finding.rev, finding.rule) == ("BRK/B", "1m", 1, "price_move")
    assert (finding.start, finding.end, finding.event_us, finding.since) == (start, *[start + MINUTE_US] * 2, start)
    down = found(Series([*LONG, LONG[-1] * 0.946]), "price_move")[0]
    assert down.text == f"AAA 1m closed at {price_text(LONG[-1] * 0.946)}, 5.4 % below the bar before: more than 5 %"
    assert (down.value, down.threshold, down.score, down.severity) == (-5.4, 5.0, 1.08, "info")


@pytest.mark.parametrize(
    ("number", "text"), [(0.0, "0"), (5.4, "5.4"), (12.345, "12.3"), (1234.5, "1234"), (-0.05, "-0.05")]
)
def test_numbers_as_people_read_them(number: float, text: str) -> None:
    assert number_text(number) == text


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_thresholds_are_those_given(rule: Rule) -> None:
    limits = replace(LIMITS, **{rule.limit: rule.threshold(LIMITS) * 1.1})
    value = np.array([rule.threshold(limits), rule.usual])
    assert rule.score(value, limits).tolist() == pytest.approx([1.0, 0.0])
    assert rule.at(1, limits) == pytest.approx(rule.threshold(limits), rel=1e-5)
    assert rule.score(value, LIMITS)[0] != 1.0


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_texts_have_every_number_and_no_other_field(rule: Rule) -> None:
    told = {name: f"<{name}>" for name in ("symbol", "interval", "close", "value", "limit", "way", "percent")}
    fires, over = rule.text.format(**told), rule.over.format(**told)
    assert "<symbol>" in fires and "<symbol>" in over and "<limit>" in fires
    assert "<value>" in fires and fires != over


def test_bar_without_a_price_changes_nothing_but_volume() -> None:
    rows = Series(after(106.0, 106.0, 106.0), volumes(100.0, 500.0, 100.0)).rows()
    rows[31]["close"] = float("nan")
    found_ = [(each.rule, each.state, (each.start - BEGIN_US) // MINUTE_US) for each in take(judge(), rows)]
    moved = [each for each in found_ if each[0] == "price_move"]
    assert moved == [("price_move", "firing", 30), ("price_move", "resolved", 32)]
    assert ("volume_spike", "firing", 31) in found_


def test_only_the_shortest_interval_is_judged_for_what_would_be_the_same_in_all() -> None:
    silent = {name for name, rule in RULES.items() if rule.shortest_only}
    assert silent == {"silent_feed", "latency"}
    series = Series(FLAT[:5], latencies=[500.0] * 5)
    assert not found(series, "latency", shortest=False) and found(series, "latency")


def test_quiet_market_that_moves_by_a_tick_is_no_anomaly() -> None:
    closes = [100.0 + (minute >= 70) * 0.01 for minute in range(80)]  # one tick after an hour of nothing
    assert {each.rule for each in found(Series(closes))} <= {"rsi_overbought"}  # RSI knows no size


def test_default_limits_are_those_of_the_settings() -> None:
    from conf.settings import Settings

    assert Limits.of(Settings(), "anomaly_") == Limits()
