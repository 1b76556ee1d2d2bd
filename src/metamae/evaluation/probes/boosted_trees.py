"""Gradient-boosted trees on the features: what a practitioner would try on raw ones.

Source: Ke et al., LightGBM, NeurIPS 2017, in the form of scikit-learn's histogram-based trees.
"""

from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least, check_between
from metamae.evaluation.probes.base import Evaluation, Labelled
from metamae.evaluation.scoring.task import Array, Prediction, Task

FEWEST_TO_STOP = 200  # training samples from which a part of them decides when to stop
FEWER = 4  # below that, a share of the trees is enough: there is little to fit


class BoostedTrees(Evaluation):
    """Histogram-based gradient boosting, stopped early where there are samples to decide by.

    Args:
        learning_rate: Share of each tree's answer that is added.
        max_trees: Trees at most, for each class.
        min_leaf: Samples of a leaf at least; fewer where there are very few samples.
        max_columns: Features beyond which as many are drawn at random: time grows with them.
    """

    description: ClassVar[str] = "Gradient-boosted trees, mostly of use on raw features."

    def __init__(
        self,
        *,
        learning_rate: float = 0.1,
        max_trees: int = 100,
        min_leaf: int = 20,
        max_columns: int = 512,
    ):
        self.learning_rate = check_between("BoostedTrees.learning_rate", learning_rate, 0, 1)
        self.max_trees = check_at_least("BoostedTrees.max_trees", max_trees, 1)
        self.min_leaf = check_at_least("BoostedTrees.min_leaf", min_leaf, 1)
        self.max_columns = check_at_least("BoostedTrees.max_columns", max_columns, 1)

    def fit_predict(
        self, train: Labelled, test_features: Array, task: Task, rng: np.random.Generator
    ) -> Prediction:
        seed, inside = int(rng.integers(2**31)), train.features
        if inside.shape[1] > self.max_columns:
            chosen = np.sort(rng.choice(inside.shape[1], self.max_columns, replace=False))
            inside, test_features = inside[:, chosen], test_features[:, chosen]
        if task.kind != "multilabel":
            return self._one(inside, train.labels, test_features, task, seed)
        columns = [
            self._one(inside, column, test_features, task, seed) for column in train.labels.T
        ]
        return np.stack(columns, axis=1)

    def _one(self, inside: Array, y: Array, outside: Array, task: Task, seed: int) -> Prediction:
        """Fit one target; labels of a multilabel task get the chance of being there."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        stops = len(y) >= FEWEST_TO_STOP
        settings: dict[str, Any] = {
            "learning_rate": self.learning_rate,
            "max_iter": self.max_trees if stops else max(1, self.max_trees // FEWER),
            # With five samples per class no leaf would ever hold twenty.
            "min_samples_leaf": max(1, min(self.min_leaf, len(y) // 20)),
            "early_stopping": stops,
            "random_state": seed,
        }
        if task.kind == "regression":
            model: Any = HistGradientBoostingRegressor(**settings).fit(inside, y)
            return np.asarray(model.predict(outside))
        present, counts = np.unique(y, return_counts=True)
        if len(present) < 2:
            return np.full(len(outside), present[0])
        # The part that decides when to stop is stratified, which a class of one sample forbids.
        settings["early_stopping"] = bool(settings["early_stopping"] and counts.min() >= 2)
        model = HistGradientBoostingClassifier(**settings).fit(inside, y)
        if task.kind == "multilabel":
            return np.asarray(model.predict_proba(outside)[:, 1])
        return np.asarray(model.predict(outside))
