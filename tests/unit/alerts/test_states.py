"""When a rule speaks: nothing is hidden, nobody is flooded, and what was announced is taken back."""

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.states import Notice, Policy, Seen, State, decide, observe, withdraw

MINUTE = 60_000_000
BEGIN = 1_700_000_000_000_000
USUAL = Policy(calm_us=5 * MINUTE)
RANK = {"": -1, "info": 0, "warning": 1, "critical": 2}


@dataclass
class Watched:
    """A machine that is stepped minute by minute, with all that it said and when."""

    policy: Policy = USUAL
    state: State = field(default_factory=State)
    now: int = BEGIN
    said: list[tuple[int, Notice]] = field(default_factory=list)
    crossings: int = 0
    acknowledged: bool = False

    def bar(self, holds: bool, value: float = 1.0, severity: str = "warning", quiet: bool = False) -> None:
        self.now += MINUTE
        seen = Seen(holds=holds, start_us=self.now - MINUTE, end_us=self.now, severity=severity, value=value)
        before = self.state.phase
        self.state = observe(self.state, seen, self.policy, self.now, "rule|A")
        self.crossings += (before, self.state.phase) == ("ok", "firing")
        self.time(quiet)

    def time(self, quiet: bool = False, minutes: int = 0) -> None:
        self.now += minutes * MINUTE
        self.state, notice = decide(self.state, self.policy, self.now, quiet=quiet, acknowledged=self.acknowledged)
        if notice is not None:
            self.said.append((self.now, notice))

    def rest(self, minutes: int = 2000) -> None:
        """Bars on which it does not hold, until nothing is left to be said."""
        for _ in range(minutes):
            self.bar(False)

    @property
    def kinds(self) -> list[str]:
        return [notice.kind for _, notice in self.said]

    @property
    def told(self) -> int:
        return sum(notice.crossings for _, notice in self.said)


def test_it_fires_reminds_ever_more_rarely_and_is_resolved() -> None:
    watched = Watched()
    for _ in range(6 * 60):
        watched.bar(True)
    watched.rest(60)
    minutes = [(at - BEGIN) // MINUTE for at, _ in watched.said]
    assert watched.kinds == ["firing", "reminder", "reminder", "reminder", "reminder", "resolved"]
    assert minutes == [1, 6, 21, 81, 321, 361]
    assert watched.state.idle and watched.told == watched.crossings == 1


def test_1000_crossings_give_a_handful_of_messages_that_tell_of_all() -> None:
    watched = Watched()
    for _ in range(1000):
        watched.bar(True, 71.0)
        watched.bar(False, 69.0)
    watched.rest()
    assert watched.crossings == watched.told == 1000
    assert 3 <= len(watched.said) <= 15
    assert {notice.alert for _, notice in watched.said} == {watched.said[0][1].alert}
    assert watched.said[-1][1].total == 1000 and watched.said[-1][1].kind in ("resolved", "passed")


def test_extremes_since_the_last_message_are_in_the_next() -> None:
    watched = Watched()
    for value in (71.0, 99.0, 70.5, 88.0, 80.0, 75.0):
        watched.bar(True, value)
    assert [(notice.low, notice.high) for _, notice in watched.said] == [(71.0, 71.0), (70.5, 99.0)]


def test_it_fires_after_so_many_bars_in_a_row_and_resolves_likewise() -> None:
    watched = Watched(Policy(for_bars=3, resolve_bars=2, calm_us=5 * MINUTE))
    for holds in (True, True, False, True, True):
        watched.bar(holds)
    assert watched.kinds == [] and watched.crossings == 0
    watched.bar(True)
    assert watched.kinds == ["firing"]
    for holds in (False, True, False, True):
        watched.bar(holds)
    assert watched.state.phase == "firing"
    watched.bar(False)
    watched.bar(False)
    assert watched.state.phase == "ok"


def test_bar_that_was_amended_counts_once_in_a_row() -> None:
    policy = Policy(for_bars=2)
    seen = Seen(holds=True, start_us=BEGIN, end_us=BEGIN + MINUTE, severity="info")
    state = observe(State(), seen, policy, BEGIN, "k")
    state = observe(state, msgspec.structs.replace(seen, again=True), policy, BEGIN, "k")
    assert state.phase == "ok"
    assert observe(state, seen, policy, BEGIN, "k").phase == "firing"


def test_greater_severity_breaks_the_cooldown_once() -> None:
    watched = Watched()
    for severity in ("info", "info", "critical", "critical", "warning"):
        watched.bar(True, severity=severity)
    assert watched.kinds == ["firing", "worse"]
    assert [notice.severity for _, notice in watched.said] == ["info", "critical"]


def test_acknowledged_alert_reminds_nobody_and_is_still_resolved() -> None:
    watched = Watched()
    watched.bar(True)
    watched.acknowledged = True
    for _ in range(600):
        watched.bar(True)
    assert watched.kinds == ["firing"]
    watched.bar(False)
    assert watched.kinds == ["firing", "resolved"]


def test_quiet_hours_hold_back_all_but_critical_and_end_with_one_summary() -> None:
    watched = Watched()
    for _ in range(100):
        watched.bar(True, quiet=True)
        watched.bar(False, quiet=True)
    assert watched.said == []
    watched.time()
    assert watched.kinds == ["passed"] and watched.told == 100
    loud = Watched()
    loud.bar(True, severity="critical", quiet=True)
    assert loud.kinds == ["firing"]


def test_after_a_backlog_only_how_it_stands_is_told() -> None:
    watched = Watched()
    watched.bar(True)
    for holds in (False, True, False, True, False) * 20:  # nobody decides meanwhile
        watched.now += MINUTE
        seen = Seen(holds=holds, start_us=watched.now - MINUTE, end_us=watched.now, severity="warning")
        watched.state = observe(watched.state, seen, USUAL, BEGIN + 300 * MINUTE, "rule|A")
    watched.now = BEGIN + 300 * MINUTE
    watched.time()
    watched.time()
    watched.time(minutes=6)
    assert watched.kinds == ["firing", "resolved"] and watched.said[-1][1].crossings == 40


def test_crossings_of_a_moment_are_counted_and_never_resolved() -> None:
    watched = Watched(Policy(calm_us=5 * MINUTE, notify_resolved=False))
    for _ in range(10):
        watched.bar(True)
        watched.bar(False)
    watched.rest(100)
    assert set(watched.kinds) <= {"firing", "passed"} and watched.told == 10 and watched.state.idle


def test_next_alert_after_a_rest_is_told_at_once() -> None:
    watched = Watched()
    watched.bar(True)
    watched.rest(30)
    first = watched.said[0][1].alert
    watched.bar(True)
    assert watched.said[-1][0] == watched.now and watched.kinds[-1] == "firing"
    assert watched.said[-1][1].alert != first


def test_condition_that_settles_after_flapping_is_told_within_the_calm_time() -> None:
    watched = Watched()
    for _ in range(200):
        watched.bar(True)
        watched.bar(False)
    for holds in (True, False, True, False):
        for _ in range(6):
            watched.bar(holds)
        assert watched.state.told == watched.state.phase == ("firing" if holds else "ok")


def test_withdrawing_speaks_only_where_somebody_waits() -> None:
    watched = Watched()
    assert withdraw(watched.state, BEGIN) is None
    watched.bar(True)
    notice = withdraw(watched.state, watched.now)
    assert notice is not None and notice.kind == "withdrawn"


def test_message_ids_differ_and_are_the_same_for_the_same_decision() -> None:
    runs = []
    for _ in range(2):
        watched = Watched()
        for holds in (True, True, True, True, True, True, False, True):
            watched.bar(holds)
        runs.append([notice.id for _, notice in watched.said])
    assert runs[0] == runs[1] and len(set(runs[0])) == len(runs[0]) > 1


bars = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(["info", "warning", "critical"]),
        st.booleans(),  # quiet
        st.integers(0, 3),  # idle minutes
    ),
    max_size=120,
)
policies = st.builds(
    Policy,
    for_bars=st.integers(1, 3),
    resolve_bars=st.integers(1, 3),
    cooldown_us=st.sampled_from([MINUTE, 5 * MINUTE, 20 * MINUTE]),
    escalation_us=st.sampled_from([(), (2 * MINUTE,), (5 * MINUTE, 15 * MINUTE, 60 * MINUTE)]),
    calm_us=st.sampled_from([3 * MINUTE, 20 * MINUTE]),
    notify_resolved=st.booleans(),
)


