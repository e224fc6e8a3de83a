"""The tables of the data quality page: amended bars, all revisions of one, and gaps."""

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboard.pages.quality_words import NAMES, VALUES, changes, duration_text, reason_of, time_text, value_text
from dashboard.parts import chart_link, table

Row = Mapping[str, Any]

CAUSES = {
    "ids": "trade ids were skipped",
    "silence": "no message for too long",
    "disconnect": "the connection was lost",
    "switch": "another feed took over",
}
STATES = {"open": "not filled yet", "filled": "the ticks came later", "lost": "the provider cannot give it any more"}


def amendments_table(rows: Sequence[Row]) -> Component:
    """Amended bars, the last one first, with what changed; a button shows all revisions of one."""
    if not rows:
        return html.P("No bar was amended in the last seven days.", className="muted")
    head = ("Known since (UTC)", "Symbol", "Bar (UTC)", "Rev", "Reason", "What changed", "")
    return table(head, [_amendment(row) for row in rows], ("What changed",))


def revisions_table(rows: Sequence[Row]) -> Component:
    """Every revision of one bar, the oldest first; what changed is marked."""
    if not rows:
        return html.P("No revision of this bar is stored any more.", className="muted")
    head = ("Rev", "Known since (UTC)", "Reason", *(NAMES.get(name, name) for name in VALUES))
    before: Sequence[Row | None] = [None, *rows[:-1]]
    return table(head, [_revision(row, was) for row, was in zip(rows, before, strict=True)])


def gaps_table(rows: Sequence[Row]) -> Component:
    """Gaps of feeds, the newest first."""
    if not rows:
        return html.P("No feed has noticed a gap.", className="muted")
    head = ("From (UTC)", "Length", "Symbol", "Feed", "Cause", "State", "Ticks missing", "Came later", "Detail")
    return table(head, [_gap(row) for row in rows])


def _amendment(row: Row) -> list[Any]:
    reason = reason_of(row["reason"])
    what = " · ".join(f"{name} {old} → {new}" for name, old, new in changes(row["was"], row["now"]))
    key = f"{row['interval']} {row['start']} {row['symbol']}"
    button = html.Button("All revisions", value=key, type="button", className="part-button")
    return [
        time_text(row["known_at"]),
        chart_link(row["symbol"], row["interval"]),
        f"{row['interval']} {time_text(row['start'])[:16]}",
        row["rev"],
        html.Span(reason.one, title=reason.what),
        what or "times or trade ids only",
        button,
    ]


def _revision(row: Row, was: Row | None) -> list[Any]:
    cells = [_marked(value_text(row[name]), was is not None and was[name] != row[name]) for name in VALUES]
    reason = "as first made" if row["reason"] is None else reason_of(row["reason"]).one
    return [row["rev"], time_text(row["known_at"]), reason, *cells]


def _marked(text: str, changed: bool) -> Any:
    return html.B(text, className="quality-changed") if changed else text


def _gap(row: Row) -> list[Any]:
    return [
        time_text(row["start"]),
        duration_text(row["seconds"]),
        chart_link(row["symbol"]),
        row["source"],
        html.Span(row["cause"], title=CAUSES.get(row["cause"], "")),
        html.Span(row["state"], title=STATES.get(row["state"], ""), className=f"quality-gap-{row['state']}"),
        value_text(row["missing"]),
        value_text(row["filled"]),
        row["detail"] or "–",
    ]
