"""What every registered evaluation must do, on every kind of task."""

import numpy as np
import pytest

from metamae.evaluation.probes import EVALUATIONS
from metamae.evaluation.probes.base import Evaluation, Labelled
from metamae.evaluation.scoring.metrics import primary
from metamae.evaluation.scoring.task import KINDS, Task, infer_task

# The probe of DABS has one rate and one number of epochs, whatever the features: it is there to
# compare with published numbers, and is not asked to be right.
SOUND = sorted(EVALUATIONS.entries.keys() - {"dabs_probe"})
every = pytest.mark.parametrize("name", sorted(EVALUATIONS.entries))
sound = pytest.mark.parametrize("name", SOUND)
kinds = pytest.mark.parametrize("kind", KINDS)


def separable(kind, num, rng, width=6):
    """Labels, and features that hold them plainly."""
    hidden = rng.normal(size=(num, width))
    if kind == "classification":
        codes = rng.integers(0, 3, num)
        hidden[np.arange(num), codes] += 6
        values = np.array(["ash", "beech", "cedar"])[codes]
    elif kind == "regression":
        # On a curve, so that neighbours know the target as well as a line does.
        values = rng.uniform(-3, 3, num)
        hidden = values[:, None] * np.ones(width) + 0.1 * hidden
    else:
        values = rng.integers(0, 2, (num, 3))
        hidden[:, :3] += 6 * values
    task, y = infer_task(values, "tree")
    return task, y, hidden


def predict(name, train, y, test, task, groups=None, seed=0):
    evaluation = EVALUATIONS.build(name)
    return evaluation.fit_predict(
        Labelled(train, y, groups), test, task, np.random.default_rng(seed)
    )


@every
def test_an_entry_is_named_and_described(name):
    evaluation = EVALUATIONS.build(name)
    assert isinstance(evaluation, Evaluation)
    assert evaluation.name == name
    assert evaluation.description.endswith(".") and "\n" not in evaluation.description


@sound
@kinds
def test_near_perfect_on_separable_features_and_near_chance_on_shuffled_labels(name, kind):
    rng = np.random.default_rng(0)
    task, y, features = separable(kind, 600, rng)
    metric = primary(task)
    train, test = slice(0, 300), slice(300, 600)
    guess = predict(name, features[train], y[train], features[test], task)
    assert metric.score(y[test], guess) > 0.95
    shuffled = rng.permutation(y)
    guess = predict(name, features[train], shuffled[train], features[test], task)
    chance = metric.chance(shuffled[train], shuffled[test])
    assert metric.score(shuffled[test], guess) == pytest.approx(chance, abs=0.12)


@sound
@kinds
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_awkward_features_do_no_harm(name, kind, dtype):
    rng = np.random.default_rng(1)
    task, y, features = separable(kind, 200, rng)
    awkward = np.concatenate(
        [np.full((200, 2), 0.1), features * [1e-4, 1, 1e4, 1, 1, 1] + 50], axis=1
    ).astype(dtype)
    guess = predict(name, awkward[:100], y[:100], awkward[100:], task)
    assert np.isfinite(guess).all()
    assert primary(task).score(y[100:], guess) > 0.9


@every
@kinds
@pytest.mark.parametrize("num", [2, 3, 7])
def test_few_samples_and_one_or_equal_features(name, kind, num):
    rng = np.random.default_rng(2)
    task, y, features = separable(kind, 40, rng)
    first = np.concatenate([np.unique(y[:, 0] if y.ndim > 1 else y, return_index=True)[1], [0] * 9])
    y = y[first[:num]]
    for train in (features[first[:num], :1], np.ones((num, 4)), np.repeat(features[:num], 9, 1)):
        guess = predict(name, train, y, train, task)
        assert np.isfinite(guess).all()
        assert guess.shape == y.shape


@sound
def test_a_class_without_training_samples_is_no_obstacle(name):
    task = Task("classification", ("a", "b", "c"), "y")
    features = np.random.default_rng(3).normal(size=(30, 2))
    y = np.repeat([0, 2], 15)
    features[15:] += 8
    assert (predict(name, features, y, features, task) == y).all()
    assert (predict(name, features, np.full(30, 1), features, task) == 1).all()


@every
def test_a_label_without_positives_is_no_obstacle(name):
    task, y, features = separable("multilabel", 100, np.random.default_rng(4))
    y[:, 1] = 0
    assert np.isfinite(predict(name, features, y, features, task)).all()


@sound
@kinds
def test_unbalanced_and_grouped_samples(name, kind):
    task, y, features = separable(kind, 150, np.random.default_rng(5))
    if kind == "classification":
        keep = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:1]])
        y, features = y[keep], features[keep]
    for groups in (np.arange(len(y)) % 7, np.zeros(len(y)), np.array(["x", "y"] * 75)[: len(y)]):
        guess = predict(name, features, y, features, task, groups)
        assert primary(task).score(y, guess) > 0.9


@every
@kinds
def test_the_same_generator_gives_the_same_predictions(name, kind):
    task, y, features = separable(kind, 100, np.random.default_rng(6))
    noisy = features + 3 * np.random.default_rng(7).normal(size=features.shape)
    first, again = (predict(name, noisy[:50], y[:50], noisy[50:], task) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@every
@kinds
def test_one_test_sample_does_not_change_another(name, kind):
    task, y, features = separable(kind, 100, np.random.default_rng(8))
    together = predict(name, features[:60], y[:60], features[60:], task)
    alone = predict(name, features[:60], y[:60], features[70:71], task)
    np.testing.assert_allclose(together[10], alone[0], rtol=1e-10)
