"""The card of the model that serves, for readers: what it was trained on, and what it was worth out of sample."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stores.model_cards import champions, read_card, versions

MOST_VERSIONS = 20
_KINDS = ("rise", "return")


def models_answer(folder: Path, interval: str) -> dict[str, Any]:
    """The champion of an interval and the versions there are, as far as this machine has them. Blocks on the disk."""
    where = folder / interval
    known = versions(where)[: -MOST_VERSIONS - 1 : -1]
    champion, because = None, None
    try:
        served = champions(where)
        if served:
            champion = card_json(read_card(where, served[-1]))
        else:
            because = f"no model of {interval} here: none was trained yet, or they are kept on another machine"
    except (OSError, ValueError, KeyError, TypeError):
        because = "the card of the model that serves cannot be read"
    return {"interval": interval, "champion": champion, "because": because, "versions": known}


def card_json(card: Mapping[str, Any]) -> dict[str, Any]:
    """What of a card is shown. Raises KeyError or TypeError for one of another shape."""
    data, report = card["report"]["data"], card["report"]["horizons"]
    return {
        "version": card["version"],
        "made_at": card["made"],
        "bars": data["bars"],
        "histories": len(data["histories"]),
        "start": data["from"],
        "end": data["to"],
        "calendar": card["calendar"],
        "features": len(card["features"]),
        "horizons": [_horizon(int(name), report[name]) for name in sorted(report, key=int)],
    }


def _horizon(horizon: int, found: Mapping[str, Any]) -> dict[str, Any]:
    skills = [
        {"of": kind, "baseline": name} | {each: skill[each] for each in ("value", "low", "high")}
        for kind in _KINDS
        for name, skill in found[f"skill_of_{kind}"].items()
    ]
    right = {name: found["accuracy"][name] for name in ("value", "low", "high")}
    return {
        "horizon": horizon,
        "samples": found["samples"],
        "moments": found["moments"],
        "direction_right": right,
        "calibration_error": found["calibration"]["expected_error"],
        "abstains": sorted(kind for kind in _KINDS if not found["beats_baselines"][kind]),
        "skills": skills,
    }
