"""The live scorecard of the predictor: sums of the database as scores, intervals and a sentence. No I/O."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from core.intervals import MINUTE_US
from core.skill import (
    MIN_BLOCKS,
    Estimate,
    Floats,
    Statistic,
    block_us,
    calibration,
    jackknife,
    ratio,
    skill,
    skill_against_coin,
    skill_against_prior,
)

Row = Mapping[str, Any]
Key = tuple[str, int]

DOUBLE = 8
CLASSES = 10
"""Of a calibration: as many predictions in each."""
COUNTS = ("made", "known", "other_session", "abstained_return", "abstained_rise", "moved", "rises")


def scorecard(sums: Sequence[Row], bar_us: int) -> list[dict[str, Any]]:
    """A row per model and horizon, the newest model first, of what `PredictionReader.scores` gives."""
    blocks = _grouped(sums)
    newest_first = sorted(sorted(blocks, key=lambda key: key[1]), key=lambda key: key[0], reverse=True)
    return [_scored(key, blocks[key], bar_us) for key in newest_first]


def verdict(moved: int, blocks: int, rise: Mapping[str, Estimate | None], value: Mapping[str, Estimate | None]) -> str:
    """What the skills come to, in words. `rise` and `value` are those of direction and return by baseline."""
    if not moved:
        return "No outcome is known yet."
    if blocks < MIN_BLOCKS:
        return f"Too early to say: outcomes of {blocks} of the {MIN_BLOCKS} blocks of time that an interval needs."
    return f"Direction: {_judged(rise)}. Return: {_judged(value)}."


_NAMES = {"coin": "a coin", "prior": "the share of rises", "zero": "saying 0"}


def _judged(found: Mapping[str, Estimate | None]) -> str:
    held = {name: each for name, each in found.items() if each is not None and each.low is not None}
    if len(held) < len(found):
        return "nothing to compare with"
    worse = [_NAMES[name] for name, each in held.items() if each.loses]
    if worse:
        return f"worse than {' and '.join(worse)}"
    unclear = [_NAMES[name] for name, each in held.items() if not each.beats]
    if unclear:
        return f"not distinguishable from {' and '.join(unclear)}"
    return f"better than {' and '.join(_NAMES[name] for name in held)}"


def _grouped(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        rises, falls = len(row["rose"]) // DOUBLE, len(row["fell"]) // DOUBLE
        found[row["model"], row["horizon"]].append({**row, "rises": rises, "moved": rises + falls})
    return dict(found)


def _said(packed: Sequence[bytes]) -> Floats:
    """Probabilities of big-endian doubles."""
    return np.frombuffer(b"".join(packed), ">f8").astype(np.float64)


def _scored(key: Key, blocks: Sequence[Row], bar_us: int) -> dict[str, Any]:
    model, horizon = key
    total = {name: sum(row[name] for row in blocks) for name in COUNTS}
    moved, known = ([row for row in blocks if row[name]] for name in ("moved", "known"))
    rose, fell = (_said([row[name] for row in blocks]) for name in ("rose", "fell"))

    rise = {
        "coin": _estimate(moved, skill_against_coin, "brier", "moved"),
        "prior": _estimate(moved, skill_against_prior, "brier", "moved", "rises"),
    }
    value = {"zero": _estimate(known, skill, "error", "error_of_zero")}
    return {
        "model": model,
        "horizon": horizon,
        **total,
        "blocks": len(moved),
        "block_minutes": block_us(horizon, bar_us) // MINUTE_US,
        "direction_right": _json(_estimate(moved, ratio, "right", "moved")),
        "brier": _mean(moved, "brier", total["moved"]),
        "skill_of_rise": {name: _json(each) for name, each in rise.items()},
        "error_of_return": _mean(blocks, "error", total["known"]),
        "skill_of_return": {name: _json(each) for name, each in value.items()},
        "calibration": [asdict(each) for each in calibration(rose, fell, CLASSES)],
        "verdict": verdict(total["moved"], len(moved), rise, value),
    }


def _estimate(blocks: Sequence[Row], statistic: Statistic, *columns: str) -> Estimate | None:
    return jackknife([[float(row[name]) for name in columns] for row in blocks], statistic)


def _mean(blocks: Sequence[Row], name: str, count: int) -> float | None:
    return sum(row[name] for row in blocks) / count if count else None


def _json(found: Estimate | None) -> dict[str, float | None] | None:
    return None if found is None else {"value": found.value, "low": found.low, "high": found.high}
