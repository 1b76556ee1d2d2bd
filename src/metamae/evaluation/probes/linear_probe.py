"""Linear models on frozen features: logistic regression, ridge regression, one model per label.

Source: Kornblith et al., CVPR 2019, arXiv:1805.08974, appendix A.3 (multinomial logistic
regression by L-BFGS, its L2 strength from a logarithmic grid by a validation part of the
training set, then refitted on all of it).
Differs: a coarser grid; features are standardised; small training sets choose by
cross-validation; the search goes from strong to weak, each fit starting from the one before, and
stops when two in a row do no better; models that always say the same do not count.

S is the number of training samples, F the number of features, L the number of labels.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least
from metamae.evaluation.probes.base import Evaluation, Labelled
from metamae.evaluation.scoring.metrics import primary
from metamae.evaluation.scoring.split import validation_folds
from metamae.evaluation.scoring.task import Array, Prediction, Task

# From strong to weak. C is the inverse of the L2 strength against the summed loss.
INVERSE_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)
# Ridge: L2 strength per training sample, against the squared error of a standardised target.
STRENGTHS = (1e2, 1e1, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
# Used where there is too little to choose by, such as one label per class: on the strong side,
# where the model leans to the class means.
DEFAULT_POSITION = 2
# Fits after a gain that gain no more, after which weaker ones are not tried. Ridge regression
# solves for all strengths at once, and tries them all.
PATIENCE = 2
# Training values below which a fit stays on one thread.
SMALL = 5 * 10**7
# Values projected at once, 64 MB of float64.
BLOCK = 2**23


class LinearProbe(Evaluation):
    """L2-regularised linear model whose strength is chosen on the training samples alone.

    Args:
        folds: Parts for cross-validation of small training sets.
        hold_out_from: Training samples from which one hold-out of 20 % chooses instead.
        max_iter: Steps of L-BFGS per fit; what has not converged by then is used as it is.
    """

    description: ClassVar[str] = "Linear model on frozen features, regularised by validation."

    def __init__(self, *, folds: int = 5, hold_out_from: int = 500, max_iter: int = 300):
        self.folds = check_at_least("LinearProbe.folds", folds, 2)
        self.hold_out_from = check_at_least("LinearProbe.hold_out_from", hold_out_from, 2)
        self.max_iter = check_at_least("LinearProbe.max_iter", max_iter, 1)

    def fit_predict(
        self, train: Labelled, test_features: Array, task: Task, rng: np.random.Generator
    ) -> Prediction:
        from threadpoolctl import threadpool_limits

        onto = _Coordinates.fit(train.features)
        inside, outside = onto(train.features), onto(test_features)
        # A step multiplies by a few columns only, which the memory limits: a second thread won
        # nothing with 10 million values on two idle cores, and on busy ones cost eight times more.
        with threadpool_limits(1 if inside.size < SMALL else None):
            position = self._choose(inside, train, task, rng)
            (prediction,) = self._path(inside, train.labels, outside, task, [position])
        return prediction

    def _choose(
        self, features: Array, train: Labelled, task: Task, rng: np.random.Generator
    ) -> int:
        """Return the position of the strength that validates best; of equals, the strongest."""
        y = train.labels
        pairs = validation_folds(
            y,
            task,
            groups=train.groups,
            rng=rng,
            folds=self.folds,
            hold_out_from=self.hold_out_from,
        )
        if not pairs:
            return DEFAULT_POSITION
        metric = primary(task)
        truth = np.concatenate([y[outside] for _, outside in pairs])
        positions = range(len(STRENGTHS))
        paths = [self._path(features[a], y[a], features[b], task, positions) for a, b in pairs]
        patience = len(positions) if task.kind == "regression" else PATIENCE
        best, best_score, informed = 0, -np.inf, 0
        for position, parts in zip(positions, zip(*paths, strict=True), strict=True):
            predictions = np.concatenate(parts)
            score = metric.score(truth, predictions)
            score = score if metric.higher_is_better else -score
            if score > best_score:
                best, best_score = position, score
            if (predictions == predictions[0]).all():
                # A model that says the same of every sample is no reason to stop.
                informed = position + 1
            elif position - max(best, informed) >= patience:
                break
        return best

    def _path(
        self, inside: Array, y: Array, outside: Array, task: Task, positions: Sequence[int]
    ) -> Iterator[Prediction]:
        """Yield the predictions for `outside` at each position of the grid, fitted when asked."""
        if task.kind == "regression":
            return _ridge_path(inside, y, outside, [STRENGTHS[i] for i in positions])
        inverse = [INVERSE_STRENGTHS[i] for i in positions]
        if task.kind == "classification":
            return _logistic_path(inside, y, outside, inverse, self.max_iter, "predict")
        paths = [
            _logistic_path(inside, column, outside, inverse, self.max_iter, "decision_function")
            for column in y.T
        ]
        return (np.stack(scores, axis=1) for scores in zip(*paths, strict=True))


@dataclass(frozen=True)
class _Coordinates:
    """Standardised features, turned onto the space that the training samples span if F > S.

    Attributes:
        shift: Training means, (F,).
        scale: Training standard deviations, 1 for a constant column, (F,).
        axes: Orthonormal axes (F, rank) or None.
    """

    shift: Array
    scale: Array
    axes: Array | None

    @classmethod
    def fit(cls, features: Array) -> "_Coordinates":
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(features)
        shift, scale = scaler.mean_, scaler.scale_
        if features.shape[1] <= len(features):
            return cls(shift, scale, None)
        # An L2-regularised linear model has its weights in the span of the samples it was fitted
        # on, and turning the axes changes neither norms nor products. So S coordinates give the
        # same predictions as F, and few labels on raw images become a small problem.
        standard = (features - shift) / scale
        _, lengths, axes = np.linalg.svd(standard, full_matrices=False)
        kept = lengths > lengths[0] * 1e-10
        # All samples may be equal: one axis stays, along which nothing differs.
        kept[0] = True
        return cls(shift, scale, axes[kept].T)

    def __call__(self, features: Array) -> Array:
        # Float32 features stay so: on many samples that halves time and memory of the fits.
        num = features.shape[1] if self.axes is None else self.axes.shape[1]
        turned = np.empty((len(features), num), features.dtype)
        size = max(1, BLOCK // features.shape[1])
        for start in range(0, len(features), size):
            rows = slice(start, start + size)
            standard = (features[rows] - self.shift) / self.scale
            turned[rows] = standard if self.axes is None else standard @ self.axes
        return turned


def _logistic_path(
    inside: Array, y: Array, outside: Array, inverse: Sequence[float], max_iter: int, output: str
) -> Iterator[Array]:
    """Yield classes ("predict") or scores ("decision_function") from strong to weak."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(y)
    if len(present) == 1:
        # A fold or a small budget may lack a class or the positives of a label.
        for _ in inverse:
            yield np.full(len(outside), present[0])
        return
    model: Any = LogisticRegression(warm_start=True, max_iter=max_iter)
    for strength in inverse:
        with warnings.catch_warnings():
            # Weak strengths on separable samples have no optimum to converge to; the choice by
            # validation decides whether such a fit is of use.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=strength).fit(inside, y)
        yield getattr(model, output)(outside)


def _ridge_path(
    inside: Array, y: Array, outside: Array, strengths: Sequence[float]
) -> Iterator[Array]:
    from scipy.linalg import LinAlgWarning
    from sklearn.linear_model import Ridge

    mean, scale = y.mean(), y.std() or 1.0
    # One copy of the target per strength: scikit-learn then shares the products of the features.
    targets = np.repeat(((y - mean) / scale)[:, None], len(strengths), axis=1)
    model: Any = Ridge(alpha=len(y) * np.asarray(strengths), solver="cholesky")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)
        model.fit(inside.astype(np.float64), targets)
    predictions = model.predict(outside.astype(np.float64)).reshape(len(outside), -1)
    yield from (predictions * scale + mean).T
