"""What people read: a title and a few lines of text per notice, and one message of several where they come at once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from alerts.conditions import RANKS
from alerts.rules import EVERY, Rule
from alerts.states import Notice

MAX_LINES = 200
MAX_NAMES = 6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERBS = {
    "firing": "fires",
    "worse": "is worse",
    "reminder": "still fires",
    "resolved": "is resolved",
    "passed": "fired and is over",
    "withdrawn": "is no longer watched",
}


class Message(msgspec.Struct, frozen=True):
    """A title of one line, and a body. `crossings` is how often something began that it tells of."""

    title: str
    body: str
    severity: str
    crossings: int = 0


def message(rule: Rule, symbol: str, notice: Notice) -> Message:
    """A notice in words, with its numbers."""
    who = "system" if symbol == EVERY else symbol
    title = f"[{notice.severity}] {who}: {rule.name} {_VERBS[notice.kind]}"
    lines = [_said(notice), _when(notice), _counted(notice)]
    body = "\n".join([line for line in lines if line] + [f"alert {notice.alert}"])
    return Message(title, body, notice.severity, notice.crossings)


def digest(messages: Sequence[Message]) -> Message:
    """Several messages as one; a single one stays as it is."""
    if len(messages) == 1:
        return messages[0]
    severity = max((each.severity for each in messages), key=RANKS.__getitem__)
    shown = messages[:MAX_LINES]
    rest = messages[MAX_LINES:]
    parts = [f"{each.title}\n{each.body}" for each in shown]
    if rest:
        parts.append(f"and {len(rest)} more, which began {sum(each.crossings for each in rest)} times")
    total = sum(each.crossings for each in messages)
    title = f"[{severity}] {len(messages)} alerts: {_names(messages)}"
    return Message(title, "\n\n".join(parts), severity, total)


def fitted(body: str, most: int) -> str:
    """A body that a target has room for: whole lines, and what is missing is said."""
    if len(body) <= most:
        return body
    note = "\n… cut; the rest: GET /api/v1/alerts"
    kept = body[: max(0, most - len(note))]
    return (kept.rpartition("\n")[0] or kept) + note


def _names(messages: Sequence[Message]) -> str:
    """What they are about, as far as a title has room."""
    names = list(dict.fromkeys(each.title.partition("] ")[2].partition(": ")[0] for each in messages))
    return ", ".join(names[:MAX_NAMES]) + (" …" if len(names) > MAX_NAMES else "")


def _said(notice: Notice) -> str:
    compared = "" if notice.value is None else f": {number(notice.value)}"
    against = "" if notice.threshold is None else f" (threshold {number(notice.threshold)})"
    return f"{notice.text}{compared}{against}"


def _when(notice: Notice) -> str:
    if notice.kind in ("resolved", "passed"):
        return f"from {moment(notice.since_us)} to {moment(notice.end_us)}"
    return f"since {moment(notice.since_us)}, seen at {moment(notice.end_us)}"


def _counted(notice: Notice) -> str:
    """How often, and between which values, since the last message."""
    once = notice.total <= 1
    times = "" if once else f"began {notice.crossings} times since the last message, {notice.total} in all"
    if notice.crossings > 1:
        times += f", the first at {moment(notice.first_us)}"
    moved = notice.low is not None and notice.high is not None and notice.low < notice.high
    between = f"between {number(notice.low)} and {number(notice.high)}" if moved else ""
    return "; ".join(part for part in (times, between) if part)


def number(value: float | None) -> str:
    """With up to eight decimals, and an exponent only where these would show nothing."""
    if value is None:
        return "-"
    if value and abs(value) < 1e-7:
        return f"{value:.4g}"
    return f"{value:.8f}".rstrip("0").rstrip(".")


def moment(us: int) -> str:
    """Epoch microseconds in UTC, to the second."""
    return (_EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%d %H:%M:%S UTC")
