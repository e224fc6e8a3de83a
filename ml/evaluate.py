"""The whole walk-forward: train, calibrate, test block by block, and say what the model is worth."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from core.errors import InputError
from core.indicators.batch import start_us
from core.sessions import ALWAYS_OPEN
from ml.baselines import BASELINES, Guess
from ml.dataset import HORIZONS, Samples, every_horizon, keys_of, step_us
from ml.features import FEATURES
from ml.folds import Fold, walk_forward
from ml.leakage import looking_ahead
from ml.model import train
from ml.scores import beats, scores

FOLDS = 5
Progress = Callable[[str], None]


def evaluate(
    bars: pd.DataFrame,
    calendar: str = ALWAYS_OPEN,
    horizons: Sequence[int] = HORIZONS,
    folds: int = FOLDS,
    threads: int = 1,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """The report on bars of one interval: of every horizon the scores out of sample, and whether it beats anything.

    Raises InputError when there are too few bars, no price moves in them, or a feature looks ahead.
    """
    return judge(bars, every_horizon(bars, calendar, horizons), folds, threads, progress)


def judge(
    bars: pd.DataFrame,
    found: Mapping[int, Samples],
    folds: int = FOLDS,
    threads: int = 1,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """The same of samples that were made of these bars."""
    ahead = looking_ahead(bars)
    if ahead:
        raise InputError(f"features look ahead, no score would mean anything: {', '.join(sorted(ahead))}")
    return {
        "data": describe(bars, step_us(bars)),
        "method": METHOD,
        "features": {feature.name: feature.means for feature in FEATURES},
        "looking_ahead": ahead,
        "horizons": {str(horizon): _horizon(each, folds, threads, progress) for horizon, each in found.items()},
    }


METHOD = (
    "Purged walk-forward with a growing window: each test block lies after everything its model was trained, stopped "
    "and calibrated on; what had no outcome yet is left out, and so is 1 % of all moments before each block. "
    "Errors of returns are in units of the volatility known at the time. Intervals are 95 %, by a bootstrap of blocks "
    "of time. A horizon beats the baselines when the whole interval of its skill lies above 0 against each of them."
)


def _horizon(found: Samples, folds: int, threads: int, progress: Progress) -> dict[str, Any]:
    tested, guesses, blocks = [], [], []
    for number, fold in enumerate(walk_forward(found, folds), 1):
        progress(f"horizon {found.horizon}: fold {number} of {folds}, {len(fold.train):,} samples to train on")
        tested.append(fold.test)
        guesses.append(_fold(found, fold, threads))
        blocks.append(_block(found, fold))
    if not tested:
        raise InputError(f"{len(found)} samples are too few for {folds} folds: give more bars or fewer folds")
    rows = np.concatenate(tested)
    joined = {name: _joined([each[name] for each in guesses]) for name in guesses[0]}
    test = found.at(rows)
    if not test.target.any():
        raise InputError(f"no price moved in the test blocks of horizon {found.horizon}: nothing can be judged")
    result = scores(joined.pop("model"), joined, test.target, test.volatility, test.known_us, found.horizon)
    return result | {
        "beats_baselines": {kind: beats(result[f"skill_of_{kind}"]) for kind in ("return", "rise")},
        "folds": blocks,
    }


def _fold(found: Samples, fold: Fold, threads: int) -> dict[str, Guess]:
    """The guesses of the model and of each baseline on the test block."""
    model = train(found.at(fold.train), found.at(fold.calibrate), threads)
    test = found.at(fold.test)
    past = found.at(np.concatenate([fold.train, fold.calibrate]))
    guesses = {name: baseline(past, test) for name, baseline in BASELINES.items()}
    return {"model": model.predict(test.features, test.volatility)} | guesses


def _joined(guesses: Sequence[Guess]) -> Guess:
    return Guess(np.concatenate([each.value for each in guesses]), np.concatenate([each.rise for each in guesses]))


def _block(found: Samples, fold: Fold) -> dict[str, Any]:
    return {
        "trained": len(fold.train),
        "calibrated": len(fold.calibrate),
        "tested": len(fold.test),
        "from": _text(int(found.known_us[fold.test].min())),
        "to": _text(int(found.known_us[fold.test].max())),
    }


def describe(bars: pd.DataFrame, bar_us: int) -> dict[str, Any]:
    """What the bars are: how many, of whom, from when to when."""
    start = start_us(bars)
    return {
        "bars": len(bars),
        "histories": sorted(keys_of(bars).unique()),
        "bar_seconds": bar_us / 1e6,
        "from": _text(int(start.min())),
        "to": _text(int(start.max()) + bar_us),
    }


def _text(us: int) -> str:
    return str(np.datetime64(us, "us")) + "Z"
