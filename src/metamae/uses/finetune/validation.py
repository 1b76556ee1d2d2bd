"""Which labelled training samples early stopping watches, and whether there are enough of them."""

import numpy as np

from metamae.data.columns.base import Index
from metamae.errors import DataError
from metamae.evaluation.scoring.split import train_test
from metamae.evaluation.scoring.task import Array, Task

FEWEST = 5  # samples that a regression is watched by
# Share of samples whose class has one label, above which too many would be without a watch.
MOST_SINGLE = 0.1


def watch(
    y: Array, task: Task, *, share: float, groups: Array | None, seed: int
) -> tuple[Index, Index, str | None]:
    """Part labelled training samples into those to fit and those to stop by.

    Each class is on both sides, but for classes with one label, which are fitted. Groups stay
    whole.

    Args:
        y: Labels; all must be there.
        task: What they mean.
        share: Of the samples to watch; 0 for none.
        groups: Group of each sample.
        seed: Of the draw.

    Returns:
        Positions to fit, positions to watch (none if there are too few labels), and then why.
    """
    every = np.arange(len(y))
    nothing = every, every[:0]
    if share == 0:
        return *nothing, "no samples were kept to stop early by"
    rows = every
    if task.kind == "classification" and groups is None:
        held = np.bincount(y)
        rows = np.flatnonzero(held[y] > 1)
        if len(rows) < (1 - MOST_SINGLE) * len(y) or len(np.unique(y[rows])) < 2:
            return *nothing, "classes with one label leave none to stop early by"
    try:
        rng = np.random.default_rng([seed, 4])
        fit, watched = train_test(y[rows], task, test_share=share, groups=groups, rng=rng)
    except DataError:
        return *nothing, "the labels are in too few groups to stop early by some of them"
    fit, watched = rows[fit], rows[watched]
    if task.kind == "regression" and len(watched) < FEWEST:
        return *nothing, f"{len(y)} labels are too few to stop early by some of them"
    if task.kind == "classification" and groups is not None:
        lost = np.setdiff1d(y[rows], y[fit])
        if len(lost) or len(np.unique(y[watched])) < 2:
            return *nothing, "groups hold their classes alone, so that none can be stopped by"
    return np.setdiff1d(every, watched), watched, None
