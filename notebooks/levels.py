"""The claim that sells predictors: R² on the level of a price, beside what it is worth."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xgboost

LAGS = 5


def level_claim(close: Sequence[float], test_share: float = 0.3) -> pd.DataFrame:
    """R² of three ways to predict the next close, on the price itself and on the log return that is in it.

    The last `test_share` of the closes is the test. `model` is XGBoost on the last five closes, `model, shuffled` the
    same with test rows drawn at random among the training rows, `persistence` says that the price stays.
    """
    prices = np.asarray(close, float)
    lags = np.stack([prices[lag : len(prices) - LAGS + lag] for lag in range(LAGS)], axis=1)
    last, target = lags[:, -1], prices[LAGS:]
    rows = np.arange(len(target))
    shuffled = np.random.default_rng(1).permutation(rows)
    cut = int(len(rows) * (1 - test_share))
    found = {}
    for name, order in (("model", rows), ("model, shuffled", shuffled)):
        train, test = order[:cut], order[cut:]
        said = _boosted(lags[train], target[train], lags[test])
        found[name] = _both(said, target[test], last[test])
    found["persistence"] = _both(last[cut:], target[cut:], last[cut:])
    return pd.DataFrame(found, index=["R² of the price", "R² of the return"]).T


def _boosted(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    parameters = {"max_depth": 4, "eta": 0.1, "nthread": 1, "seed": 1, "verbosity": 0}
    return xgboost.train(parameters, xgboost.DMatrix(x, y), 200).predict(xgboost.DMatrix(new))


def _both(said: np.ndarray, happened: np.ndarray, last: np.ndarray) -> list[float]:
    return [r_squared(said, happened), r_squared(np.log(said / last), np.log(happened / last), centre=0.0)]


def r_squared(said: np.ndarray, happened: np.ndarray, centre: float | None = None) -> float:
    """1 - squared errors / squared distances from `centre`, the mean where none is given."""
    middle = happened.mean() if centre is None else centre
    return float(1 - np.square(said - happened).sum() / np.square(happened - middle).sum())
