"""All rules over all symbols: values equal those of the indicators, amendments, findings, health, restarts."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from alerts import trials
from alerts.engine import Engine, Held, Told
from alerts.rules import parse_rule
from alerts.states import State
from alerts.symptoms import Symptom
from alerts.trials import Trial, on_bars, on_findings
from alerts.values import ClosedBar
from core.anomalies.finding import Finding
from core.indicators import compute

MINUTE = 60_000_000
BEGIN = 1_700_000_040_000_000


def bar(minute: int, close: float, symbol: str = "A", **changes: Any) -> ClosedBar:
    start = BEGIN + minute * MINUTE
    usual = {"symbol": symbol, "interval": "1m", "start": start, "end": start + MINUTE, "volume": 2.0}
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    return ClosedBar(**(usual | prices | {"notional": 2 * close} | changes))


def finding(minute: int, state: str, **changes: Any) -> Finding:
    start = BEGIN + minute * MINUTE
    usual: dict[str, Any] = {"symbol": "A", "interval": "1m", "start": start, "end": start + MINUTE, "rev": 1}
    usual |= {"event_us": start + MINUTE, "rule": "price_move", "severity": "warning", "state": state, "value": 6.0}
    return Finding(**usual | {"threshold": 5.0, "score": 1.2, "text": "A moved", "since": start} | changes)


def held(name: str = "r", **changes: Any) -> Held:
    usual = {"name": name, "condition": {"kind": "price", "when": "above", "level": 100}, "cooldown_seconds": 0}
    return Held(name, parse_rule(usual | changes))


class Driven:
    """An engine with the bars that are stored."""

    def __init__(self, *rules: Held, stored: Sequence[ClosedBar] = ()) -> None:
        self.stored = list(stored)
        self.asked = 0
        self.engine = Engine(self._history)
        self.engine.use(rules, {}, BEGIN)

    def _history(self, interval: str, before: Sequence[tuple[str, int]], count: int) -> list[ClosedBar]:
        self.asked += 1
        found: list[ClosedBar] = []
        for symbol, us in before:
            own = [
                each for each in self.stored if (each.symbol, each.interval) == (symbol, interval) and each.start < us
            ]
            found += sorted(own, key=lambda each: each.start)[-count:]
        return found

    def bars(self, *bars: ClosedBar) -> list[tuple[str, str]]:
        """What is told after these."""
        now = max(each.end for each in bars)
        self.engine.bars(bars, now)
        self.engine.time(now)
        return kinds(self.engine.changes().told)


def kinds(told: Sequence[Told]) -> list[tuple[str, str]]:
    return [(each.symbol, each.notice.kind) for each in told]


def test_values_are_those_of_the_indicators_whatever_was_stored_before() -> None:
    rng = np.random.default_rng(5)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 400)))
    bars = [bar(place, float(close)) for place, close in enumerate(closes)]
    frame = pd.DataFrame({"start": [each.start for each in bars]} | {
        name: [getattr(each, name) for each in bars] for name in ("open", "high", "low", "close", "volume", "notional")
    })  # fmt: skip
    expected = compute(frame, "rsi:14")["rsi_14"].to_numpy()
    rule = held(condition={"kind": "indicator", "expression": "rsi:14 > -1"})
    whole, late = Driven(rule), Driven(rule, stored=bars)
    for place in range(400):
        whole.bars(bars[place])
        state = whole.engine.state(("r", "A"))
        if place < 14:
            assert state.value is None  # not ready
        else:
            assert state.value == expected[place]
    late.bars(bars[390])  # stored bars before it, not those after it
    assert late.engine.state(("r", "A")).value == pytest.approx(expected[390], rel=1e-9)
    late.bars(*bars[391:395])
    assert late.engine.state(("r", "A")).value == pytest.approx(expected[394], rel=1e-9)
    assert late.asked == 1


def test_amended_past_is_computed_anew_and_tells_nobody() -> None:
    bars = [bar(place, 90.0 + place % 3) for place in range(30)]
    rule = held(condition={"kind": "indicator", "expression": "sma:3 > 100"})
    driven = Driven(rule, stored=bars)
    driven.bars(bars[28])
    wrong = bar(27, 500.0, rev=2)
    driven.stored[27] = wrong
    assert driven.bars(wrong) == []
    assert driven.bars(bars[29]) == [("A", "firing")]
    assert driven.engine.state(("r", "A")).value == pytest.approx((500 + bars[28].close + bars[29].close) / 3)


def test_newest_bar_that_is_amended_is_judged_again_from_the_bars_before_it() -> None:
    bars = [bar(place, 90.0) for place in range(10)]
    driven = Driven(held(condition={"kind": "indicator", "expression": "sma:3 > 100"}), stored=bars)
    assert driven.bars(bar(10, 300.0)) == [("A", "firing")]
    assert driven.bars(bar(10, 91.0, rev=2)) == [("A", "resolved")]
    assert driven.engine.state(("r", "A")).value == pytest.approx((90 + 90 + 91) / 3)


def test_old_bar_that_is_amended_right_after_a_restart_is_not_taken_for_the_newest() -> None:
    amended = bar(3, 500.0, rev=2)
    bars = [bar(place, 90.0) for place in range(10)]
    prices = Driven(held())
    assert prices.bars(amended) == [] and prices.engine.state(("r", "A")).phase == "ok"
    assert prices.bars(amended, bar(10, 101.0)) == [("A", "firing")]
    bars[3] = amended
    averages = Driven(held(condition={"kind": "indicator", "expression": "sma:10 > 100"}), stored=bars)
    assert averages.bars(amended) == []
    assert averages.bars(bar(10, 91.0)) == [("A", "firing")]
    assert averages.engine.state(("r", "A")).value == pytest.approx((500 + 8 * 90 + 91) / 10)


def test_rules_are_of_their_symbols_and_interval_and_may_be_off() -> None:
    driven = Driven(
        held("mine", symbols=["A"]),
        held("every"),
        held("slow", interval="5m"),
        held("off", enabled=False),
    )
    told = driven.bars(
        bar(0, 101.0, "A"), bar(0, 101.0, "B"), bar(0, 101.0, "A", interval="5m", end=BEGIN + 5 * MINUTE)
    )
    assert sorted(told) == [("A", "firing")] * 3 + [("B", "firing")]


def test_bar_without_a_price_says_nothing() -> None:
    driven = Driven(held())
    assert driven.bars(bar(0, 101.0)) == [("A", "firing")]
    assert driven.bars(bar(1, math.nan)) == []
    assert driven.engine.state(("r", "A")).phase == "firing"


def test_restored_engine_goes_on_as_if_it_had_never_stopped() -> None:
    rule = held(for_bars=3, cooldown_seconds=300)
    one, two = Driven(rule), Driven(rule)
    levels = [101.0 if place % 7 < 5 else 99.0 for place in range(200)]
    said: tuple[list[Any], list[Any]] = ([], [])
    states: dict[tuple[str, str], State] = {}
    for place, level in enumerate(levels):
        two = Driven()
        two.engine.restore(states)
        two.engine.use([rule], {"r": rule.rule.watched}, BEGIN)
        for driven in (one, two):
            driven.engine.bars([bar(place, level)], bar(place, level).end)
            driven.engine.time(bar(place, level).end)
        changes = two.engine.changes()
        said[1].extend(each.notice for each in changes.told)
        said[0].extend(each.notice for each in one.engine.changes().told)
        for key, state in changes.states.items():
            assert state is not None
            states[key] = msgspec.json.decode(msgspec.json.encode(state), type=State)
    assert said[0] == said[1] and len(said[0]) > 3


def test_rule_that_watches_something_else_is_withdrawn_and_one_told_otherwise_goes_on() -> None:
    driven = Driven(held())
    driven.bars(bar(0, 101.0))
    driven.engine.use([held(severity="critical")], {}, BEGIN)
    assert kinds(driven.engine.changes().told) == []
    driven.engine.use([held(condition={"kind": "price", "when": "above", "level": 200})], {}, BEGIN)
    changes = driven.engine.changes()
    assert kinds(changes.told) == [("A", "withdrawn")] and changes.states == {("r", "A"): None}
    assert len(changes.closed) == 1
    driven.bars(bar(1, 201.0))
    driven.engine.use([], {}, BEGIN)
    assert kinds(driven.engine.changes().told) == [("A", "withdrawn")]


def test_states_of_another_condition_are_not_gone_on_with_after_a_restart() -> None:
    driven = Driven(held())
    driven.bars(bar(0, 101.0))
    engine = Engine(lambda *_: [])
    engine.restore({("r", "A"): driven.engine.state(("r", "A"))})
    engine.use([held(condition={"kind": "price", "when": "above", "level": 200})], {"r": held().rule.watched}, BEGIN)
    changes = engine.changes()
    assert kinds(changes.told) == [("A", "withdrawn")] and changes.states == {("r", "A"): None}


def test_anomaly_fires_while_any_of_those_that_are_meant_does() -> None:
    rule = held(
        condition={"kind": "anomaly", "rules": ["price_move", "volume_spike"], "least": "warning"}, severity="info"
    )
    driven = Driven(rule)
    steps = [
        (finding(0, "firing", rule="rsi_overbought"), []),
        (finding(0, "firing", severity="info"), []),
        (finding(1, "firing"), [("A", "firing")]),
        (finding(2, "firing", rule="volume_spike", severity="critical"), [("A", "worse")]),
        (finding(3, "resolved"), []),
        (finding(3, "firing", interval="5m"), []),
        (finding(4, "resolved", rule="volume_spike"), [("A", "resolved")]),
    ]
    for place, (each, expected) in enumerate(steps):
        now = BEGIN + place * MINUTE
        driven.engine.findings([each], now)
        driven.engine.time(now)
        assert kinds(driven.engine.changes().told) == expected, place


def test_health_is_judged_by_what_was_seen() -> None:
    def rule(name: str, **condition: Any) -> Held:
        return held(name, condition={"kind": "health"} | condition)

    driven = Driven(
        rule("redis", check="store_down", store="redis", seconds=10),
        rule("silent", check="feed_silent", seconds=60),
        rule("dead", check="dead_letters", seconds=300, count=5),
        held("of A", condition={"kind": "health", "check": "feed_silent", "seconds": 30}, symbols=["A"]),
    )
    quiet = [Symptom("store_down", 9.0, store="redis"), Symptom("store_down", 99.0, store="kafka"),
             Symptom("feed_silent", 59.0), Symptom("feed_silent", 29.0, "A"), Symptom("feed_silent", 99.0, "B"),
             Symptom("dead_letters", 5, seconds=300.0), Symptom("dead_letters", 50, seconds=60.0)]  # fmt: skip
    driven.engine.symptoms(quiet, BEGIN)
    driven.engine.time(BEGIN)
    assert driven.engine.changes().told == []
    loud = [Symptom("store_down", 10.0, store="redis"), Symptom("feed_silent", 61.0), Symptom("feed_silent", 31.0, "A"),
            Symptom("dead_letters", 6, seconds=300.0)]  # fmt: skip
    driven.engine.symptoms(loud, BEGIN)
    driven.engine.time(BEGIN)
    told = driven.engine.changes().told
    assert sorted((each.rule_id, each.symbol) for each in told) == [
        ("dead", "*"), ("of A", "A"), ("redis", "*"), ("silent", "*"),
    ]  # fmt: skip
    assert {each.notice.text for each in told} >= {"redis has not answered for 10 s", "no tick was received for 31 s"}


def test_most_bars_change_nothing_and_need_no_writing() -> None:
    driven = Driven(held(), held("c", condition={"kind": "indicator", "expression": "close > 1000"}))
    driven.engine.bars([bar(place, 50.0, f"S{place % 20}") for place in range(400)], BEGIN)
    driven.engine.time(BEGIN)
    assert not driven.engine.changes()


def test_trial_says_what_would_have_been_told() -> None:
    bars = [bar(place, 101.0 if place % 2 else 99.0, symbol) for place in range(2000) for symbol in ("A", "B")]
    rule = held(cooldown_seconds=300).rule
    trial = on_bars(rule, bars, [], Trial(BEGIN, BEGIN + 2000 * MINUTE))
    assert (trial.bars, trial.symbols, trial.crossings) == (4000, 2, 2000)
    assert len(trial.alerts) == 2 and sum(trial.messages.values()) <= 30
    assert {(past.symbol, past.crossings) for past in trial.alerts} == {("A", 1000), ("B", 1000)}
    calm = on_bars(held(condition={"kind": "price", "when": "above", "level": 1e6}).rule, bars, [], Trial(0, 1))
    assert calm.alerts == [] and calm.messages == {}


def test_trial_warms_up_with_bars_that_it_does_not_judge() -> None:
    rule = held(condition={"kind": "indicator", "expression": "sma:10 > 100"}).rule
    before = [bar(place, 500.0) for place in range(10)]
    trial = on_bars(rule, [bar(10, 90.0)], before, Trial(BEGIN, BEGIN))
    assert trial.bars == 1 and [past.since_us for past in trial.alerts] == [bar(10, 1).start]


def test_trial_sees_the_values_that_the_engine_sees() -> None:
    rng = np.random.default_rng(7)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 300)))
    bars = [bar(place, float(close), symbol) for place, close in enumerate(closes) for symbol in ("A", "B")]
    rule = held(condition={"kind": "indicator", "expression": "rsi:5 crosses_above 70"}, cooldown_seconds=300)
    trial = on_bars(rule.rule, bars[100:], bars[:100], Trial(BEGIN, BEGIN + 300 * MINUTE))
    driven, told = Driven(rule, stored=bars[:100]), []
    for each in bars[100:]:
        driven.engine.bars([each], each.end)
        driven.engine.time(each.end)
        told += driven.engine.changes().told
    assert trial.crossings > 10
    assert (
        sum(each.notice.crossings for each in told)
        + sum(driven.engine.state(("r", name)).untold for name in ("A", "B"))
        == trial.crossings
    )
    assert len(told) == sum(trial.messages.values())


def test_trial_on_findings_lets_time_pass_between_them() -> None:
    rule = held(condition={"kind": "anomaly"}, cooldown_seconds=300).rule
    found = [finding(0, "firing"), finding(180, "resolved")]
    trial = on_findings(rule, found, Trial(BEGIN, BEGIN + 300 * MINUTE))
    assert trial.messages == {"firing": 1, "reminder": 3, "resolved": 1} and trial.crossings == 1


def test_trial_does_not_wait_where_nobody_does_and_stops_where_it_would_take_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule = held(condition={"kind": "anomaly"}, cooldown_seconds=300).rule
    far = BEGIN + 10**9 * MINUTE
    calm = on_findings(rule, [finding(10**9, "firing")], Trial(0, far))
    assert calm.messages == {"firing": 1} and not calm.truncated
    monkeypatch.setattr(trials, "MOST_DECISIONS", 100)
    endless = on_findings(rule, [finding(0, "firing"), finding(500, "resolved")], Trial(BEGIN, far))
    assert endless.truncated and [past.until_us for past in endless.alerts] == [None]
