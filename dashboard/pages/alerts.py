"""The page `alerts`: what fires, who was told of it, what is unusual in the bars, and the rules behind both.

The server follows what is newest for all browsers; where that changes, `assets/alerts.js` lets the page ask again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dash import Dash, dcc, html
from dash.development.base_component import Component

from dashboard.client import ApiClient, ApiRefused
from dashboard.figures.anomalies import timeline_figure
from dashboard.pages.alerts_tables import alert_rules_table, alerts_table, anomalies_table, anomaly_rules_table
from dashboard.pages.alerts_words import lasting, sentence, severities_text
from dashboard.parts import (
    EVERY,
    card,
    graph,
    head,
    newest_only,
    register_fill,
    register_symbols,
    section,
    symbol_choice,
)
from dashboard.theme import theme_of

Row = Mapping[str, Any]

HOURS = 24
MOST_ALERTS = 50
MOST_ANOMALIES = 2_000
SHOWN_ANOMALIES = 50
NEWS_ALERTS = 20
ALERTS, ANOMALIES = "/api/v1/alerts", "/api/v1/anomalies"
OPEN = ("pending", "sending")
PARTS = (
    ("sentence", "children"),
    ("cards", "children"),
    ("alerts", "children"),
    ("timeline", "figure"),
    ("anomalies", "children"),
    ("alert-rules", "children"),
    ("anomaly-rules", "children"),
)
EXPLAINED = {
    "alerts": (
        "What rules of users found, newest first. A crossing is a moment in which the condition began to hold: what"
        " comes within the cooldown is counted, not sent again, and the next message says how often it was. Messages"
        " are counted by target; hover over the rule for what it said."
    ),
    "timeline": (
        "Each mark is a bar with which a rule began to fire, or grew more severe: the size says how severe. Hover for"
        " what was found. The last 24 hours, in UTC; symbols with most findings on top."
    ),
    "anomalies": (
        "Findings of the rules over final bars, newest first. A rule fires once when its threshold is passed and is"
        " resolved when the value has come back."
    ),
    "alert-rules": "Made and changed over the API (`/api/v1/alerts/rules`) or with `python -m alerts rules`.",
    "anomaly-rules": (
        "What is looked for in every final bar. Severities are those of the value; `over at` is where a rule that fires"
        " is resolved. Thresholds are settings."
    ),
}
CARDS = {
    "firing": ("Alerts firing", "Alerts whose condition holds, by severity"),
    "lasting": ("Anomalies that last", "Rules of anomalies that fire and are not resolved, by severity"),
    "found": ("Found in 24 hours", "How often a rule of anomalies began to fire, or grew more severe"),
    "messages": ("Messages waiting", "Messages that did not get through yet; they are tried again"),
}


@dataclass(frozen=True)
class Found:
    """What the API says; of one symbol where one is chosen. `firing` has all alerts that fire."""

    first: str
    last: str
    alerts: Row
    firing: Sequence[Row]
    anomalies: Row
    alert_rules: Sequence[Row]
    anomaly_rules: Sequence[Row]


def layout(query: dict[str, str]) -> Component:
    """The page without figures."""
    return html.Div(
        [
            head("Alerts and anomalies", symbol_choice("alerts-symbol", query.get("symbol") or EVERY)),
            html.P("Asking the API …", id="alerts-sentence", className="part-sentence", role="status"),
            html.Div(id="alerts-cards", className="part-cards"),
            _section("alerts", "Alerts", html.Div(id="alerts-alerts")),
            _section("timeline", "When and where", graph("alerts-timeline")),
            _section("anomalies", "Anomalies", html.Div(id="alerts-anomalies")),
            _section("alert-rules", "Rules of alerts", html.Div(id="alerts-alert-rules")),
            _section("anomaly-rules", "Rules of anomalies", html.Div(id="alerts-anomaly-rules")),
            dcc.Store(id="alerts-news"),
        ],
        id="alerts-page",
    )


def register(app: Dash, client: ApiClient) -> None:
    """The callbacks: everything anew, and the list of symbols."""

    async def filled(symbol: str | None, theme: str | None) -> tuple[Any, ...]:
        return shown(await read(client, symbol, datetime.now(UTC)), symbol, theme)

    register_fill(app, "alerts", PARTS, filled)
    register_symbols(app, client, "alerts-symbol")


async def read(client: ApiClient, symbol: str | None, now: datetime) -> Found:
    """Everything that the page shows, of all symbols or of one. Raises ApiDown, ApiRefused."""
    first, last = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (now - timedelta(hours=HOURS), now))
    alerts, firing, anomalies, alert_rules, anomaly_rules = await asyncio.gather(
        client.get(ALERTS, symbol=symbol, limit=MOST_ALERTS),
        client.get(ALERTS, symbol=symbol, state="firing", limit=MOST_ALERTS),
        client.get(ANOMALIES, symbol=symbol, start=first, limit=MOST_ANOMALIES),
        client.get(f"{ALERTS}/rules"),
        client.get(f"{ANOMALIES}/rules"),
    )
    return Found(first, last, alerts, firing["alerts"], anomalies, alert_rules["rules"], anomaly_rules["rules"])


def shown(found: Found, symbol: str | None, theme: str | None) -> tuple[Any, ...]:
    """The values of PARTS."""
    rows = found.anomalies["anomalies"]
    return (
        sentence(found.firing, lasting(rows), len(found.alert_rules), symbol),
        cards(found),
        [alerts_table(found.alerts["alerts"]), newest_only(found.alerts["truncated"], MOST_ALERTS)],
        timeline_figure(rows, found.first, found.last, theme_of(theme)),
        [anomalies_table(rows[:SHOWN_ANOMALIES]), newest_only(len(rows) > SHOWN_ANOMALIES, SHOWN_ANOMALIES)],
        alert_rules_table(found.alert_rules),
        anomaly_rules_table(found.anomaly_rules),
    )


def cards(found: Found) -> list[Component]:
    """The figures of now."""
    rows = found.anomalies["anomalies"]
    held, begun = lasting(rows), [row for row in rows if row["state"] == "firing"]
    more = "+" if found.anomalies["truncated"] else ""
    waiting = sum(each["state"] in OPEN for row in found.alerts["alerts"] for each in row["deliveries"])
    return [
        _card("firing", f"{len(found.firing):,}", severities_text(found.firing)),
        _card("lasting", f"{len(held):,}", severities_text(held)),
        _card("found", f"{len(begun):,}{more}", severities_text(begun)),
        _card("messages", f"{waiting:,}"),
    ]


async def newest_alerts(client: ApiClient, _: Mapping[str, str]) -> Any:
    """What changes whenever something about alerts did; None where this caller may not see them."""
    try:
        found = await client.get(ALERTS, limit=NEWS_ALERTS)
    except ApiRefused:
        return None
    return [[row["id"], row["updated_at"], len(row["deliveries"])] for row in found["alerts"]]


async def newest_anomalies(client: ApiClient, _: Mapping[str, str]) -> Any:
    """What changes whenever a finding is added."""
    found = await client.get(ANOMALIES, limit=NEWS_ALERTS)
    return [[row["symbol"], row["interval"], row["start"], row["rule"], row["rev"]] for row in found["anomalies"]]


def _card(name: str, value: str, more: str = "") -> Component:
    return card(f"alerts-card-{name}", *CARDS[name], value, more)


def _section(name: str, title: str, content: Component) -> Component:
    return section(f"alerts-info-{name}", title, EXPLAINED[name], content)
