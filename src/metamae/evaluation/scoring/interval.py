"""How far a score, or the difference of two, could be off: bootstrap intervals.

Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile
interval) and chapter 8 (which unit to resample); Owen, The pigeonhole bootstrap, Annals of
Applied Statistics 1(2), 2007 (two crossed factors).

The test samples are drawn again with replacement 1,000 times, the score is taken on each
resample, and the interval runs from the 2.5th to the 97.5th percentile. It needs no formula per
metric, stays within the range of the metric, and gives the difference of two representations
the same treatment: both are scored on the very same resamples, so that what makes a test sample
hard for both cancels out. Where test samples come in groups (patients, sites), whole groups are
drawn, because samples of one group are no independent evidence.

A score that is the mean over several draws of training labels has two crossed sources of
chance, the labels drawn and the test samples. Both are resampled, independently of each other:
each resample has its own multiset of draws and its own multiset of test samples, shared by all
draws in it. The result is slightly too wide rather than too narrow (Owen 2007).

What it does not hold: the chance in a single fit on all labels, and it is too narrow for a
handful of test samples (if all of five are right it is the point 1.0).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from metamae.errors import DataError
from metamae.evaluation.scoring.metrics import Floats, Metric
from metamae.evaluation.scoring.task import Array, Prediction

RESAMPLES = 1000
# Counts held at once, 3 MB of them: what fits a processor's cache was the fastest size tried.
BLOCK = 400_000

Interval = tuple[float, float]


def mean_score(metric: Metric, y: Array, predictions: Sequence[Prediction]) -> float:
    """Return the mean score over the draws, each one prediction for all samples of `y`."""
    return float(np.mean([metric.score(y, p) for p in predictions]))


def resampled_scores(
    metric: Metric,
    y: Array,
    systems: Mapping[str, Sequence[Prediction]],
    rng: np.random.Generator,
    *,
    groups: Array | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Floats]:
    """Score several systems on the same bootstrap resamples.

    Args:
        metric: What to compute.
        y: Test labels.
        systems: Name -> one prediction per draw of training labels; equally many for each.
        rng: Source of the resamples.
        groups: Group of every test sample, (S,); whole groups are then resampled.
        resamples: How many.

    Returns:
        Name -> score of each resample, (resamples,).

    Raises:
        DataError: If the systems have different numbers of draws or of samples.
    """
    lengths = {len(predictions) for predictions in systems.values()}
    sizes = {len(p) for predictions in systems.values() for p in predictions}
    if len(lengths) != 1 or sizes != {len(y)}:
        raise DataError(
            f"Systems that are compared must have equally many draws and a prediction for each "
            f"of the {len(y)} test samples; got {sorted(lengths)} draws, {sorted(sizes)} samples."
        )
    (num_draws,) = lengths
    drawn = rng.multinomial(num_draws, np.full(num_draws, 1 / num_draws), size=resamples)
    share = drawn / num_draws  # (resamples, draws), rows sum to 1
    scores: dict[str, list[Floats]] = {name: [] for name in systems}
    start = 0
    for counts in _counts(len(y), groups, rng, resamples):
        rows = share[start : start + len(counts)]
        start += len(counts)
        for name, predictions in systems.items():
            each = np.stack([metric.resampled(y, p, counts) for p in predictions], axis=1)
            scores[name].append((each * rows).sum(axis=1))
    return {name: np.concatenate(parts) for name, parts in scores.items()}


def percentile_interval(scores: Floats) -> Interval:
    """Return where the middle 95 % of the resampled scores lie."""
    low, high = np.percentile(scores, (2.5, 97.5))
    return float(low), float(high)


def mean_interval(values: Floats) -> Interval:
    """Return the 95 % interval of the mean of independent values, (n,); always the same one."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(values), (RESAMPLES, len(values)))
    return percentile_interval(values[drawn].mean(axis=1))


def bootstrap_interval(
    metric: Metric,
    y: Array,
    predictions: Sequence[Prediction],
    rng: np.random.Generator,
    *,
    groups: Array | None = None,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the 95 % interval of `mean_score`; the arguments are those of `resampled_scores`."""
    systems = {"": predictions}
    return percentile_interval(
        resampled_scores(metric, y, systems, rng, groups=groups, resamples=resamples)[""]
    )


def paired_difference(
    metric: Metric,
    y: Array,
    first: Sequence[Prediction],
    second: Sequence[Prediction],
    rng: np.random.Generator,
    *,
    groups: Array | None = None,
    resamples: int = RESAMPLES,
) -> tuple[float, float, float]:
    """Compare two systems on the same test samples and the same draws of training labels.

    Args:
        metric: What to compute.
        y: Test labels.
        first: One prediction per draw.
        second: As many, from the same draws in the same order.
        rng: Source of the resamples.
        groups: Group of every test sample, (S,); whole groups are then resampled.
        resamples: How many.

    Returns:
        Score of `first` minus score of `second`, and the ends of its 95 % interval.
    """
    systems = {"first": first, "second": second}
    scores = resampled_scores(metric, y, systems, rng, groups=groups, resamples=resamples)
    difference = mean_score(metric, y, first) - mean_score(metric, y, second)
    return difference, *percentile_interval(scores["first"] - scores["second"])


def _counts(
    num: int, groups: Array | None, rng: np.random.Generator, resamples: int
) -> Iterator[Floats]:
    """Yield how often each sample occurs in each resample, in blocks of (some, num)."""
    codes = np.arange(num) if groups is None else np.unique(groups, return_inverse=True)[1]
    num_units = int(codes.max()) + 1
    block = max(1, BLOCK // num)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, num_units, size=(size, num_units))
        drawn += np.arange(size)[:, None] * num_units
        counts = np.bincount(drawn.ravel(), minlength=size * num_units)
        yield counts.reshape(size, num_units)[:, codes].astype(np.float64)
