"""One bar taken apart: what each record of the tick log had to do with it, by the rules that made it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from core.bars import BAR_RULES, fold_bars, identity
from core.corrections import Placed, age, corrected
from core.intervals import Interval
from core.records import Bar, Tick, order_key, to_scaled
from core.rulesets import Ruleset

Part = Literal["counted", "excluded", "duplicate", "cancelled", "correction", "cancel"]
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Span(Interval):
    """One bar's own stretch of time, wherever it begins: a session is not aligned to the epoch."""

    start_us: int

    def start_of(self, event_us: int) -> int:  # noqa: ARG002
        return self.start_us


@dataclass(frozen=True, slots=True)
class Role:
    """What one record was in a bar.

    `may` are the groups of fields that the ruleset lets it touch, `made` the fields that this very trade gave the bar.
    `by` is the record that took it away: the first copy of the trade, or its cancel. `corrected_by` is the correction
    that holds, `counted` the trade as it counts then.
    """

    record: Placed
    part: Part
    may: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    by: Placed | None = None
    corrected_by: Placed | None = None
    counted: Tick | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """The bar that the log gives, None without a trade that counts; what each record was; the trades left, by time."""

    bar: Bar | None
    roles: list[Role]
    trades: list[Placed]


def explain(log: Iterable[Placed], span: Span, ruleset: Ruleset) -> Explained:
    """One bar of one symbol, from the records around it and all corrections and cancels of its trades.

    Of several records of one trade the one with the lowest offset counts, as in a backfill.
    """
    ordered = sorted(log, key=_arrival)
    first: dict[tuple[object, ...], Placed] = {}
    for placed in ordered:
        if placed[0].kind == "trade":
            first.setdefault(identity(placed[0]), placed)
    told = _Told(ordered)
    left = {identity(placed[0]): placed for placed in corrected(ordered)}
    inside = [placed for placed in left.values() if span.start_us <= placed[0].event_us < span.start_us + span.us]
    bars = fold_bars(inside, (span,), ruleset)
    makers = _makers(inside, span, ruleset)
    roles = [
        _role(placed, first, left, told, makers, ruleset)
        for placed in ordered
        if placed[0].kind != "trade" or span.start_us <= placed[0].event_us < span.start_us + span.us
    ]
    known = {identity(role.record[0]) for role in roles if role.record[0].kind == "trade"}
    roles = [role for role in roles if identity(role.record[0]) in known]
    roles.sort(key=lambda role: (role.record[0].kind != "trade", role.record[0].event_us, role.record[0].seq))
    inside.sort(key=lambda placed: (placed[0].event_us, placed[0].seq))
    return Explained(bars[0] if bars else None, roles, inside)


class _Told:
    """The cancel and the last correction of each trade."""

    def __init__(self, log: Sequence[Placed]) -> None:
        self.cancels: dict[tuple[object, ...], Placed] = {}
        self.corrections: dict[tuple[object, ...], Placed] = {}
        for placed in log:
            named = identity(placed[0])
            if placed[0].kind == "cancel":
                self.cancels.setdefault(named, placed)
            elif placed[0].kind == "correct":
                held = self.corrections.get(named)
                if held is None or age(placed) > age(held):
                    self.corrections[named] = placed


def _role(
    placed: Placed,
    first: dict[tuple[object, ...], Placed],
    left: dict[tuple[object, ...], Placed],
    told: _Told,
    makers: dict[tuple[object, ...], list[str]],
    ruleset: Ruleset,
) -> Role:
    tick, named = placed[0], identity(placed[0])
    if tick.kind != "trade":
        return Role(placed, "cancel" if tick.kind == "cancel" else "correction")
    if first[named] is not placed:
        return Role(placed, "duplicate", by=first[named])
    if named not in left:
        return Role(placed, "cancelled", by=told.cancels.get(named))
    counted = left[named][0]
    may = tuple(sorted(ruleset.touches(counted.conditions, counted.event_us)))
    correction = told.corrections.get(named)
    part: Part = "counted" if may else "excluded"
    return Role(placed, part, may, tuple(makers.get(named, ())), None, correction, counted)


def _makers(trades: Sequence[Placed], span: Span, ruleset: Ruleset) -> dict[tuple[object, ...], list[str]]:
    """Identity -> the fields that this trade gave the bar: prices it decided, `volume` where it added to it."""
    found: dict[tuple[object, ...], list[str]] = {}
    touches = {identity(tick): ruleset.touches(tick.conditions, tick.event_us) for tick, _, _ in trades}
    for name in PRICES:
        rule = BAR_RULES[name]
        able = [tick for tick, _, _ in trades if rule.touching in touches[identity(tick)]]
        if able:
            found.setdefault(identity(_extreme(able, rule.how, span)), []).append(name)
    for named, may in touches.items():
        if BAR_RULES["volume"].touching in may:
            found.setdefault(named, []).append("volume")
    return found


def _extreme(ticks: Sequence[Tick], how: str, span: Span) -> Tick:
    """The trade that a rule takes its value from; of equal prices the earliest."""

    def key(tick: Tick) -> int:
        return order_key(tick.event_us, tick.seq, span.start_us)

    if how in ("first", "last"):
        return min(ticks, key=key) if how == "first" else max(ticks, key=key)
    if how == "max":
        return max(ticks, key=lambda tick: (to_scaled(tick.price or "0"), -key(tick)))
    return min(ticks, key=lambda tick: (to_scaled(tick.price or "0"), key(tick)))


def _arrival(placed: Placed) -> tuple[bool, int, int, int, int]:
    tick, _, offset = placed
    return offset is None, offset or 0, tick.event_us, tick.seq, tick.received_us
