"""What the headings of the data quality page explain, and the row of figures on top of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from dash.development.base_component import Component

from dashboard.pages.quality_words import duration_text, ratio_of, reasons_text, time_text
from dashboard.parts import card

Row = Mapping[str, Any]

EXPLAINED = {
    "calendar": (
        "Every closed bar of every interval is held against the tick log, recomputed by the same rules. A cell is the"
        " part of a day's bars (UTC) that was right as first made; its number counts the bars that had to be amended."
        " Symbols that matched least come first. Empty: nothing was checked."
    ),
    "late": (
        "A tick is late when it comes behind the watermark, after its bar was closed. Each point is a run of"
        " reconciling that found some; it says how long after their event time they were received. They are in their"
        " bars by now. Always of all symbols."
    ),
    "amendments": (
        "Bars that changed after they had been final, the last one first: the newest revision against the one before."
        " The older ones stay readable. Times are UTC."
    ),
    "gaps": (
        "Stretches in which a feed brought no ticks although there must have been some: skipped trade ids, silence, a"
        " lost connection, a switch to another feed. Ticks that came later are in their bars. Times are UTC."
    ),
}
CARDS = {
    "checked": ("Checked today", "Closed bars of today (UTC), of all intervals, that were held against the tick log"),
    "match": ("Right as first made", "The part of them that needed no amendment: what streamed is what is recomputed"),
    "amended": ("Amended today", "Bars that became known in a newer revision since midnight UTC, by reason"),
    "late": ("Late ticks", "In the last run of reconciling that found any, of all symbols; and how late they were"),
    "gaps": ("Open gaps", "Gaps that no feed has filled yet; and how many were filled or lost"),
}


def cards(
    today: str, totals: Sequence[Row], reasons: Mapping[str, int], runs: Sequence[Row], states: Mapping[str, int]
) -> list[Component]:
    """The figures of today."""
    row = next((row for row in totals if row["day"] == today), None)
    late = f"{time_text(runs[0]['at'])[5:16]}, up to {duration_text(runs[0]['max_us'] / 1e6)}" if runs else ""
    settled = ", ".join(f"{states[name]:,} {name}" for name in ("filled", "lost") if states.get(name))
    return [
        _card("checked", f"{row['checked']:,}" if row else "0"),
        _card("match", ratio_of(row)),
        _card("amended", f"{sum(reasons.values()):,}", reasons_text(reasons)),
        _card("late", f"{runs[0]['ticks']:,}" if runs else "0", late),
        _card("gaps", f"{states.get('open', 0):,}", settled),
    ]


def _card(name: str, value: str, more: str = "") -> Component:
    return card(f"quality-card-{name}", *CARDS[name], value, more)