@given(policy=policies, bars=bars, ending=st.booleans())
def test_nothing_is_hidden_and_nobody_is_flooded(
    policy: Policy, bars: list[tuple[bool, str, bool, int]], ending: bool
) -> None:
    watched = Watched(policy)
    for holds, severity, quiet, idle in bars:
        watched.bar(holds, severity=severity, quiet=quiet)
        watched.time(quiet, idle)
        # A restart changes nothing: the stored state is the whole memory.
        watched.state = msgspec.json.decode(msgspec.json.encode(watched.state), type=State)
    for _ in range(200):
        watched.bar(ending and watched.state.phase == "firing")
    assert watched.told + watched.state.untold == watched.crossings
    if not ending:
        assert watched.state.idle and watched.state.untold == 0
    _check_pauses(watched)
    if policy.notify_resolved:
        _check_resolved(watched, ending)


def _check_pauses(watched: Watched) -> None:
    for (earlier, before), (later, notice) in zip(watched.said, watched.said[1:], strict=False):
        assert notice.kind == "worse" or later - earlier >= watched.policy.cooldown_us
        if notice.kind == "worse":
            assert RANK[notice.severity] > RANK[before.severity] and notice.alert == before.alert


def _check_resolved(watched: Watched, still: bool) -> None:
    """Each alert that was announced is taken back as its last word; one still firing may lack that."""
    last: dict[str, str] = {}
    for _, notice in watched.said:
        last[notice.alert] = notice.kind
    open_one = watched.state.alert if still else ""
    for alert, kind in last.items():
        assert kind in ("resolved", "passed") or alert == open_one


@pytest.mark.parametrize("calm", [1, 30])
def test_pauses_of_a_flapping_alert_widen(calm: int) -> None:
    watched = Watched(Policy(calm_us=max(5, calm) * MINUTE))
    for _ in range(3000):
        watched.bar(True)
        watched.bar(False)
    gaps = [later - earlier for (earlier, _), (later, _) in zip(watched.said, watched.said[1:], strict=False)]
    assert gaps == sorted(gaps) and gaps[-1] >= 240 * MINUTE
