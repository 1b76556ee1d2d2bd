import numpy as np
import pytest

from metamae.errors import ConfigError
from metamae.evaluation.probes import knn
from metamae.evaluation.probes.base import Labelled
from metamae.evaluation.probes.knn import KNN
from metamae.evaluation.scoring.task import KINDS, Task, infer_task

TASKS = {
    "classification": Task("classification", ("a", "b", "c"), "y"),
    "regression": Task("regression", (), "y"),
    "multilabel": Task("multilabel", ("a", "b"), "y"),
}


def data(kind, num=90, width=5, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num, width)) * [1, 2, 3, 4, 5][:width] + 7
    shape = (num, 2) if kind == "multilabel" else num
    y = rng.normal(size=num) if kind == "regression" else rng.integers(0, 2, shape)
    return features[:60], y[:60], features[60:]


def naive(train, y, test, task, k, temperature, by_column):
    mean, std = train.mean(0), train.std(0) if by_column else 1
    train, test = (train - mean) / std, (test - mean) / std
    constant = np.sqrt(np.mean([t @ t for t in train]))
    answers = []
    for sample in test:
        a = np.append(sample, constant)
        cosines = []
        for other in train:
            b = np.append(other, constant)
            cosines.append(a @ b / np.sqrt((a @ a) * (b @ b)))
        near = sorted(range(len(train)), key=lambda i: -cosines[i])[:k]
        weights = np.array([np.exp(cosines[i] / (temperature / 2)) for i in near])
        weights /= weights.sum()
        if task.kind == "classification":
            votes = [
                sum(w for w, i in zip(weights, near, strict=True) if y[i] == c) for c in range(3)
            ]
            answers.append(int(np.argmax(votes)))
        else:
            answers.append(sum(w * y[i] for w, i in zip(weights, near, strict=True)))
    return np.array(answers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaling", ["columns", "none"])
def test_predictions_equal_those_of_a_plain_loop(kind, scaling, monkeypatch):
    monkeypatch.setattr(knn, "BLOCK", 60 * 7)  # 30 test samples in five blocks
    train, y, test = data(kind)
    evaluation = KNN(k=5, temperature=0.2, scaling=scaling)
    guess = evaluation.fit_predict(Labelled(train, y), test, TASKS[kind], np.random.default_rng(0))
    expected = naive(train, y, test, TASKS[kind], 5, 0.2, scaling == "columns")
    np.testing.assert_allclose(guess, expected)


def test_between_equal_norms_the_weights_are_those_of_the_source():
    rng = np.random.default_rng(1)
    half = rng.normal(size=(30, 4))
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    train = np.concatenate([half, -half])  # centred, all of norm 1
    y, test = rng.normal(size=60), half[:5]
    guess = KNN(k=7, scaling="none").fit_predict(Labelled(train, y), test, TASKS["regression"], rng)
    for row, sample in zip(guess, test, strict=True):
        cosine = train @ sample
        near = np.argsort(-cosine)[:7]
        weights = np.exp(cosine[near] / 0.07)
        assert row == pytest.approx(weights @ y[near] / weights.sum())


@pytest.mark.parametrize("num, k", [(9, 3), (100, 10), (400, 20), (900, 20)])
def test_k_shrinks_with_the_training_set(num, k):
    # All samples but one are the same, and so is their weight: the mean shows how many counted.
    train, y = np.zeros((num, 1)), np.zeros(num)
    train[0], y[0] = 1e-3, 1.0
    evaluation = KNN(temperature=1e6, scaling="none")
    guess = evaluation.fit_predict(
        Labelled(train, y), train[:1], TASKS["regression"], np.random.default_rng(0)
    )
    assert guess[0] == pytest.approx(1 / k, rel=1e-4)


def test_scaling_is_chosen_where_it_helps():
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 400)
    units = rng.normal(size=(400, 2)) * [1e3, 1]  # a loud useless column, a quiet useful one
    units[:, 1] += 6 * y
    noise = rng.normal(size=(400, 60)) * 0.05  # a loud useful column, many quiet useless ones
    noise[:, 0] += y
    task, y = infer_task(y, "y")
    for features, better in ((units, "columns"), (noise, "none")):
        guesses = {}
        for scaling in ("auto", "columns", "none"):
            part = Labelled(features[:200], y[:200])
            guesses[scaling] = KNN(scaling=scaling).fit_predict(
                part, features[200:], task, np.random.default_rng(0)
            )
        np.testing.assert_array_equal(guesses["auto"], guesses[better])
        worse = {"columns": "none", "none": "columns"}[better]
        assert np.mean(guesses[better] == y[200:]) > 0.02 + np.mean(guesses[worse] == y[200:])


def test_a_left_out_sample_has_no_help_from_its_group():
    # Twins with the same random label: only a twin knows, and it must not tell.
    rng = np.random.default_rng(3)
    y = np.repeat(rng.integers(0, 2, 100), 2)
    features = np.repeat(rng.normal(size=(100, 8)), 2, axis=0)
    evaluation, task = KNN(k=1), TASKS["classification"]
    near, _ = knn._directions(features, features[:1], True)
    alone = evaluation._predict(near, y, near, task, left_out=True)
    grouped = evaluation._predict(near, y, near, task, np.repeat(np.arange(100), 2), left_out=True)
    assert np.mean(alone == y) == 1
    assert np.mean(grouped == y) < 0.7


def test_the_choice_of_scaling_uses_few_of_many_samples(monkeypatch):
    monkeypatch.setattr(knn, "MOST_FOR_CHOICE", 30)
    train, y, test = data("classification")
    guess = KNN().fit_predict(
        Labelled(train, y), test, TASKS["classification"], np.random.default_rng(0)
    )
    assert guess.shape == (30,)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"k": 0}, "KNN.k must be a whole number"),
        ({"temperature": 0}, "KNN.temperature"),
        ({"scaling": "column"}, "Did you mean 'columns'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        KNN(**settings)
