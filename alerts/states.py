"""The state of one rule for one symbol: when it fires and resolves, and when somebody is told. Pure functions.

Two clocks come in from outside: bars have their own times, and `now_us` is when a decision is made (on history, the end
of the bar). Cooldowns and pauses are of the second, for they are about the people who are told.

What is not told at once is counted, never dropped: the next message says how often the condition began to hold since
the last one, and between which values it moved. An alert lives from the first firing until the condition has been over
for a while (`calm_us`); all that flaps in between belongs to it. After its first firing, each further change of state
is told only once the pause of the escalation schedule is over, or the new state has lasted for `calm_us`; so a
condition that flaps gives messages further and further apart, and one that has settled is told soon.
"""

import uuid
from dataclasses import dataclass
from typing import Literal

import msgspec

Phase = Literal["ok", "firing"]
Kind = Literal["firing", "worse", "reminder", "resolved", "passed", "withdrawn"]
"""`worse`: the severity rose; `passed`: it fired and was over before anybody could be told."""
_RANKS = {"": -1, "info": 0, "warning": 1, "critical": 2}
_NAMES = uuid.UUID("6f0d5a0e-6f0b-4a0c-9a0e-2d8a7f5d1c11")
replace = msgspec.structs.replace


@dataclass(frozen=True, slots=True)
class Policy:
    """How a rule fires and tells; times in microseconds."""

    for_bars: int = 1
    resolve_bars: int = 1
    cooldown_us: int = 300_000_000
    escalation_us: tuple[int, ...] = (300_000_000, 900_000_000, 3_600_000_000, 14_400_000_000)
    calm_us: int = 300_000_000
    notify_resolved: bool = True

    def pause(self, messages: int) -> int:
        """The least time after so many messages of an alert."""
        if not self.escalation_us:
            return self.cooldown_us
        return max(self.cooldown_us, self.escalation_us[min(max(messages, 1), len(self.escalation_us)) - 1])


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a bar says of the condition: it begins at `start_us` and ends at `end_us`. `again`: it was amended.

    `value` and `threshold` are what was compared, None where there are no numbers; `open` of anomalies only: what is
    firing, with its severity.
    """

    holds: bool
    start_us: int
    end_us: int
    severity: str
    text: str = ""
    value: float | None = None
    threshold: float | None = None
    side: int = 0
    open: dict[str, str] = msgspec.field(default_factory=dict)
    again: bool = False


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered. `told` is the phase that the last message left people with.

    `streak`: bars in a row that speak against the phase. `changed_us`, `told_us`: when the phase last changed and when
    the last message was decided. `messages`, `crossings`: of this alert; `untold`, `low`, `high`: since the last
    message. `alert` is empty between alerts.
    """

    phase: Phase = "ok"
    told: Phase = "ok"
    streak: int = 0
    changed_us: int = 0
    told_us: int = 0
    messages: int = 0
    crossings: int = 0
    untold: int = 0
    alert: str = ""
    severity: str = ""
    told_severity: str = ""
    since_us: int = 0
    first_us: int = 0
    end_us: int = 0
    value: float | None = None
    threshold: float | None = None
    low: float | None = None
    high: float | None = None
    text: str = ""
    side: int = 0
    open: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether time alone changes nothing."""
        return self.phase == "ok" and not self.alert


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be told. `crossings` began since the last message, `total` in the whole alert.

    `low` and `high`: of the value while it held since the last message. `since_us`: start of the bar where it last
    began to hold; `first_us`: the first of those that nobody was told of.
    """

    id: str
    alert: str
    kind: Kind
    severity: str
    crossings: int
    total: int
    since_us: int
    first_us: int
    end_us: int
    value: float | None
    threshold: float | None
    low: float | None
    high: float | None
    text: str


def observe(state: State, seen: Seen, policy: Policy, now_us: int, key: str) -> State:
    """The state after one more bar; `key` names the rule and the symbol."""
    if state.side != seen.side or state.open != seen.open:
        state = replace(state, side=seen.side, open=seen.open)
    firing = state.phase == "firing"
    if seen.holds == firing:
        state = state if state.streak == 0 else replace(state, streak=0)
        return _gone_on(state, seen) if firing else state
    streak = max(1, state.streak + (0 if seen.again else 1))
    if streak < (policy.resolve_bars if firing else policy.for_bars):
        return replace(state, streak=streak)
    return _ceased(state, seen, policy, now_us) if firing else _fired(state, seen, now_us, key)


