"""Bars held against the tick log in SQL: everything about a bar that does not depend on the order of its trades.

Compiled from `core.bars.BAR_RULES` and the ruleset, as a sieve: a bar that passes equals its recomputation, unless two
copies of a trade bear different times; one that does not pass is recomputed by `jobs.bars` and may prove right.
"""

from core.bars import BAR_RULES, Rule
from core.rulesets import Exclusion, Ruleset

_QUANTITIES = {
    "price": "t.price",
    "size": "t.size",
    "notional": "t.price * t.size",
    "event_us": "t.event_time",
    "kafka_partition": "t.kafka_partition",
    "kafka_offset": "t.kafka_offset",
    "received_us": "t.received_us",
}
_READABLE = "conditions ~ '^[0-9a-fA-F]{1,15}$'"
_MASK = f"CASE WHEN {_READABLE} THEN ('x' || lpad(conditions, 16, '0'))::bit(64)::bigint ELSE 0 END"
AMENDED = """EXISTS (SELECT FROM ticks AS a WHERE a.symbol = t.symbol AND a.trade_id = t.trade_id
                     AND a.kind IN ('correct', 'cancel') AND a.venue IS NOT DISTINCT FROM t.venue)"""


def log_of(ruleset: Ruleset) -> str:
    """A query of one row: what the log says of the bar `d` (symbol, start, end, amending) in the columns checked.

    Beside them `trades` and `newest`, how many trades it has there and their greatest offset, and `named`, how many of
    them a correction or cancel names.
    """
    columns = ", ".join(f"{_aggregate(rule)} AS {name}" for name, rule in _checked().items())
    fields = sorted({rule.touching for rule in _checked().values()})
    touching = ", ".join(f"{_touches(field, ruleset)} AS touches_{field}" for field in fields)
    # OFFSET 0 keeps the planner from writing the mask's expression into every place where the mask is used: with the
    # rules of us-equity that was 140 times a trade.
    return f"""
        SELECT count(*) AS trades, max(t.kafka_offset) AS newest, count(*) FILTER (WHERE t.named) AS named, {columns}
        FROM (SELECT *, {touching} FROM (
                SELECT *, {_MASK} AS mask, {_regular(ruleset)} AS regular, d.amending AND {AMENDED} AS named
                FROM ticks AS t WHERE symbol = d.symbol AND event_time >= d."start" AND event_time < d."end"
                                  AND kind = 'trade' OFFSET 0) AS t OFFSET 0) AS t
    """


def agrees(log: str, bar: str) -> str:
    """The condition that every column of `log` equals the bar's."""
    return " AND ".join(f"{_as_stored(name, log)} IS NOT DISTINCT FROM {bar}.{name}" for name in _checked())


def _checked() -> dict[str, Rule]:
    return {name: rule for name, rule in BAR_RULES.items() if rule.how not in ("first", "last")}


def _aggregate(rule: Rule) -> str:
    counted = "*" if rule.how == "count" else _QUANTITIES[rule.of]
    found = f"{rule.how}({counted}) FILTER (WHERE touches_{rule.touching})"
    return f"coalesce({found}, 0)" if rule.how == "sum" else found


def _as_stored(name: str, log: str) -> str:
    if BAR_RULES[name].of == "event_us":
        return f"(extract(epoch FROM {log}.{name}) * 1000000)::bigint"
    return f"{log}.{name}"


def _touches(field: str, ruleset: Ruleset) -> str:
    """Whether trade `t` may touch a field: `core.rulesets.Ruleset.touches` in SQL."""
    if not ruleset.rules:
        return "true"
    if field == "any":
        return "(" + " OR ".join(_touches(each, ruleset) for each in ("open_close", "high_low", "volume")) + ")"
    excluding = [_applies(rule) for rule in ruleset.rules if field in rule.fields]
    return f"NOT ({' OR '.join(excluding)})" if excluding else "true"


def _applies(rule: Exclusion) -> str:
    parts = ["true"]
    if rule.any:
        parts.append(f"t.mask & {rule.any} <> 0")
    if rule.all:
        parts.append(f"t.mask & {rule.all} = {rule.all}")
    if rule.none:
        parts.append(f"t.mask & {rule.none} = 0")
    if rule.session is not None:
        parts.append("t.regular" if rule.session == "regular" else "NOT t.regular")
    return f"({' AND '.join(parts)})"


def _regular(ruleset: Ruleset) -> str:
    session = ruleset.session
    if session is None:
        return "true"
    local = f"(event_time AT TIME ZONE '{session.time_zone}')"
    close = f"time '{_clock(session.close_minute)}'"
    if session.early_days:
        days = ", ".join(f"'{day.isoformat()}'" for day in sorted(session.early_days))
        close = f"CASE WHEN {local}::date IN ({days}) THEN time '{_clock(session.early_minute)}' ELSE {close} END"
    return f"{local}::time >= time '{_clock(session.open_minute)}' AND {local}::time < {close}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
