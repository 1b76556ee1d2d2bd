"""Predict from the nearest neighbours in feature space: nothing is trained.

Source: Wu et al., CVPR 2018, arXiv:1805.01978, section 3.4 (weights exp(cosine / temperature)).
Differs: features are centred, and get one constant coordinate as long as their root mean square
norm, with which the temperature is halved. Between features of equal norm that gives the source's
weights exactly; where norms differ, as in data with few columns, it keeps the length, which a
plain cosine throws away (with one feature it would see nothing but a sign).

S is the number of training samples, F the number of features, L the number of labels.
"""

from collections.abc import Iterator
from math import isqrt
from typing import ClassVar

import numpy as np

from metamae.core.checks import check_at_least, check_between, check_one_of
from metamae.data.columns.base import Index
from metamae.evaluation.probes.base import Evaluation, Labelled
from metamae.evaluation.scoring.metrics import Floats, primary
from metamae.evaluation.scoring.task import Array, Prediction, Task

# Similarities held at once: 64 MB of them in float32.
BLOCK = 2**24
# Training samples on which the scaling is chosen; more would not change the choice.
MOST_FOR_CHOICE = 2000


class KNN(Evaluation):
    """k-nearest-neighbour vote (classes, labels) or mean (numbers), weighted by similarity.

    Args:
        k: Neighbours that count, at most the square root of the number of training samples, so
            that with few labels the far ones do not outvote the near ones.
        temperature: Lower values let the nearest decide alone.
        scaling: "columns" divides every feature by its standard deviation, as columns in
            different units need; "none" keeps their sizes, as PCA needs; "auto" takes what
            predicts the training samples better when each is left out in turn.
    """

    description: ClassVar[str] = "Vote of the nearest training samples; nothing is trained."

    def __init__(self, *, k: int = 20, temperature: float = 0.07, scaling: str = "auto"):
        self.k = check_at_least("KNN.k", k, 1)
        self.temperature = check_between("KNN.temperature", temperature, 0, float("inf"))
        self.scaling = check_one_of("KNN.scaling", scaling, ("auto", "columns", "none"))

    def fit_predict(
        self, train: Labelled, test_features: Array, task: Task, rng: np.random.Generator
    ) -> Prediction:
        by_column = self.scaling == "columns"
        if self.scaling == "auto":
            by_column = self._columns_are_better(train, task, rng)
        near, far = _directions(train.features, test_features, by_column)
        return self._predict(near, train.labels, far, task, left_out=False)

    def _columns_are_better(self, train: Labelled, task: Task, rng: np.random.Generator) -> bool:
        if len(train.labels) > MOST_FOR_CHOICE:
            train = train.part(rng.choice(len(train.labels), MOST_FOR_CHOICE, replace=False))
        metric = primary(task)
        scores = []
        for by_column in (False, True):
            near, _ = _directions(train.features, train.features[:1], by_column)
            guess = self._predict(near, train.labels, near, task, train.groups, left_out=True)
            scores.append(metric.score(train.labels, guess))
        return scores[1] > scores[0] if metric.higher_is_better else scores[1] < scores[0]

    def _predict(
        self,
        near: Array,
        labels: Array,
        far: Array,
        task: Task,
        groups: Array | None = None,
        *,
        left_out: bool,
    ) -> Prediction:
        """Predict for directions `far`; `left_out` if they are `near`, each without its group."""
        num = len(near) - left_out
        k = min(self.k, max(1, isqrt(num)))
        own = np.arange(len(near)) if groups is None else np.unique(groups, return_inverse=True)[1]
        parts = []
        for rows in _blocks(len(far), len(near)):
            similarity = far[rows] @ near.T  # (rows, S)
            if left_out:
                similarity[own[rows, None] == own] = -np.inf
            chosen = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
            cosine = np.take_along_axis(similarity, chosen, axis=1).astype(np.float64)
            best = cosine.max(axis=1, keepdims=True)
            # One group may be all there is: its weights are then equal rather than undefined.
            gap = np.where(np.isfinite(best), cosine - np.where(np.isfinite(best), best, 0), 0)
            weights = np.exp(gap / (self.temperature / 2))
            weights /= weights.sum(axis=1, keepdims=True)
            parts.append(_combine(weights, labels[chosen], task))
        return np.concatenate(parts)


def _directions(train: Array, test: Array, by_column: bool) -> tuple[Array, Array]:
    """Return unit vectors (S, F + 1) and (S_test, F + 1), centred and scaled by `train` alone."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(with_std=by_column).fit(train)
    near, far = scaler.transform(train), scaler.transform(test)
    rms = float(np.sqrt(np.mean(np.linalg.norm(near, axis=1) ** 2)))
    # A set of equal samples has no length of its own.
    return _unit(near, rms or 1.0), _unit(far, rms or 1.0)


def _unit(features: Array, constant: float) -> Array:
    column = np.full((len(features), 1), constant, dtype=features.dtype)
    longer = np.concatenate([features, column], axis=1)
    longer /= np.linalg.norm(longer, axis=1, keepdims=True)
    return longer


def _combine(weights: Floats, labels: Array, task: Task) -> Prediction:
    """Combine the labels of the neighbours, (rows, k) or (rows, k, L), by weights (rows, k)."""
    if task.kind == "regression":
        return np.asarray((weights * labels).sum(axis=1))
    if task.kind == "multilabel":
        return np.asarray((weights[:, :, None] * labels).sum(axis=1))
    votes = np.zeros((len(weights), len(task.classes)))
    np.add.at(votes, (np.arange(len(weights))[:, None], labels), weights)
    return np.asarray(votes.argmax(axis=1))


def _blocks(num_rows: int, num_columns: int) -> Iterator[Index]:
    size = max(1, BLOCK // num_columns)
    for start in range(0, num_rows, size):
        yield np.arange(start, min(start + size, num_rows))
