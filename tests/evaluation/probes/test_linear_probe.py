import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from metamae.errors import ConfigError
from metamae.evaluation.probes import linear_probe
from metamae.evaluation.probes.base import Labelled
from metamae.evaluation.probes.linear_probe import (
    INVERSE_STRENGTHS,
    STRENGTHS,
    LinearProbe,
    _Coordinates,
    _logistic_path,
    _ridge_path,
)
from metamae.evaluation.scoring.task import Task, infer_task

CLASSES = Task("classification", ("a", "b", "c"), "y")
NUMBER = Task("regression", (), "y")
SEVERAL = Task("multilabel", ("a", "b"), "y")


def rng(seed=0):
    return np.random.default_rng(seed)


def wide(num=40, width=120):
    """More features than samples, some constant, labels partly learnable."""
    features = rng(1).normal(size=(2 * num, width)) @ rng(2).normal(size=(width, width)) + 3
    features[:, :5] = 1.7
    y = np.argmax(features[:, 5:8] + 9 * rng(3).normal(size=(2 * num, 3)), axis=1)
    return features[:num], y[:num], features[num:]


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0])
def test_rotation_gives_the_same_logistic_predictions(strength):
    train, y, test = wide()
    onto = _Coordinates.fit(train)
    assert onto(train).shape == (40, 39)  # centred samples span one direction less
    (turned,) = _logistic_path(onto(train), y, onto(test), [strength], 5000, "decision_function")
    scaler = StandardScaler().fit(train)
    plain = LogisticRegression(C=strength, max_iter=5000, tol=1e-8)
    plain.fit(scaler.transform(train), y)
    expected = plain.decision_function(scaler.transform(test))
    np.testing.assert_allclose(turned, expected, atol=1e-2 * np.abs(expected).max())
    np.testing.assert_array_equal(turned.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("width", [4, 120])
def test_ridge_predictions_equal_those_of_plain_ridge(width):
    train, _, test = wide(width=max(width, 8))
    train, test = train[:, -width:], test[:, -width:]
    y = 50 + 3 * train[:, 0] + rng(4).normal(size=40)
    onto = _Coordinates.fit(train)
    scaler = StandardScaler().fit(train)
    for strength, found in zip(
        STRENGTHS, _ridge_path(onto(train), y, onto(test), STRENGTHS), strict=True
    ):
        plain = Ridge(alpha=40 * strength, solver="svd").fit(scaler.transform(train), y)
        np.testing.assert_allclose(found, plain.predict(scaler.transform(test)), rtol=1e-6)


def test_coordinates_are_standardised_by_the_training_samples_alone(monkeypatch):
    monkeypatch.setattr(linear_probe, "BLOCK", 100)  # blocks of a few rows
    train, _, test = wide(width=10)
    scaler = StandardScaler().fit(train)
    onto = _Coordinates.fit(train)
    np.testing.assert_allclose(onto(test), scaler.transform(test))
    assert onto(test.astype(np.float32)).dtype == np.float32


def test_a_warm_start_ends_where_a_cold_one_does():
    train, y, test = wide(num=60, width=10)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    warm = list(_logistic_path(train, y, test, INVERSE_STRENGTHS, 5000, "decision_function"))
    for strength, found in zip(INVERSE_STRENGTHS, warm, strict=True):
        cold = LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(train, y)
        np.testing.assert_allclose(found, cold.decision_function(test), atol=2e-2)


def position(features, y, task, groups=None, **settings):
    probe = LinearProbe(**settings)
    return probe._choose(features, Labelled(features, y, groups), task, rng())


def test_noise_asks_for_strong_and_plain_signal_for_weak_regularisation():
    features = rng(5).normal(size=(300, 100))
    weights = rng(6).normal(size=100)
    assert position(features, rng(7).normal(size=300), NUMBER) == 0
    assert position(features, features @ weights, NUMBER) >= 5
    assert position(features, (features @ weights > 0).astype(int), CLASSES) >= 2


def test_equal_scores_take_the_strongest_and_the_search_stops():
    seen = []

    class Watched(LinearProbe):
        def _path(self, inside, y, outside, task, positions):
            for i, prediction in zip(
                positions, super()._path(inside, y, outside, task, positions), strict=True
            ):
                seen.append(i)
                yield prediction

    y = np.repeat([0, 1], 50)
    features = np.repeat([[-1.0], [1.0]], 50, axis=0)
    train = Labelled(features, y)
    assert Watched()._choose(features, train, CLASSES, rng()) == 0
    assert sorted(set(seen)) == [0, 1, 2]


@pytest.mark.parametrize("num, fits", [(100, 6), (600, 2)])
def test_small_sets_choose_by_folds_and_large_ones_by_one_hold_out(num, fits):
    sizes = []

    class Watched(LinearProbe):
        def _path(self, inside, y, outside, task, positions):
            sizes.append(len(inside))
            return super()._path(inside, y, outside, task, positions)

    features = rng(8).normal(size=(num, 3))
    y = np.arange(num) % 2
    Watched().fit_predict(Labelled(features, y), features, CLASSES, rng())
    assert sizes == [num * 4 // 5] * (fits - 1) + [num]


def test_one_label_per_class_uses_the_fixed_strength():
    features = np.eye(3)
    assert position(features, np.arange(3), CLASSES) == linear_probe.DEFAULT_POSITION
    guess = LinearProbe().fit_predict(Labelled(features, np.arange(3)), features, CLASSES, rng())
    assert guess.tolist() == [0, 1, 2]


def test_the_choice_respects_groups():
    # Every group has an offset of its own that tells its target exactly, and only its own.
    groups = np.repeat(np.arange(40), 5)
    offsets = rng(9).normal(size=(40, 34))
    features = offsets[groups] + 0.01 * rng(10).normal(size=(200, 34))
    y = rng(11).normal(size=40)[groups]
    assert position(features, y, NUMBER) > 3
    assert position(features, y, NUMBER, groups) <= 1


def test_labels_are_fitted_one_by_one_with_one_strength():
    features = rng(12).normal(size=(200, 5))
    y = (features[:, :2] + rng(13).normal(size=(200, 2)) > 0).astype(int)
    train, test = Labelled(features[:150], y[:150]), features[150:]
    scores = LinearProbe().fit_predict(train, test, SEVERAL, rng())
    scaler = StandardScaler().fit(train.features)
    inside, outside = scaler.transform(train.features), scaler.transform(test)
    strength = INVERSE_STRENGTHS[LinearProbe()._choose(inside, train, SEVERAL, rng())]
    for column, found in zip(train.labels.T, scores.T, strict=True):
        plain = LogisticRegression(C=strength, tol=1e-8).fit(inside, column)
        np.testing.assert_allclose(found, plain.decision_function(outside), atol=1e-2)


def test_weak_fits_that_do_not_converge_stay_silent():
    task, y = infer_task(np.repeat(["a", "b"], 20), "y")
    features = rng(14).normal(size=(40, 60))
    guess = LinearProbe(max_iter=1).fit_predict(Labelled(features, y), features, task, rng())
    assert guess.shape == (40,)


@pytest.mark.parametrize("setting", ["folds", "hold_out_from", "max_iter"])
def test_bad_settings_are_refused(setting):
    with pytest.raises(ConfigError, match=rf"LinearProbe.{setting} must be a whole number"):
        LinearProbe(**{setting: 0})


def test_models_that_always_say_the_same_do_not_end_the_search():
    # Tiny features beside a rare class: the strong ones call everything by the common name.
    y = (np.arange(200) % 5 == 0).astype(int)
    features = (y[:, None] + rng(9).normal(size=(200, 1)) * 0.4).astype(float)
    noise = rng(10).normal(size=(200, 3))
    assert position(np.hstack([features, noise]), y, CLASSES) >= 2
