"""What the alerts page says in words. Pure functions of the API's answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

SEVERITIES = ("critical", "warning", "info")
"""Worst first."""
_WHEN = {"crosses_above": "crosses above", "crosses_below": "crosses below"}
_CHECKS = {
    "store_down": "{store} does not answer for {seconds:g} s",
    "feed_silent": "no tick for {seconds:g} s",
    "bars_late": "no bar became final for {seconds:g} s",
    "dead_letters": "more than {count} refused records in {seconds:g} s",
}


def lasting(anomalies: Sequence[Row]) -> list[Row]:
    """The findings, newest first, that are not over: of each series and rule the newest, if it fires."""
    seen: set[tuple[str, str, str]] = set()
    found = []
    for row in anomalies:
        key = (row["symbol"], row["interval"], row["rule"])
        if key not in seen and row["state"] == "firing":
            found.append(row)
        seen.add(key)
    return found


def sentence(alerts: Sequence[Row], anomalies: Sequence[Row], rules: int | None, symbol: str | None = None) -> str:
    """What fires now: `alerts` those that do, `anomalies` those that last, `rules` how many alert rules there are."""
    of = f" of {symbol}" if symbol else ""
    told = f"{len(alerts):,} {'alert fires' if len(alerts) == 1 else 'alerts fire'}" if alerts else "No alert fires"
    if anomalies:
        lasts = "anomaly lasts" if len(anomalies) == 1 else "anomalies last"
        held = f"{len(anomalies):,} {lasts} in the bars ({severities_text(anomalies)})"
    else:
        held = "nothing unusual lasts in the bars"
    begin = f"{told}, and {held}{of}."
    if rules == 0:
        begin += " There is no alert rule yet, so nobody is told: POST one to /api/v1/alerts/rules, or use"
        begin += " “python -m alerts rules apply FILE”."
    return begin


def severities_text(rows: Sequence[Row]) -> str:
    """`1 critical, 3 warning`; empty for none."""
    counts = Counter(row["severity"] for row in rows)
    return ", ".join(f"{counts[name]:,} {name}" for name in SEVERITIES if counts[name])


def condition_text(rule: Row) -> str:
    """What an alert rule watches.

    >>> condition_text({"interval": "5m", "condition": {"kind": "indicator", "expression": "rsi:14 > 70"}})
    'rsi:14 > 70 on 5m bars'
    """
    condition = rule["condition"]
    if condition["kind"] == "health":
        check = str(condition["check"])
        return _CHECKS.get(check, check).format_map(condition)
    return f"{_watched(condition)} on {rule['interval']} bars"


def _watched(condition: Row) -> str:
    match condition["kind"]:
        case "price":
            return f"{condition['field']} {_WHEN.get(condition['when'], condition['when'])} {condition['level']:g}"
        case "move":
            way = {"up": "a rise", "down": "a fall"}.get(condition["direction"], "a move")
            return f"{way} of {condition['percent']:g} % over {condition['bars']} bars"
        case "anomaly":
            names = ", ".join(condition["rules"]) or "any anomaly"
            return names if condition["least"] == "info" else f"{names} ({condition['least']} or worse)"
    return str(condition.get("expression", condition["kind"]))


def receipts_text(deliveries: Sequence[Row]) -> str:
    """How the messages of an alert fared, by target: `ops 3 sent, desk 1 pending`; a dash for none."""
    counts = Counter((row["target"], row["state"]) for row in deliveries)
    return ", ".join(f"{target} {count} {state.replace('_', ' ')}" for (target, state), count in counts.items()) or "–"


def failure_of(deliveries: Sequence[Row]) -> str:
    """What was wrong with the last message that did not get through; empty where all did."""
    return next((row["detail"] for row in reversed(deliveries) if row["state"] != "sent" and row["detail"]), "")


def figure_text(number: float | None) -> str:
    """A value as people read it.

    >>> figure_text(70.0), figure_text(-5.4321987), figure_text(1234567.0), figure_text(None)
    ('70', '-5.432', '1,234,567', '–')
    """
    if number is None:
        return "–"
    return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:.4g}"
