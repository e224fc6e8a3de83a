"""Train a challenger, judge it, hold it against the champion, and put it on the shelf."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from core.clock import Clock
from core.errors import InputError
from core.sessions import ALWAYS_OPEN
from ml.dataset import Samples
from ml.drift import reference
from ml.evaluate import FOLDS, Progress, judge
from ml.features import NAMES, Ints
from ml.folds import halves, until
from ml.model import PARAMETERS, Model, train
from ml.scores import log_loss
from ml.shelf import Bundle, ModelError, Shelf

HOLDOUT = 0.15
"""The newest share of moments, on which challenger and champion meet."""


@dataclass(frozen=True)
class Duel:
    """Log losses of the direction on the newest samples, the mean over horizons; the lower one serves."""

    challenger: float
    champion: float | None
    won: bool
    why: str


def train_challenger(
    bars: pd.DataFrame,
    samples: Mapping[int, Samples],
    interval: str,
    clock: Clock,
    calendar: str = ALWAYS_OPEN,
    folds: int = FOLDS,
    threads: int = 1,
    progress: Progress = lambda _: None,
) -> Bundle:
    """A new version, trained on all samples of these bars, with the report of its walk-forward on its card.

    Raises InputError for too few bars.
    """
    report = judge(bars, samples, folds, threads, progress)
    models, cards = {}, {}
    for horizon, found in samples.items():
        progress(f"horizon {horizon}: the model that is kept, of all {len(found):,} samples")
        models[horizon] = _fit(found, np.arange(len(found)), threads)
        cards[str(horizon)] = {
            "calibration": {"slope": models[horizon].slope, "level": models[horizon].level},
            "rounds": {"value": models[horizon].value.num_boosted_rounds(),
                       "rise": models[horizon].rise.num_boosted_rounds()},
            "trained_until": _text(int(found.outcome_us.max())),
            "drift_reference": reference(found.features, NAMES),
        }  # fmt: skip
    made_us = clock.now_us()
    card: dict[str, Any] = {
        "about": "XGBoost on bar features: the log return and its direction some bars ahead. Not investment advice.",
        "interval": interval,
        "calendar": calendar,
        "made": _text(made_us),
        "made_us": made_us,
        "parameters": PARAMETERS,
        "models": cards,
        "report": report,
    }
    return Bundle(_version(made_us), models, card)


def hold_against(shelf: Shelf, samples: Mapping[int, Samples], threads: int = 1) -> Duel:
    """The recipe of the challenger, trained without the newest samples, against the champion on these.

    The champion may have seen some of them; that is to its favour, never to the challenger's.
    """
    champion, why = _champion(shelf)
    if champion is not None and set(champion.models) != set(samples):
        champion, why = None, "the champion has other horizons"
    losses: dict[str, list[float]] = {"challenger": [], "champion": []}
    for found in samples.values():
        past, newest = _held_out(found)
        test = found.at(newest)
        losses["challenger"].append(_loss(_fit(found, past, threads), test))
        if champion is not None:
            losses["champion"].append(_loss(champion.models[found.horizon], test))
    challenger = float(np.mean(losses["challenger"]))
    if champion is None:
        return Duel(challenger, None, True, why)
    held = float(np.mean(losses["champion"]))
    won = challenger < held
    return Duel(challenger, held, won, "the lower log loss on the newest bars" if won else "the champion is not beaten")


def shelve(shelf: Shelf, bundle: Bundle, duel: Duel) -> None:
    """Keep the version, with the duel on its card, and let it serve if it won."""
    shelf.save(Bundle(bundle.version, bundle.models, bundle.card | {"duel": asdict(duel)}))
    if duel.won:
        shelf.promote(bundle.version)


def _champion(shelf: Shelf) -> tuple[Bundle | None, str]:
    version = shelf.champion()
    if version is None:
        return None, "there was no champion"
    try:
        return shelf.load(version), ""
    except ModelError as error:
        return None, f"the champion cannot serve: {error}"


def _fit(found: Samples, rows: Ints, threads: int) -> Model:
    first, second = halves(found, rows, 0.2)
    if not len(first) or not len(second):
        raise InputError(f"{len(rows)} samples are too few to train on")
    return train(found.at(first), found.at(second), threads)


def _held_out(found: Samples) -> tuple[Ints, Ints]:
    moments = np.unique(found.known_us)
    edge = int(moments[int(len(moments) * (1 - HOLDOUT))])
    return until(found, edge), np.flatnonzero(found.known_us >= edge)


def _loss(model: Model, test: Samples) -> float:
    moved = test.target != 0
    if not moved.any():
        raise InputError(f"no price moved in the newest bars of horizon {test.horizon}: no model can be held to them")
    guess = model.predict(test.features, test.volatility)
    return log_loss(guess.rise[moved], (test.target[moved] > 0).astype(np.float64))


def _text(us: int) -> str:
    return f"{np.datetime64(us, 'us')}Z"


def _version(made_us: int) -> str:
    """A name that sorts by time: `20260105T143000123Z`."""
    return _text(made_us)[:-4].translate(str.maketrans("", "", "-:.")) + "Z"
