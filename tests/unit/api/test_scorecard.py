"""The scorecard's words and rows: what is said of sums that are known."""

import struct
from typing import Any

import pytest

from api.models_predictions import Score
from api.scorecard import scorecard, verdict
from core.intervals import MINUTE_US
from core.skill import Estimate

GOOD, BAD, UNSURE = Estimate(0.1, 0.05, 0.15), Estimate(-0.1, -0.2, -0.01), Estimate(0.1, -0.05, 0.25)
VERDICTS = [
    ((0, 0, GOOD, GOOD, GOOD), "No outcome is known yet."),
    ((90, 5, GOOD, GOOD, GOOD), "Too early to say: outcomes of 5 of the 6 blocks of time that an interval needs."),
    ((90, 9, GOOD, GOOD, GOOD), "Direction: better than a coin and the share of rises. Return: better than saying 0."),
    (
        (90, 9, GOOD, UNSURE, BAD),
        "Direction: not distinguishable from the share of rises. Return: worse than saying 0.",
    ),
    (
        (90, 9, BAD, UNSURE, UNSURE),
        "Direction: worse than a coin. Return: not distinguishable from saying 0.",
    ),
    (
        (90, 9, UNSURE, None, UNSURE),
        "Direction: nothing to compare with. Return: not distinguishable from saying 0.",
    ),
]


@pytest.mark.parametrize(("given", "said"), VERDICTS)
def test_verdict_claims_no_more_than_the_intervals(given: tuple[Any, ...], said: str) -> None:
    moved, blocks, coin, prior, zero = given
    assert verdict(moved, blocks, {"coin": coin, "prior": prior}, {"zero": zero}) == said


def said(probability: float, count: int = 4) -> bytes:
    """As the database packs them."""
    return struct.pack(f">{count}d", *[probability] * count)


def sums(block: int, **changes: Any) -> dict[str, Any]:
    """A block of 10 predictions of which 8 moved, 4 of them up, half of them right."""
    counts = {"made": 10, "known": 9, "other_session": 1, "abstained_return": 10, "abstained_rise": 0}
    scores = {"right": 4.0, "brier": 2.0, "error": 9.9, "error_of_zero": 9.0, "rose": said(0.4), "fell": said(0.3)}
    return {"model": "m1", "horizon": 1, "block": block} | counts | scores | changes


def test_rows_are_by_newest_model_then_horizon_and_add_up() -> None:
    rows = [sums(block, model=model, horizon=horizon)
            for model in ("m1", "m2") for horizon in (15, 1) for block in range(7)]  # fmt: skip
    found = scorecard(rows, MINUTE_US)
    for row in found:
        Score.model_validate(row, strict=True)
    assert [(row["model"], row["horizon"]) for row in found] == [("m2", 1), ("m2", 15), ("m1", 1), ("m1", 15)]
    first = found[0]
    assert (first["made"], first["known"], first["moved"], first["blocks"]) == (70, 63, 56, 7)
    assert first["direction_right"]["value"] == 0.5 and first["brier"] == 0.25
    assert first["skill_of_rise"]["coin"] == first["skill_of_rise"]["prior"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert first["skill_of_return"]["zero"]["value"] == pytest.approx(-0.1)
    assert first["error_of_return"] == pytest.approx(1.1)
    (*_, fifth), last = first["calibration"][:5], first["calibration"][-1]
    assert [each["samples"] for each in first["calibration"]] == [6] * 6 + [5] * 4
    assert (fifth["said"], fifth["came"]) == (pytest.approx(0.3 * 4 / 6 + 0.4 * 2 / 6), pytest.approx(2 / 6))
    assert (last["said"], last["came"]) == (pytest.approx(0.4), 1.0)


def test_blocks_in_which_nothing_moved_are_no_observations_of_the_direction() -> None:
    still = [sums(block, known=0, rose=b"", fell=b"", right=0.0, brier=0.0, error=0.0, error_of_zero=0.0)
             for block in range(9)]  # fmt: skip
    (nothing,) = scorecard(still, MINUTE_US)
    assert (nothing["blocks"], nothing["brier"], nothing["verdict"]) == (0, None, "No outcome is known yet.")
    (early,) = scorecard([*still, *(sums(block) for block in range(9, 12))], MINUTE_US)
    assert early["blocks"] == 3 and early["direction_right"]["low"] is None
