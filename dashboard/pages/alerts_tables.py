"""The tables of the alerts page: alerts with their receipts, anomalies, and the rules of both."""

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboard.pages.alerts_words import condition_text, failure_of, figure_text, receipts_text
from dashboard.pages.quality_words import time_text
from dashboard.parts import chart_link, table

Row = Mapping[str, Any]


def alerts_table(rows: Sequence[Row]) -> Component:
    """Alerts, newest first."""
    if not rows:
        return html.P("There was no alert.", className="muted")
    titles = ("Severity", "State", "Rule", "Symbol", "Since (UTC)", "Until (UTC)", "Value", "Crossings", "Messages", "")
    return table(titles, [_alert(row) for row in rows], ("Rule", "Messages"))


def anomalies_table(rows: Sequence[Row]) -> Component:
    """Findings, newest bar first."""
    if not rows:
        return html.P("No rule found anything.", className="muted")
    titles = ("Bar (UTC)", "Symbol", "Severity", "State", "Rule", "What was found")
    return table(titles, [_anomaly(row) for row in rows], ("What was found",))


def alert_rules_table(rows: Sequence[Row]) -> Component:
    """Alert rules, by name."""
    if not rows:
        return html.P("There is no alert rule.", className="muted")
    titles = ("Rule", "Symbols", "Fires on", "Severity", "Told", "At most every", "")
    return table(titles, [_alert_rule(row["rule"]) for row in rows], ("Symbols", "Fires on"))


def anomaly_rules_table(rows: Sequence[Row]) -> Component:
    """The rules that look for anomalies, with their thresholds as they are set."""
    titles = ("Rule", "Fires when", "Info", "Warning", "Critical", "Over at", "Bars", "Setting")
    return table(titles, [_anomaly_rule(row) for row in rows], ("Fires when",))


def severity_badge(severity: str) -> Component:
    """The word, in the colour that goes with it."""
    return html.Span(severity, className=f"alerts-severity alerts-{severity}")


def _alert(row: Row) -> list[Any]:
    limit = "" if row["threshold"] is None else f" (limit {figure_text(row['threshold'])})"
    failure = failure_of(row["deliveries"])
    told: list[Any] = [receipts_text(row["deliveries"])]
    if failure:
        told.append(html.Div(failure, className="alerts-failure"))
    taken = row["acknowledged_at"]
    return [
        severity_badge(row["severity"]),
        _state(row["state"]),
        html.Span(row["rule"], title=row["text"]),
        _symbol(row),
        time_text(row["since"]),
        time_text(row["until"]),
        figure_text(row["value"]) + limit,
        f"{row['crossings']:,}",
        html.Div(told),
        f"taken by {row['acknowledged_by']}" if taken else "",
    ]


def _anomaly(row: Row) -> list[Any]:
    return [
        f"{row['interval']} {time_text(row['start'])[:16]}",
        chart_link(row["symbol"], row["interval"]),
        severity_badge(row["severity"]),
        _state(row["state"]),
        row["rule"],
        row["text"],
    ]


def _alert_rule(rule: Row) -> list[Any]:
    symbols = "all" if rule["symbols"] == "*" else ", ".join(rule["symbols"])
    return [
        rule["name"],
        symbols,
        condition_text(rule),
        severity_badge(rule["severity"]),
        ", ".join(rule["targets"]) or "every target that takes the severity",
        f"{rule['cooldown_seconds']:,} s",
        "" if rule["enabled"] else "switched off",
    ]


def _anomaly_rule(row: Row) -> list[Any]:
    figures = [figure_text(row[name]) for name in ("threshold", "warning", "critical", "release")]
    return [row["rule"], row["means"], *figures, ", ".join(row["intervals"]), html.Code(row["setting"])]


def _state(state: str) -> Component:
    return html.Span(state, className=f"alerts-state-{state}")


def _symbol(row: Row) -> Any:
    return "the system" if row["symbol"] == "*" else chart_link(row["symbol"], row["interval"] or "1m")
