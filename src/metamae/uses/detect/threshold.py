"""When to raise an alarm, and how well scores tell normal from not normal samples.

S is the number of samples, R that of bootstrap resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metamae.evaluation.scoring.interval import Interval, percentile_interval, resampled_scores
from metamae.evaluation.scoring.metrics import Metric
from metamae.evaluation.scoring.task import Array

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Alarm:
    """A score above which a sample is reported.

    Attributes:
        threshold: The score; infinite where no threshold can promise the rate.
        false_alarms: Share of normal samples that may be reported.
        num_normal: Normal samples that it was taken from, none of them learnt from.
    """

    threshold: float
    false_alarms: float
    num_normal: int

    @property
    def kept(self) -> bool:
        """Whether there were enough normal samples to promise the rate."""
        return bool(np.isfinite(self.threshold))

    def raised(self, scores: Floats) -> NDArray[np.bool_]:
        """Say which samples are reported, (S,)."""
        return np.asarray(scores > self.threshold)


def threshold_at(scores: Floats, false_alarms: float) -> Alarm:
    """Choose the threshold that a new normal sample exceeds at most so often.

    With n scores of normal samples that the detector did not learn from, a new normal sample lies
    above the k-th smallest with a chance of at most 1 - k / (n + 1), whatever their distribution
    (Vovk et al., Algorithmic Learning in a Random World, 2005). Fewer than 1 / rate - 1 scores
    can promise no such rate.

    Args:
        scores: Of normal samples, (n,).
        false_alarms: The rate, strictly between 0 and 1.
    """
    num = len(scores)
    # A hair less, so that 0.99 * 100 does not round up to 100.
    k = int(np.ceil((1 - false_alarms) * (num + 1) - 1e-9))
    found = float("inf") if k > num else float(np.sort(scores)[max(k, 1) - 1])
    return Alarm(found, false_alarms, num)


@dataclass(frozen=True)
class Told:
    """How well scores tell apart what is labelled.

    Attributes:
        auroc: Chance that a sample that is not normal scores higher than a normal one.
        auroc_interval: 95 % bootstrap interval over the samples.
        aupr: Mean precision over the samples that are not normal, as they are found.
        aupr_interval: Likewise.
    """

    auroc: float
    auroc_interval: Interval
    aupr: float
    aupr_interval: Interval


def judge_scores(
    unusual: NDArray[np.bool_],
    systems: Mapping[str, Floats],
    rng: np.random.Generator,
    *,
    groups: Array | None = None,
) -> dict[str, Told]:
    """Measure several systems on the same samples and bootstrap resamples.

    Args:
        unusual: True for samples that are not normal, (S,); both kinds occur.
        systems: Name -> scores (S,), higher for stranger.
        rng: Of the resamples.
        groups: Group of each sample, (S,); whole groups are then resampled.
    """
    y = unusual.astype(np.int64)
    lists = {name: [scores] for name, scores in systems.items()}
    stream = rng.integers(2**32)
    roc, pr = (
        resampled_scores(metric, y, lists, np.random.default_rng(stream), groups=groups)
        for metric in (AUROC, AUPR)
    )
    return {
        name: Told(
            AUROC.score(y, scores),
            percentile_interval(roc[name]),
            AUPR.score(y, scores),
            percentile_interval(pr[name]),
        )
        for name, scores in systems.items()
    }


def _sorted(scores: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order from the highest score to the lowest, and where each run of equal ones begins."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(scores[order]) != 0))
    return order, starts


def _aurocs(y: Array, scores: Array, counts: Floats) -> Floats:
    order, starts = _sorted(scores)
    positive = np.add.reduceat(counts[:, order] * y[order], starts, axis=1)
    negative = np.add.reduceat(counts[:, order] * (1 - y[order]), starts, axis=1)
    below = negative.sum(axis=1, keepdims=True) - np.cumsum(negative, axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    won = (positive * (below + negative / 2)).sum(axis=1)
    found: Floats = np.where(pairs > 0, won / np.maximum(pairs, 1), 0.5)
    return found


def _auprs(y: Array, scores: Array, counts: Floats) -> Floats:
    order, starts = _sorted(scores)
    positive = np.add.reduceat(counts[:, order] * y[order], starts, axis=1)
    every = np.add.reduceat(counts[:, order], starts, axis=1)
    precision = np.cumsum(positive, axis=1) / np.maximum(np.cumsum(every, axis=1), 1)
    total = positive.sum(axis=1)
    found: Floats = (positive * precision).sum(axis=1) / np.maximum(total, 1)
    return found


AUROC = Metric("auroc", lambda y, s: float(_aurocs(y, s, _once(y))[0]), lambda a, b: 0.5, _aurocs)
AUPR = Metric(
    "aupr",
    lambda y, s: float(_auprs(y, s, _once(y))[0]),
    lambda a, b: float(np.mean(b)),
    _auprs,
)


def _once(y: Array) -> Floats:
    return np.ones((1, len(y)))
