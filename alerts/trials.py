"""A rule tried on the past: when it would have fired, and how many messages that would have been."""

import asyncio
from collections.abc import Iterator, Sequence

import msgspec
import pandas as pd  # type: ignore[import-untyped]

from alerts.conditions import RANKS, AnomalyCondition, HealthCondition
from alerts.engine import Engine, Held
from alerts.expressions import FIELDS, Comparison
from alerts.messages import message
from alerts.rules import EVERY, Rule
from alerts.states import State
from alerts.values import ClosedBar, Values, closed, warm_up
from core.anomalies.finding import Finding
from core.indicators import compute
from core.intervals import INTERVALS
from core.sessions import ALWAYS_OPEN
from stores.alert_rules import AlertReads

MOST_BARS = 20_000
MOST_FINDINGS = 20_000
MOST_WARM_UP = 100_000
MOST_DECISIONS = 1_000_000
"""On findings: each bar's length that passes is one for each symbol that fires, some five seconds for all of these."""
_TRIED = "tried"


class Past(msgspec.Struct):
    """An alert that would have been. Times in epoch us; `until_us` None where it lasts at the end of the range."""

    symbol: str
    since_us: int
    until_us: int | None
    severity: str
    crossings: int
    low: float | None
    high: float | None
    messages: int


class Trial(msgspec.Struct):
    """What came of it. `untried` says why there is nothing to be seen, `truncated` that not all of the range was."""

    start_us: int
    end_us: int
    bars: int = 0
    symbols: int = 0
    truncated: bool = False
    untried: str = ""
    crossings: int = 0
    messages: dict[str, int] = msgspec.field(default_factory=dict)
    alerts: list[Past] = msgspec.field(default_factory=list)
    titles: list[str] = msgspec.field(default_factory=list)


async def tried(rule: Rule, reads: AlertReads, start_us: int, end_us: int, calendar: str = ALWAYS_OPEN) -> Trial:
    """The rule on what the database has of `[start, end)`. Raises StoreUnavailable."""
    trial = Trial(start_us, end_us)
    symbols = None if rule.symbols == EVERY else list(rule.symbols)
    if isinstance(rule.condition, HealthCondition):
        trial.untried = "the health of the past is not kept"
        return trial
    if isinstance(rule.condition, AnomalyCondition):
        rows = await reads.findings(rule.interval, symbols, start_us, end_us, MOST_FINDINGS + 1)
        trial.truncated = len(rows) > MOST_FINDINGS
        findings = [Finding(**row, event_us=row["end"]) for row in rows[:MOST_FINDINGS]]
        return await asyncio.to_thread(on_findings, rule, findings, trial)
    assert rule.comparison is not None
    rows = await reads.bars(rule.interval, symbols, start_us, end_us, MOST_BARS + 1)
    trial.truncated = len(rows) > MOST_BARS
    bars = [closed({"interval": rule.interval} | row) for row in rows[:MOST_BARS]]
    firsts: dict[str, int] = {}
    for bar in bars:
        firsts.setdefault(bar.symbol, bar.start)
    count = min(warm_up(rule.comparison.indicators), MOST_WARM_UP // max(1, len(firsts)))
    before = await reads.before(rule.interval, list(firsts.items()), count) if firsts and count else []
    past = [closed({"interval": rule.interval} | row) for row in before]
    return await asyncio.to_thread(on_bars, rule, bars, past, trial, calendar)


def on_bars(
    rule: Rule, bars: Sequence[ClosedBar], before: Sequence[ClosedBar], trial: Trial, calendar: str = ALWAYS_OPEN
) -> Trial:
    """The rule over bars, by end and symbol, each decided at its end; `before` are those to warm up with."""
    assert rule.comparison is not None
    stage = _Stage(rule, trial)
    for bar, values in zip(bars, _values(rule.comparison, bars, before, calendar), strict=True):
        stage.engine.judge(bar, values, False, bar.end)
        stage.tell(bar.end)
    trial.bars, trial.symbols = len(bars), len({bar.symbol for bar in bars})
    return stage.ended()


def _values(
    comparison: Comparison, bars: Sequence[ClosedBar], before: Sequence[ClosedBar], calendar: str
) -> Iterator[Values]:
    """What `alerts.values.Series` would say of each bar, by the vectorised form of the same indicators."""
    found: dict[str, list[float]] = {name: [getattr(bar, name) for bar in bars] for name in FIELDS}
    if comparison.indicators and bars:
        every = [*before, *bars]
        columns = ("symbol", "start", *FIELDS, "notional")
        frame = pd.DataFrame({name: [getattr(bar, name) for bar in every] for name in columns})
        computed = compute(frame, comparison.indicators, calendar)
        found |= {name: computed[name].to_list()[len(before) :] for name in computed.columns}
    for place in range(len(bars)):
        yield {name: column[place] for name, column in found.items()}


def on_findings(rule: Rule, findings: Sequence[Finding], trial: Trial) -> Trial:
    """The rule over findings, oldest first; between them, time passes as bars would make it.

    Where that would take too long, it stops, and the trial is truncated.
    """
    stage = _Stage(rule, trial)
    length = INTERVALS[rule.interval].us
    for finding in findings:
        if not stage.pass_until(finding.end, length):
            break
        stage.engine.findings([finding], finding.end)
        stage.tell(finding.end)
    stage.pass_until(trial.end_us, length)
    trial.symbols = len({finding.symbol for finding in findings})
    return stage.ended()


class _Stage:
    """An engine with one rule, whose clock is that of the past."""

    def __init__(self, rule: Rule, trial: Trial) -> None:
        self.engine = Engine(lambda *_: [])
        self.engine.use([Held(_TRIED, rule.model_copy(update={"enabled": True}))], {}, trial.start_us)
        self._trial = trial
        self._alerts: dict[str, Past] = {}
        self._now = trial.start_us
        self._left = MOST_DECISIONS

    def tell(self, now_us: int) -> None:
        self.engine.time(now_us)
        self._now = now_us
        changes = self.engine.changes()
        for (_, symbol), state in changes.states.items():
            if state is not None and state.alert:
                self._note(symbol, state)
        for told in changes.told:
            kinds = self._trial.messages
            kinds[told.notice.kind] = kinds.get(told.notice.kind, 0) + 1
            self._trial.titles.append(message(told.rule, told.symbol, told.notice).title)

    def pass_until(self, moment_us: int, step_us: int) -> bool:
        """Let time pass, at once where nothing waits for it; whether it came to that moment."""
        while self.engine.busy and self._now + step_us < moment_us:
            self._left -= self.engine.busy
            if self._left < 0:
                self._trial.truncated = True
                return False
            self.tell(self._now + step_us)
        self._now = max(self._now, moment_us)
        return True

    def ended(self) -> Trial:
        self._trial.alerts = sorted(self._alerts.values(), key=lambda each: (each.since_us, each.symbol))
        self._trial.crossings = sum(each.crossings for each in self._trial.alerts)
        return self._trial

    def _note(self, symbol: str, state: State) -> None:
        until = None if state.phase == "firing" else state.end_us
        found = self._alerts.get(state.alert)
        if found is None:
            found = self._alerts[state.alert] = Past(symbol, state.since_us, until, state.severity, 0, None, None, 0)
        found.until_us, found.crossings, found.messages = until, state.crossings, state.messages
        found.severity = max(found.severity, state.severity, key=RANKS.__getitem__)
        found.low = min([each for each in (found.low, state.low) if each is not None], default=None)
        found.high = max([each for each in (found.high, state.high) if each is not None], default=None)
