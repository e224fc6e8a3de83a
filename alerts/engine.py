"""All rules over all symbols: bars, findings and health in, states and notices out. No I/O, no clock."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from alerts.conditions import RANKS, AnomalyCondition, HealthCondition
from alerts.expressions import Comparison, read
from alerts.rules import EVERY, Rule
from alerts.states import Notice, Seen, State, decide, observe, withdraw
from alerts.symptoms import Symptom
from alerts.values import ClosedBar, History, Series, Values
from core.anomalies.finding import Finding
from core.intervals import INTERVALS
from core.sessions import ALWAYS_OPEN

Key = tuple[str, str]
"""Rule and symbol."""


class Held(msgspec.Struct, frozen=True):
    """A rule with its identity, and what it watched when its states were written."""

    id: str
    rule: Rule


class Told(msgspec.Struct, frozen=True):
    """A notice, of which rule and symbol."""

    rule_id: str
    rule: Rule
    symbol: str
    notice: Notice


class Changes(msgspec.Struct):
    """What has to be stored of a step. A state that is None is gone, and the alerts in `closed` with it."""

    states: dict[Key, State | None] = msgspec.field(default_factory=dict)
    told: list[Told] = msgspec.field(default_factory=list)
    closed: list[str] = msgspec.field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.states or self.told)


class Engine:
    """Holds rules and states. What has changed since the last `changes` is handed over by it."""

    def __init__(self, history: History, calendar: str = ALWAYS_OPEN) -> None:
        self._history = history
        self._calendar = calendar
        self._rules: dict[str, Rule] = {}
        self._states: dict[Key, State] = {}
        self._busy: set[Key] = set()
        self._series: dict[str, Series] = {}
        self._compared: dict[str, list[tuple[str, Rule, Comparison]]] = {}
        self._changes = Changes()

    @property
    def rules(self) -> Mapping[str, Rule]:
        return self._rules

    @property
    def busy(self) -> int:
        """How many states time alone may change."""
        return len(self._busy)

    def restore(self, states: Mapping[Key, State]) -> None:
        """Go on from stored states; to be called before anything else."""
        self._states = dict(states)
        self._busy = {key for key, state in states.items() if not state.idle}

    def use(self, rules: Iterable[Held], watched: Mapping[str, str], now_us: int) -> None:
        """Follow these rules from now on, those that are enabled.

        `watched`: by rule, what its stored states are of (`Rule.watched`); states of what a rule no longer watches are
        withdrawn.
        """
        known = {held.id: held.rule for held in rules if held.rule.enabled}
        for key in list(self._states):
            rule = known.get(key[0])
            before = self._rules.get(key[0])
            was = before.watched if before is not None else watched.get(key[0], "")
            if rule is None or rule.watched != was:
                self._withdraw(key, rule or before, now_us)
        self._rules = known
        self._arrange()

    def bars(self, bars: Sequence[ClosedBar], now_us: int) -> None:
        """Judge final bars, in the order in which they came."""
        for interval, series in self._series.items():
            own = [bar for bar in bars if bar.interval == interval]
            for bar, again, values in series.take(own, self._history) if own else ():
                self.judge(bar, values, again, now_us)

    def judge(self, bar: ClosedBar, values: Values, again: bool, now_us: int) -> None:
        """Judge one bar with values that were computed elsewhere."""
        for rule_id, rule, comparison in self._compared.get(bar.interval, ()):
            if rule.about(bar.symbol):
                self._compare(rule_id, rule, comparison, bar, values, again, now_us)

    def findings(self, findings: Sequence[Finding], now_us: int) -> None:
        """Take in what the detectors found, in the order in which it came."""
        wanted = [(name, rule) for name, rule in self._rules.items() if isinstance(rule.condition, AnomalyCondition)]
        for finding in findings:
            for rule_id, rule in wanted:
                if _meant(rule, finding):
                    self._find(rule_id, rule, finding, now_us)

    def symptoms(self, symptoms: Sequence[Symptom], now_us: int) -> None:
        """Take in how the system fares."""
        for rule_id, rule in self._rules.items():
            if not isinstance(rule.condition, HealthCondition):
                continue
            symbols = [EVERY] if rule.symbols == EVERY else rule.symbols
            for symptom in symptoms:
                seen = symptom.seen(rule.condition, rule.severity, now_us) if symptom.symbol in symbols else None
                if seen is not None:
                    self._observe((rule_id, symptom.symbol), rule, seen, now_us)

    def time(self, now_us: int, acknowledged: Callable[[str], bool] = lambda _: False) -> None:
        """Decide what is to be told now; `acknowledged` says so of an alert."""
        for key in sorted(self._busy):
            rule, state = self._rules.get(key[0]), self._states[key]
            if rule is None:
                continue
            quiet, seen = rule.quiet_at(now_us), bool(state.alert) and acknowledged(state.alert)
            after, notice = decide(state, rule.policy, now_us, quiet=quiet, acknowledged=seen)
            if notice is not None:
                self._changes.told.append(Told(key[0], rule, key[1], notice))
            self._put(key, after)

    def changes(self) -> Changes:
        """What has changed since this was last asked."""
        found, self._changes = self._changes, Changes()
        return found

    def state(self, key: Key) -> State:
        return self._states.get(key, _NOTHING)

    def _arrange(self) -> None:
        """The comparisons by interval; a series whose indicators stay the same goes on."""
        self._compared = {}
        for rule_id, rule in self._rules.items():
            if rule.comparison is not None:
                self._compared.setdefault(rule.interval, []).append((rule_id, rule, rule.comparison))
        made = {
            interval: Series(interval, [comparison for *_, comparison in compared], self._calendar)
            for interval, compared in self._compared.items()
        }
        kept = {name: old for name, old in self._series.items() if name in made and old.specs == made[name].specs}
        self._series = {name: kept.get(name, made[name]) for name in INTERVALS if name in made}

    def _compare(
        self, rule_id: str, rule: Rule, comparison: Comparison, bar: ClosedBar, values: Values, again: bool, now_us: int
    ) -> None:
        key = (rule_id, bar.symbol)
        state = self._states.get(key, _NOTHING)
        found = read(comparison, values, state.phase == "firing", state.side)
        if found is None:
            return
        if not found.holds and state.phase == "ok" and not state.streak and found.side == state.side:
            return  # nothing has changed, which is what nearly every bar says of nearly every rule
        seen = Seen(
            holds=found.holds,
            start_us=bar.start,
            end_us=bar.end,
            severity=rule.severity,
            value=found.value,
            threshold=found.threshold,
            side=found.side,
            again=again,
            text=f"{comparison.text} on {rule.interval} bars",
        )
        self._observe(key, rule, seen, now_us)

    def _find(self, rule_id: str, rule: Rule, finding: Finding, now_us: int) -> None:
        key = (rule_id, finding.symbol)
        found = dict(self._states.get(key, _NOTHING).open)
        found.pop(finding.rule, None)
        if _counts(rule, finding):
            found[finding.rule] = finding.severity
        severity = max([rule.severity, *found.values()], key=RANKS.__getitem__)
        seen = Seen(
            holds=bool(found),
            start_us=finding.start,
            end_us=finding.end,
            severity=severity,
            value=finding.value,
            threshold=finding.threshold,
            text=finding.text or finding.rule,
            open=found,
        )
        self._observe(key, rule, seen, now_us)

    def _observe(self, key: Key, rule: Rule, seen: Seen, now_us: int) -> None:
        self._put(key, observe(self._states.get(key, _NOTHING), seen, rule.policy, now_us, "|".join(key)))

    def _withdraw(self, key: Key, rule: Rule | None, now_us: int) -> None:
        state = self._states.pop(key)
        self._busy.discard(key)
        notice = withdraw(state, now_us)
        if notice is not None and rule is not None and rule.notify_resolved:
            self._changes.told.append(Told(key[0], rule, key[1], notice))
        self._changes.states[key] = None
        if state.alert:
            self._changes.closed.append(state.alert)

    def _put(self, key: Key, state: State) -> None:
        if state is self._states.get(key, _NOTHING):
            return
        self._states[key] = state
        self._changes.states[key] = state
        (self._busy.discard if state.idle else self._busy.add)(key)


_NOTHING = State()


def _meant(rule: Rule, finding: Finding) -> bool:
    condition = rule.condition
    assert isinstance(condition, AnomalyCondition)
    if finding.interval != rule.interval or not rule.about(finding.symbol):
        return False
    return not condition.rules or finding.rule in condition.rules


def _counts(rule: Rule, finding: Finding) -> bool:
    condition = rule.condition
    assert isinstance(condition, AnomalyCondition)
    return finding.state == "firing" and RANKS[finding.severity] >= RANKS[condition.least]
