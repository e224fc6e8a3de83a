"""The model's card on the predictions page: what it was trained on, and what it was worth before it served."""

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboard.figures.predictions import bars_ahead, judged
from dashboard.pages.quality_words import time_text
from dashboard.parts import table

Row = Mapping[str, Any]

BASELINES = {
    "zero": "saying nothing",
    "persistence": "as before, so again",
    "ar1": "autoregression",
    "prior": "what was usual",
}
"""Names of the baselines in words."""
KINDS = {"rise": "direction", "return": "return"}
TITLES = ("Horizon", "Samples", "Direction right", "Hardest baseline, direction", "Hardest baseline, return", "So it")


def model_part(found: Row) -> list[Component]:
    """What `/api/v1/predictions/models` answers, in words and a table."""
    card = found["champion"]
    if card is None:
        return [html.P(f"{found['because'].capitalize()}.", className="muted")]
    rows = [_row(each) for each in card["horizons"]]
    return [html.P(sentence(card, found["versions"])), table(TITLES, rows, wrapped=TITLES[3:])]


def sentence(card: Row, versions: Sequence[str]) -> str:
    """Where the model comes from."""
    symbols = f"{card['histories']} symbol{'' if card['histories'] == 1 else 's'}"
    others = len(versions) - 1
    more = "" if others < 1 else f" {others} other version{'' if others == 1 else 's'} kept for the way back."
    return (
        f"Version {card['version']}, trained on {card['bars']:,} bars of {symbols}, {time_text(card['start'])} to"
        f" {time_text(card['end'])} UTC, by {card['features']} features.{more}"
    )


def conclusion(abstains: Sequence[str]) -> str:
    """What follows from the skills.

    >>> conclusion(["rise"])
    'speaks of the return, abstains from the direction'
    """
    if not abstains:
        return "speaks of both"
    if len(abstains) == len(KINDS):
        return "abstains from both"
    (kind,) = abstains
    (other,) = (each for each in KINDS if each != kind)
    return f"speaks of the {KINDS[other]}, abstains from the {KINDS[kind]}"


def _row(found: Row) -> list[Any]:
    right = found["direction_right"]
    return [
        f"{bars_ahead(found['horizon'])} ahead",
        f"{found['samples']:,}",
        f"{100 * right['value']:.2f} % ({100 * right['low']:.2f} to {100 * right['high']:.2f})",
        *(_hardest([each for each in found["skills"] if each["of"] == kind]) for kind in KINDS),
        conclusion(found["abstains"]),
    ]


def _hardest(skills: Sequence[Row]) -> str:
    """The baseline that it stands worst against."""
    if not skills:
        return "–"
    worst = min(skills, key=lambda each: float(each["low"]))
    low, high = (f"{100 * worst[edge]:+.2f}".replace("-", "−") for edge in ("low", "high"))
    return f"{judged(worst)}: {BASELINES.get(worst['baseline'], worst['baseline'])}, {low} to {high} %"
