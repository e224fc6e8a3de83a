"""What is trained for one horizon: a regression of the return, a classification of its sign, a calibration.

The return is learned in units of the volatility known at the time, so that calm and wild hours, cheap and dear symbols
count alike. Models are small and cautious: there is little to be learned in returns, and much to be overfitted.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from core.indicators.base import Array
from ml.baselines import Guess
from ml.dataset import Samples
from ml.features import NAMES

PARAMETERS: dict[str, Any] = {
    "max_depth": 3,
    "eta": 0.05,
    "subsample": 0.7,
    "colsample_bytree": 0.7,
    "min_child_weight": 20,
    "lambda": 5.0,
    "tree_method": "hist",
    "max_bin": 64,
    "seed": 1,
    "verbosity": 0,
}
MAX_ROUNDS = 400
PATIENCE = 25
LIMIT = 5.0
"""Targets beyond this many volatilities count as this many: a split or a bad print must not teach anything."""


@dataclass(frozen=True)
class Model:
    """The trained pair of one horizon and its calibration."""

    horizon: int
    value: xgboost.Booster
    rise: xgboost.Booster
    slope: float
    level: float

    def predict(self, features: Array, volatility: Array) -> Guess:
        """The log return to expect and the calibrated probability of a rise.

        `features` has the columns of `NAMES`; `volatility` is that of one bar's log return.
        """
        matrix = xgboost.DMatrix(features, feature_names=list(NAMES))
        value = self.value.predict(matrix).astype(np.float64) * volatility * np.sqrt(self.horizon)
        margin = self.rise.predict(matrix, output_margin=True).astype(np.float64)
        return Guess(value, _sigmoid(self.slope * margin + self.level))


def train(samples: Samples, calibration: Samples, threads: int = 1) -> Model:
    """Train on some samples; the later ones of `calibration` stop the training and calibrate the probability."""
    value = _boosted("reg:squarederror", "rmse", *_scaled(samples), *_scaled(calibration), threads)
    rise = _boosted("binary:logistic", "logloss", *_signs(samples), *_signs(calibration), threads)
    features, signs = _signs(calibration)
    margin = rise.predict(xgboost.DMatrix(features, feature_names=list(NAMES)), output_margin=True)
    slope, level = _platt(margin.astype(np.float64), signs)
    return Model(samples.horizon, value, rise, slope, level)


def _scaled(samples: Samples) -> tuple[Array, Array]:
    units = samples.target / (samples.volatility * np.sqrt(samples.horizon))
    return samples.features, np.clip(units, -LIMIT, LIMIT)


def _signs(samples: Samples) -> tuple[Array, Array]:
    """Samples that moved, and whether they rose."""
    moved = samples.target != 0
    return samples.features[moved], (samples.target[moved] > 0).astype(np.float64)


def _boosted(
    objective: str, metric: str, x: Array, y: Array, later_x: Array, later_y: Array, threads: int
) -> xgboost.Booster:
    """Boosted until it no longer helps on later samples; cut back to where it helped most."""
    parameters = PARAMETERS | {"objective": objective, "eval_metric": metric, "nthread": threads}
    later = xgboost.DMatrix(later_x, later_y, feature_names=list(NAMES))
    booster = xgboost.train(
        parameters,
        xgboost.DMatrix(x, y, feature_names=list(NAMES)),
        MAX_ROUNDS,
        evals=[(later, "later")],
        early_stopping_rounds=PATIENCE,
        verbose_eval=False,
    )
    return booster[: booster.best_iteration + 1]


def _platt(margin: Array, rose: Array) -> tuple[float, float]:
    """Slope and level of the logistic curve from margin to frequency (J. Platt, 1999); a falling one is made flat."""
    if len(np.unique(rose)) < 2:
        return 0.0, 0.0
    fitted = LogisticRegression(C=1.0).fit(margin[:, None], rose)
    slope, level = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope > 0:
        return slope, level
    share = float(np.clip(rose.mean(), 1e-6, 1 - 1e-6))
    return 0.0, float(np.log(share / (1 - share)))


def _sigmoid(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))
