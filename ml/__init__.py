"""The predictor: features of bars, samples with their outcomes, honest validation, models, and what serves them.

`features.py` has the one definition of every feature, `dataset.py` puts outcomes beside them, `folds.py` cuts time,
`model.py` is what is trained, `evaluate.py` judges it against `baselines.py`, `shelf.py` keeps models with their cards.
"""
