"""What every rule promises, whatever it looks at: no look ahead, no size, no order, no memory but its state."""

import importlib
import pkgutil
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import anomalies
from core.anomalies import RULES, Finding, Judge
from core.anomalies.base import Rule
from core.anomalies.judge import judges
from core.anomalies.silence import slots
from core.intervals import INTERVALS, MINUTE_US, SECOND_US
from tests.unit.core.anomalies.series import BEGIN_US, LIMITS, Series, judge, quiet, take

DAY_US = 1440 * MINUTE_US


def wild(seed: int, count: int = 200, symbol: str = "AAA") -> Series:
    """A market in which every rule has something to say."""
    rng = random.Random(seed)
    closes: list[float | None] = list(quiet(count, seed=seed))
    volumes = [rng.uniform(50, 150) for _ in range(count)]
    for at in rng.sample(range(70, count - 12), 6):
        factor = rng.choice((0.9, 0.985, 1.02, 1.12))
        closes[at:] = [None if each is None else each * factor for each in closes[at:]]
        volumes[at] *= rng.choice((1, 5, 40))
    gap = rng.randrange(70, count - 12)
    closes[gap : gap + 11] = [None] * 11
    return Series(closes, volumes, symbol, latencies=[rng.expovariate(1 / 40) for _ in range(count)])


def plain(findings: list[Finding]) -> list[tuple[object, ...]]:
    return [(each.key, each.state, each.severity, each.since, each.value) for each in findings]


def rules_in_folder() -> list[Rule]:
    names = [item.name for item in pkgutil.iter_modules(anomalies.__path__) if item.name != "registry"]
    modules = [importlib.import_module(f"core.anomalies.{name}") for name in names]
    return [rule for module in modules for rule in vars(module).get("RULES", ()) if isinstance(rule, Rule)]


def test_folder_equals_registry() -> None:
    assert {rule.name: rule for rule in rules_in_folder()} == RULES
    assert len(rules_in_folder()) == len(RULES)


def test_wild_market_speaks_of_every_rule() -> None:
    seen = {each.rule for seed in range(6) for each in take(judge(), wild(seed).rows())}
    assert seen >= set(RULES) - {"volume_profile"}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 199), max_size=6))
def test_parts_find_what_the_whole_finds(seed: int, cuts: list[int]) -> None:
    rows, by = wild(seed).rows(), judge()
    edges = [0, *sorted({cut for cut in cuts if cut < len(rows)}), len(rows)]
    found: list[Finding] = []
    for low, high in pairwise(edges):
        part = rows[low:high]
        found += take(by, random.Random(seed).sample(part, len(part)))
        found += by.silent(part[-1]["start"] + MINUTE_US)
    assert plain(found) == plain(take(judge(), rows))


def test_later_bars_change_no_finding() -> None:
    rows = wild(3).rows()
    whole = take(judge(), rows)
    for cut in (80, 120, 160):
        last = rows[cut - 1]["start"]
        assert plain(take(judge(), rows[:cut])) == plain([each for each in whole if each.start <= last])


@pytest.mark.parametrize(("price", "volume"), [(1024.0, 1.0), (1.0, 1 / 4096), (2.0**-12, 2.0**20)])
def test_size_of_price_and_volume_changes_nothing(price: float, volume: float) -> None:
    for seed in range(3):
        found, scaled = (take(judge(), series.rows()) for series in (wild(seed), wild(seed).scaled(price, volume)))
        assert plain(found) == plain(scaled)


def test_symbols_do_not_touch_one_another() -> None:
    first, second = wild(1, symbol="AAA").rows(), wild(2, symbol="BBB").rows()
    together = take(judge(), random.Random(0).sample([*first, *second], len(first) + len(second)))
    for rows in (first, second):
        assert plain(take(judge(), rows)) == plain([each for each in together if each.symbol == rows[0]["symbol"]])


@pytest.mark.parametrize("cut", [1, 90, 150])
def test_restored_state_goes_on_where_it_was(cut: int) -> None:
    rows = wild(4).rows()
    whole, by = take(judge(), rows), judge()
    before = take(by, rows[:cut])
    again = judge()
    again.restore(by.symbols, by.indicators.specs, by.rows.tobytes(), by.latches)
    assert before + take(again, rows[cut:]) == whole


