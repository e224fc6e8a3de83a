"""What the data quality page says in words. Pure functions of the API's answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dashboard.figures.quality import ratio_text

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a bar was amended: one, several, and what that means."""

    one: str
    several: str
    what: str


REASONS = {
    "late": Reason("late", "late", "ticks came after the bar was closed"),
    "gap-fill": Reason("gap fill", "gap fills", "a feed filled a gap that it had noticed"),
    "correction": Reason("correction", "corrections", "the venue corrected a trade"),
    "cancel": Reason("cancel", "cancels", "the venue cancelled a trade"),
    "rule-change": Reason("rule change", "rule changes", "another ruleset says which trades count"),
}
VALUES = ("open", "high", "low", "close", "volume", "vwap", "trade_count")
NAMES = {"trade_count": "trades", "vwap": "VWAP"}
NOTHING_EVER = (
    "No bar has been checked yet. The reconcile query holds closed bars against the tick log, about once a minute;"
    " `make up` runs it."
)


def sentence(today: str, totals: Sequence[Row], reasons: Mapping[str, int], symbol: str | None = None) -> str:
    """How the bars of today (UTC) fared, in one or two sentences.

    `totals` are the days of `/api/v1/quality/days` or of one symbol, oldest first; `reasons` the bars amended since
    midnight by reason.
    """
    of = f" {symbol}" if symbol else ""
    row = next((row for row in totals if row["day"] == today and row["checked"]), None)
    if row is None:
        return _nothing_today(of, totals)
    checked, matched, amended = row["checked"], row["matched"], row["amended"]
    bars = f"The one checked{of} bar" if checked == 1 else f"All {checked:,} checked{of} bars"
    match = "matches its recomputation" if checked == 1 else "match their recomputation"
    begin = f"{bars} of today {match} from the tick log"
    if not amended:
        return f"{begin}, none had to be amended.{_since(reasons)}"
    first = "none" if matched == 0 else f"{matched:,}"
    return f"{begin}: {first} as first made, {amended:,} after being amended.{_since(reasons)}"


def reasons_text(reasons: Mapping[str, int]) -> str:
    """`2 late, 1 cancel`; empty for none."""
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {_named(name, count)}" for name, count in ranked)


def reason_of(name: str | None) -> Reason:
    """What is known of a reason; an unknown one is its own name."""
    return REASONS.get(name or "") or Reason(name or "unknown", name or "unknown", "")


def _named(name: str, count: int) -> str:
    reason = reason_of(name)
    return reason.one if count == 1 else reason.several


def changes(was: Row | None, now: Row) -> list[tuple[str, str, str]]:
    """What an amendment changed: `(name, old, new)` of each value; all of them where there was no bar before."""
    if was is None:
        return [(NAMES.get(name, name), "none", value_text(now[name])) for name in VALUES]
    return [
        (NAMES.get(name, name), value_text(was[name]), value_text(now[name]))
        for name in VALUES
        if was[name] != now[name]
    ]


def value_text(value: Any) -> str:
    """An exact amount with thousands apart; a dash for none.

    >>> value_text("1234567.25"), value_text(None), value_text(12)
    ('1,234,567.25', '–', '12')
    """
    return "–" if value is None else f"{Decimal(str(value)):,f}"


def duration_text(seconds: float) -> str:
    """A stretch of time for people.

    >>> duration_text(0.25), duration_text(75), duration_text(7300)
    ('0.25 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def late_text(runs: Sequence[Row]) -> str:
    """How many ticks came late in these runs of reconciling, and the latest of them."""
    if not runs:
        return "No tick came behind the watermark."
    ticks = sum(row["ticks"] for row in runs)
    latest = max(row["max_us"] for row in runs) / 1e6
    tick = "tick" if ticks == 1 else "ticks"
    run = "run" if len(runs) == 1 else f"{len(runs)} runs"
    return f"{ticks:,} {tick} in the last {run} that found any, up to {duration_text(latest)} late."


def time_text(text: str | None) -> str:
    """RFC 3339 as `2026-11-21 16:46:30`, UTC; a dash for none."""
    return "–" if text is None else text[:19].replace("T", " ")


def ratio_of(row: Row | None) -> str:
    """The part of a day's bars that was right as first made."""
    return "–" if row is None else ratio_text(row["checked"], row["matched"])


def _nothing_today(of: str, totals: Sequence[Row]) -> str:
    checked = [row for row in totals if row["checked"]]
    if not checked:
        return NOTHING_EVER if not of else f"No{of} bar has been checked in these days."
    last = checked[-1]
    return (
        f"No{of} bar of today has been checked yet. The last day with checks is {last['day']}:"
        f" {last['checked']:,} bars, {last['amended']:,} amended."
    )


def _since(reasons: Mapping[str, int]) -> str:
    text = reasons_text(reasons)
    count = sum(reasons.values())
    were = "bar was" if count == 1 else "bars were"
    return f" Since midnight UTC {count:,} {were} amended: {text}." if text else ""
