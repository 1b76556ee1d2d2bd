"""How well predictions fit labels, per kind of task; the first metric of each is the primary one.

No metric ever returns NaN. Where a sample, such as one bootstrap resample, lacks what a metric
needs, it falls back as follows: a class without test samples is left out of balanced accuracy; a
label without positives is left out of average precision, and one without positives or negatives
out of AUROC; if nothing is left the metric returns 0 (AUROC 0.5); R² of a constant target is 1
for exact predictions and else 0; the rank correlation of anything constant is 0.

S is the number of samples, R the number of resamples, L the number of labels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metamae.evaluation.scoring.task import Array, Prediction, Task

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One way to score predictions.

    Attributes:
        name: What reports call it.
        score: (labels, prediction) -> score.
        chance: (training labels, test labels) -> score of an honest guess without features.
        weighted: (labels, prediction, counts (R, S)) -> scores (R,) of resamples in which
            sample s occurs counts[r, s] times, all at once. None: one after the other.
        higher_is_better: Direction.
    """

    name: str
    score: Callable[[Array, Prediction], float]
    chance: Callable[[Array, Array], float]
    weighted: Callable[[Array, Prediction, Floats], Floats] | None = None
    higher_is_better: bool = True

    def resampled(self, y: Array, prediction: Prediction, counts: Floats) -> Floats:
        """Return the score of every resample, (R,).

        Args:
            y: Labels.
            prediction: What a probe says.
            counts: How often each sample occurs in each resample, (R, S).
        """
        if self.weighted is not None:
            return self.weighted(y, prediction, counts)
        chosen = [np.repeat(np.arange(len(y)), row.astype(np.int64)) for row in counts]
        return np.array([self.score(y[rows], prediction[rows]) for rows in chosen])


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """Return the metrics of a task, the primary one first."""
    return METRICS[task.kind]


def primary(task: Task) -> Metric:
    """Return the metric that decides."""
    return METRICS[task.kind][0]


def _accuracies(y: Array, prediction: Prediction, counts: Floats) -> Floats:
    scores: Floats = counts @ (y == prediction).astype(np.float64) / counts.sum(axis=1)
    return scores


def accuracy(y: Array, prediction: Prediction) -> float:
    """Share of samples whose class is right."""
    return float(np.mean(y == prediction))


def balanced_accuracy(y: Array, prediction: Prediction) -> float:
    """Mean over the classes in `y` of the share of their samples that is found."""
    from sklearn.metrics import recall_score

    present = np.unique(y)
    return float(recall_score(y, prediction, labels=present, average="macro", zero_division=0.0))


def macro_f1(y: Array, prediction: Prediction) -> float:
    """Mean F1 over the classes that occur in the labels or in the predictions."""
    from sklearn.metrics import f1_score

    return float(f1_score(y, prediction, average="macro", zero_division=0.0))


def _r2s(y: Array, prediction: Prediction, counts: Floats) -> Floats:
    centred = y - y.mean()  # else the difference of squares below loses its digits
    total = counts.sum(axis=1)
    square = counts @ centred**2
    spread = square - (counts @ centred) ** 2 / total
    error = counts @ (y - prediction) ** 2
    constant = spread <= 1e-12 * square
    ratio = error / np.where(constant, 1.0, spread)
    scores: Floats = np.where(constant, np.where(error == 0, 1.0, 0.0), 1.0 - ratio)
    return scores


def r2(y: Array, prediction: Prediction) -> float:
    """Share of the variance explained; 0 for predicting the mean, and without a lower bound."""
    return float(_r2s(y, prediction, np.ones((1, len(y))))[0])


def spearman(y: Array, prediction: Prediction) -> float:
    """Rank correlation, -1 to 1."""
    from scipy.stats import rankdata

    if np.ptp(y) == 0 or np.ptp(prediction) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(y), rankdata(prediction))[0, 1])


def _average_precisions(y: Array, prediction: Prediction, counts: Floats) -> Floats:
    columns = np.ascontiguousarray(counts.T)  # (S, R): sorting then moves whole rows
    total, num_labels = np.zeros(len(counts)), np.zeros(len(counts))
    for truth, score in zip(y.T, prediction.T, strict=True):
        order = np.argsort(-score, kind="stable")
        positive = np.flatnonzero(truth[order])
        # Samples with equal scores come together: only where the score changes is there a
        # threshold, so that no order within a tie can flatter.
        ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
        threshold = ends[np.searchsorted(ends, positive)]
        last = np.searchsorted(positive, threshold, side="right") - 1
        named = np.cumsum(columns[order], axis=0)[threshold]  # (positives, R)
        gained = columns[order[positive]]
        found = np.cumsum(gained, axis=0)[last]
        positives = gained.sum(axis=0)
        total += (gained * found / np.maximum(named, 1)).sum(axis=0) / np.maximum(positives, 1)
        num_labels += positives > 0
    return total / np.maximum(num_labels, 1)


def macro_average_precision(y: Array, prediction: Prediction) -> float:
    """Mean over the labels of the area under the precision-recall steps."""
    return float(_average_precisions(y, prediction, np.ones((1, len(y))))[0])


def macro_auroc(y: Array, prediction: Prediction) -> float:
    """Mean over the labels of the chance that a positive outranks a negative."""
    from sklearn.metrics import roc_auc_score

    varied = np.flatnonzero((y.min(axis=0) == 0) & (y.max(axis=0) == 1))
    if len(varied) == 0:
        return 0.5
    return float(np.mean([roc_auc_score(y[:, i], prediction[:, i]) for i in varied]))


def _majority(y_train: Array, y_test: Array) -> Prediction:
    """Guess the commonest training class for every test sample."""
    return np.full(len(y_test), np.bincount(y_train).argmax())


def _prevalence(y_train: Array, y_test: Array) -> float:
    shares = y_test.mean(axis=0)
    return float(shares[shares > 0].mean()) if (shares > 0).any() else 0.0


METRICS: dict[str, tuple[Metric, ...]] = {
    "classification": (
        Metric("accuracy", accuracy, lambda a, b: accuracy(b, _majority(a, b)), _accuracies),
        Metric("balanced_accuracy", balanced_accuracy, lambda a, b: 1 / len(np.unique(b))),
        Metric("macro_f1", macro_f1, lambda a, b: macro_f1(b, _majority(a, b))),
    ),
    "regression": (
        Metric("r2", r2, lambda a, b: 0.0, _r2s),
        Metric("spearman", spearman, lambda a, b: 0.0),
    ),
    "multilabel": (
        Metric(
            "macro_average_precision", macro_average_precision, _prevalence, _average_precisions
        ),
        Metric("macro_auroc", macro_auroc, lambda a, b: 0.5),
    ),
}