def decide(
    state: State, policy: Policy, now_us: int, *, quiet: bool = False, acknowledged: bool = False
) -> tuple[State, Notice | None]:
    """What is to be told now, if anything, and the state after that. `quiet`: only critical alerts may speak."""
    kind = _news(state, policy, acknowledged)
    if kind is None:
        return _settled(state, policy, now_us), None
    if quiet and state.severity != "critical":
        return state, None
    if state.told_us and now_us - state.told_us < _wait(state, kind, policy, now_us):
        return state, None
    notice = _notice(state, kind, now_us)
    return _after(state, now_us), notice


def withdraw(state: State, now_us: int) -> Notice | None:
    """The last word on a rule that is gone or watches something else now: None where nobody waits for one."""
    waiting = state.told == "firing" or state.untold
    return _notice(state, "withdrawn", now_us) if waiting else None


def _news(state: State, policy: Policy, acknowledged: bool) -> Kind | None:
    if state.phase == "firing":
        if state.told == "ok":
            return "firing"
        if _RANKS[state.severity] > _RANKS[state.told_severity]:
            return "worse"
        reminds = policy.escalation_us and not acknowledged
        return "reminder" if reminds or (state.untold and not acknowledged) else None
    if state.told == "firing":
        return "resolved"
    return "passed" if state.untold else None


def _wait(state: State, kind: Kind, policy: Policy, now_us: int) -> int:
    """The least time since the last message."""
    if kind == "worse":
        return 0
    if kind == "reminder":
        return policy.pause(state.messages)
    lasting = now_us - state.changed_us >= policy.calm_us
    return policy.cooldown_us if lasting or state.crossings <= 1 else policy.pause(state.messages)


def _fired(state: State, seen: Seen, now_us: int, key: str) -> State:
    if not state.alert:
        name = str(uuid.uuid5(_NAMES, f"{key}|{seen.start_us}|{now_us}"))
        state = replace(state, alert=name, crossings=0, untold=0, messages=0, severity="", told_severity="")
    begun = replace(
        state,
        phase="firing",
        streak=0,
        changed_us=now_us,
        crossings=state.crossings + 1,
        untold=state.untold + 1,
        since_us=seen.start_us,
        first_us=state.first_us if state.untold else seen.start_us,
    )
    return _gone_on(begun, seen)


def _gone_on(state: State, seen: Seen) -> State:
    """It holds still: the newest value, the extremes, the greater severity."""
    low = [each for each in (state.low, seen.value) if each is not None]
    severity = max(state.severity, seen.severity, key=_RANKS.__getitem__)
    return replace(
        state,
        end_us=seen.end_us,
        value=seen.value,
        threshold=seen.threshold,
        text=seen.text,
        severity=severity,
        low=min(low, default=None),
        high=max([each for each in (state.high, seen.value) if each is not None], default=None),
    )


def _ceased(state: State, seen: Seen, policy: Policy, now_us: int) -> State:
    return replace(
        state,
        phase="ok",
        told=state.told if policy.notify_resolved else "ok",
        streak=0,
        changed_us=now_us,
        end_us=seen.end_us,
        value=seen.value,
        threshold=seen.threshold,
        text=seen.text,
    )


def _notice(state: State, kind: Kind, now_us: int) -> Notice:
    return Notice(
        id=str(uuid.uuid5(_NAMES, f"{state.alert}|{state.messages}|{now_us}|{kind}")),
        alert=state.alert,
        kind=kind,
        severity=state.severity,
        crossings=state.untold,
        total=state.crossings,
        since_us=state.since_us,
        first_us=state.first_us if state.untold else state.since_us,
        end_us=state.end_us,
        value=state.value,
        threshold=state.threshold,
        low=state.low,
        high=state.high,
        text=state.text,
    )


def _after(state: State, now_us: int) -> State:
    """The state once a message was decided."""
    return replace(
        state,
        told=state.phase,
        told_us=now_us,
        told_severity=state.severity,
        messages=state.messages + 1,
        untold=0,
        low=state.value if state.phase == "firing" else None,
        high=state.value if state.phase == "firing" else None,
    )


def _settled(state: State, policy: Policy, now_us: int) -> State:
    """Where there is nothing to be told and the condition has been over for long enough, the alert is over."""
    if state.idle or state.phase == "firing" or now_us - state.changed_us < policy.calm_us:
        return state
    return replace(
        state, alert="", messages=0, crossings=0, severity="", told_severity="", low=None, high=None, text=""
    )
