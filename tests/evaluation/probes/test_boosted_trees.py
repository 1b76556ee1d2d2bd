"""Boosted trees: what is left out where there is much, and what is kept where there is little."""

import numpy as np

from metamae.evaluation.probes.base import Labelled
from metamae.evaluation.probes.boosted_trees import BoostedTrees
from metamae.evaluation.scoring.task import infer_task


def predict(evaluation, features, codes, seed=0):
    task, y = infer_task(codes, "y")
    half = len(y) // 2
    return (
        evaluation.fit_predict(
            Labelled(features[:half], y[:half]), features[half:], task, np.random.default_rng(seed)
        )
        == y[half:]
    ).mean()


def test_what_no_line_can_tell_apart():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 2))
    assert predict(BoostedTrees(), features, (features.prod(axis=1) > 0).astype(int)) > 0.9


def test_of_very_many_columns_some_are_drawn():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2, 400)
    features = rng.normal(size=(400, 40)) + 2.0 * codes[:, None]
    seen = []

    class Watched(BoostedTrees):
        def _one(self, inside, *rest):
            seen.append(inside)
            return super()._one(inside, *rest)

    assert predict(Watched(max_columns=10), features, codes) > 0.95
    predict(Watched(max_columns=10), features, codes, seed=1)
    predict(Watched(max_columns=40), features, codes)
    assert [part.shape[1] for part in seen] == [10, 10, 40]
    assert not np.array_equal(seen[0], seen[1])
    columns = {column.tobytes() for column in features[:200].T}
    assert all(column.tobytes() in columns for column in seen[0].T)