def test_state_of_other_rules_goes_on_where_they_are_the_same() -> None:
    rows, names = wild(4).rows(), ("price_move", "rsi_overbought", "rsi_oversold")
    old = judge(rules=[RULES[name] for name in names])
    take(old, rows[:120])
    by = judge()
    by.restore(old.symbols, old.indicators.specs, old.rows.tobytes(), old.latches)
    found = [each for each in take(by, rows[120:]) if each.rule in names]
    whole = [each for each in take(judge(), rows) if each.rule in names and each.start >= rows[120]["start"]]
    assert found == whole and len(found) > 2


def test_restore_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="bytes"):
        judge().restore(["AAA"], judge().indicators.specs, b"\0" * 16, {})


def test_every_firing_is_over_before_the_next_and_grows_only_worse() -> None:
    for seed in range(5):
        held: dict[tuple[str, str], Finding] = {}
        for each in take(judge(), wild(seed).rows()):
            before = held.pop((each.symbol, each.rule), None)
            order = ["info", "warning", "critical"].index
            if each.state == "resolved":
                assert before is not None and (each.since, each.severity) == (before.since, before.severity)
                assert each.score < LIMITS.release
                continue
            assert each.score >= 1 and each.since == (each.start if before is None else before.since)
            assert before is None or order(each.severity) > order(before.severity)
            held[each.symbol, each.rule] = each


def test_clock_finds_the_silence_that_the_next_bar_would_have() -> None:
    rows = Series([100.0] * 10).rows()
    looked_often, looked_once, never = judge(), judge(), judge()
    for by in (looked_often, looked_once, never):
        take(by, rows)
    end = rows[-1]["start"] + MINUTE_US
    often = [each for seconds in range(0, 900, 7) for each in looked_often.silent(end + seconds * SECOND_US)]
    once = looked_once.silent(end + 899 * SECOND_US)
    late = take(never, Series([100.0], begin_us=end + 15 * MINUTE_US).rows())
    assert plain(often) == plain(once) == plain(late[:-1]) and late[-1].state == "resolved"
    assert [(each.severity, each.rev, each.value, (each.end - end) // MINUTE_US) for each in often] == [
        ("info", 0, 300.0, 5),
        ("warning", 0, 480.0, 8),
        ("critical", 0, 600.0, 10),
    ]
    assert often[0].text == "AAA did not trade for 300 s of the session: 300 s or more"


def test_silence_counts_within_sessions_only() -> None:
    rule, minute = RULES["silent_feed"], INTERVALS["1m"]
    close = 1_709_586_000_000_000  # 2024-03-04T21:00:00Z, the close of XNYS
    until = close + 3 * DAY_US

    def ends(since: int, until: int) -> list[int]:
        return [(end - close) // MINUTE_US for _, end, _ in slots(rule, LIMITS, minute, since, until, "XNYS")]

    assert ends(close - 10 * MINUTE_US, close) == [-5, -2, 0]
    assert ends(close - 4 * MINUTE_US, close + 60 * MINUTE_US) == []
    opens = 17 * 60 + 30
    assert ends(close - 4 * MINUTE_US, until) == [opens + 5, opens + 8, opens + 10]
    assert ends(close, close + opens * MINUTE_US + 299 * SECOND_US) == []


def test_judges_are_one_for_each_interval() -> None:
    made = judges([INTERVALS["5m"], INTERVALS["1m"]], LIMITS)
    assert {name: each.interval.name for name, each in made.items()} == {"5m": "5m", "1m": "1m"}
    assert judges([], LIMITS) == {}


def test_learning_replaces_only_what_the_other_knows() -> None:
    rows = wild(5).rows()
    whole, part = judge(), Judge(INTERVALS["1m"], LIMITS, rules=[rule for rule in RULES.values() if rule.again])
    take(whole, rows[:180])
    kept = whole.rows.copy()
    take(part, rows[100:180])
    whole.learn(part, "AAA")
    profile = slice(-(4 + 2 * 96), None)  # todvol is the last one
    assert (whole.rows[0, profile] == kept[0, profile]).all() and not (whole.rows == kept).all()
    assert whole.rows[0, 0] == kept[0, 0] == rows[179]["start"]
    assert whole.rows[0, 0] > BEGIN_US
