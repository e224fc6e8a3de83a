"""One bar recomputed from the log, beside what is stored of it, and what is said where the log is short."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from api.render import Numeric, amount_text, bar_json, row_json, time_text
from core import rulesets
from core.canonical import BAR_VALUES, bar_line, bar_values, digest, tick_line
from core.corrections import Placed
from core.errors import ConfigError
from core.explaining import Explained, Role, Span, explain
from core.rulesets import Ruleset
from core.version import VERSION, definition_hash

Row = Mapping[str, Any]
_TICK = ("event_us", "seq", "price", "size", "trade_id", "source", "venue", "conditions", "kind", "reported_us")
_BAR_LEFT_OUT = frozenset({"rev", "state", "reason", "processed_us"})
_NOTES = {
    "gone": "the tick log holds nothing of that time: ticks are kept for {days} days, and bars of a provider have none",
    "partial": "the tick log holds fewer trades than the bar was made of: ticks are kept for {days} days",
    "behind": "the tick log does not have the newest trades of the bar yet",
}
_WORDS = {"duplicate": "a copy of a record that came before", "cancelled": "cancelled"}


def rules_of(stored: Row, configured: str) -> Ruleset:
    """The rules that the bar names, where this code has that version of them; else the configured ones."""
    try:
        found = rulesets.load(str(stored["ruleset"]).partition("@")[0])
    except ConfigError:
        found = None
    return found if found is not None and found.id == stored["ruleset"] else rulesets.load(configured)


def explained(log: Sequence[Placed], stored: Row, ruleset: Ruleset) -> Explained:
    """The bar of the stored one's stretch of time. Some 30 us a record: not for the event loop."""
    span = Span(stored["interval"], stored["end"] - stored["start"], stored["start"])
    return explain(log, span, ruleset)


def log_state(found: Explained, stored: Row, begins_us: int | None) -> str:
    """Whether the log has what the bar was made of, in one word of `LogState`."""
    trades = [role.record for role in found.roles if role.record[0].kind == "trade" and role.part != "duplicate"]
    if not trades and (stored["trade_count"] or begins_us is None or begins_us > stored["start"]):
        return "behind" if begins_us is not None and begins_us < stored["start"] else "gone"
    offsets = [offset for _, _, offset in trades if offset is not None]
    if stored["last_offset"] is not None and offsets and max(offsets) < stored["last_offset"]:
        return "behind"
    if stored["first_offset"] is not None and offsets and min(offsets) > stored["first_offset"]:
        return "partial"
    return "partial" if len(trades) < stored["trade_count"] else "complete"


def answer(
    symbol: str, revisions: Sequence[Row], found: Explained, state: str, ruleset: Ruleset, days: int, numeric: Numeric
) -> dict[str, Any]:
    """All of an answer but its page of ticks."""
    stored, whole = revisions[-1], state == "complete"
    shown = [bar_json(row, numeric) | {"known_at": time_text(row["known_at"])} for row in revisions]
    made = None if found.bar is None else msgspec.structs.asdict(found.bar)
    made = _empty(stored, ruleset) if made is None and whole else made
    made = None if made is None or not whole else {**made, "interval": stored["interval"]}
    difference = None if made is None else _difference(stored, made, numeric)
    return {
        "symbol": symbol,
        "interval": stored["interval"],
        "start": time_text(stored["start"]),
        "end": time_text(stored["end"]),
        "numeric": numeric,
        "equal": None if difference is None else not difference,
        "difference": difference,
        "log_complete": whole,
        "log": state,
        "log_note": None if whole else _NOTES[state].format(days=days),
        "ruleset": ruleset.id,
        "code": {"version": VERSION, "definition": definition_hash()},
        "hashes": {
            "ticks": digest(tick_line(tick) for tick, _, _ in found.trades) if whole else None,
            "stored": digest([bar_line({**stored, "symbol": symbol})]),
            "recomputed": None if made is None else digest([bar_line(made)]),
        },
        "stored": shown[-1],
        "revisions": shown,
        "recomputed": None if made is None else row_json(_without(made), numeric),
        "offsets": _offsets(found.trades),
        "outcomes": dict(Counter(role.part for role in found.roles)),
    }


def tick_json(role: Role, ruleset: Ruleset, numeric: Numeric) -> dict[str, Any]:
    """A record of the log as an API object."""
    tick, partition, offset = role.record
    row = {name: getattr(tick, name) for name in _TICK} | {"received_us": tick.received_us}
    counted = role.counted if role.part == "counted" else None
    return row_json(row, numeric) | {
        "kafka_partition": partition,
        "kafka_offset": offset,
        "outcome": role.part,
        "may_touch": list(role.may),
        "made": list(role.made),
        "because": _because(role, ruleset),
        "by": _reference(role.by),
        "corrected_by": _reference(role.corrected_by),
        "counted_price": _amount(counted.price if counted else None, numeric),
        "counted_size": _amount(counted.size if counted else None, numeric),
    }


def _because(role: Role, ruleset: Ruleset) -> str | None:
    if role.part == "excluded" and role.counted is not None:
        return "; ".join(ruleset.reasons(role.counted.conditions, role.counted.event_us))
    return _WORDS.get(role.part)


def _difference(stored: Row, made: Row, numeric: Numeric) -> dict[str, Any]:
    held, new = bar_values({**stored, "symbol": made["symbol"]}), bar_values(made)
    names = [name for name in BAR_VALUES if held[name] != new[name]]
    shown = row_json({name: stored[name] for name in names}, numeric)
    other = row_json({name: made[name] for name in names}, numeric)
    return {name: {"stored": shown[name], "recomputed": other[name]} for name in shown}


def _empty(stored: Row, ruleset: Ruleset) -> dict[str, Any]:
    """What is left where no trade is: reconciling makes the same of it."""
    nothing = dict.fromkeys(name for name in stored if name not in ("symbol", "interval", "start", "end"))
    zero = {name: stored[name] * 0 for name in ("volume", "notional")}
    return {**stored, **nothing, **zero, "trade_count": 0, "ruleset": ruleset.id}


def _without(bar: Row) -> dict[str, Any]:
    return {name: value for name, value in bar.items() if name not in _BAR_LEFT_OUT and name != "known_at"}


def _offsets(trades: Sequence[Placed]) -> list[dict[str, Any]]:
    partitions = sorted({partition for _, partition, _ in trades}, key=lambda number: (number is None, number))
    found = []
    for number in partitions:
        own = [offset for _, partition, offset in trades if partition == number]
        known = [offset for offset in own if offset is not None]
        edges = {"first_offset": min(known, default=None), "last_offset": max(known, default=None)}
        found.append({"kafka_partition": number, **edges, "records": len(own)})
    return found


def _reference(placed: Placed | None) -> dict[str, Any] | None:
    if placed is None:
        return None
    tick, partition, offset = placed
    times = {"event_at": time_text(tick.event_us), "received_at": time_text(tick.received_us)}
    return {"kafka_partition": partition, "kafka_offset": offset, **times}


def _amount(text: str | None, numeric: Numeric) -> str | float | None:
    return None if text is None else float(text) if numeric == "float" else amount_text(text)
