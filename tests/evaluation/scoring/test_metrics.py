import numpy as np
import pytest
from sklearn.metrics import average_precision_score, r2_score

from metamae.evaluation.scoring.metrics import METRICS, metrics_for, primary
from metamae.evaluation.scoring.task import KINDS, Task


def example(kind, rng, num=60):
    """Labels and predictions that are better than chance, with ties in the scores."""
    if kind == "classification":
        y = rng.integers(0, 4, num)
        return y, np.where(rng.random(num) < 0.6, y, rng.integers(0, 4, num))
    if kind == "regression":
        y = rng.normal(size=num) + 100
        return y, y + rng.normal(size=num)
    y = rng.integers(0, 2, (num, 3))
    return y, np.round(y + rng.normal(size=(num, 3)), 1)


def slow_recall(y, guess, c):
    return sum(1 for a, b in zip(y, guess, strict=True) if a == c == b) / list(y).count(c)


def slow_f1(y, guess, c):
    hit = sum(1 for a, b in zip(y, guess, strict=True) if a == c == b)
    return 2 * hit / (list(y).count(c) + list(guess).count(c))


def slow_rank(values):
    return [sum(v < x for v in values) + (sum(v == x for v in values) - 1) / 2 for x in values]


def slow_ap(y, score):
    """Precision at every threshold, weighted by the recall that it gains."""
    area, recall = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        named = [a for a, s in zip(y, score, strict=True) if s >= threshold]
        new = sum(named) / sum(y)
        area += (new - recall) * sum(named) / len(named)
        recall = new
    return area


def slow_auroc(y, score):
    pairs = [
        (p, n)
        for p, a in zip(score, y, strict=True)
        if a
        for n, b in zip(score, y, strict=True)
        if not b
    ]
    return sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs)


SLOW = {
    "accuracy": lambda y, p: sum(a == b for a, b in zip(y, p, strict=True)) / len(y),
    "balanced_accuracy": lambda y, p: np.mean([slow_recall(y, p, c) for c in set(y)]),
    "macro_f1": lambda y, p: np.mean([slow_f1(y, p, c) for c in set(y) | set(p)]),
    "r2": r2_score,
    "spearman": lambda y, p: np.corrcoef(slow_rank(y), slow_rank(p))[0, 1],
    "macro_average_precision": lambda y, p: np.mean(
        [slow_ap(a, s) for a, s in zip(y.T, p.T, strict=True)]
    ),
    "macro_auroc": lambda y, p: np.mean([slow_auroc(a, s) for a, s in zip(y.T, p.T, strict=True)]),
}
EVERY = [(kind, metric) for kind in KINDS for metric in METRICS[kind]]
NAMES = [metric.name for _, metric in EVERY]


@pytest.mark.parametrize("kind, metric", EVERY, ids=NAMES)
def test_a_score_equals_the_slow_one(kind, metric):
    y, prediction = example(kind, np.random.default_rng(0))
    assert metric.score(y, prediction) == pytest.approx(SLOW[metric.name](y, prediction))


@pytest.mark.parametrize("kind, metric", EVERY, ids=NAMES)
def test_scores_of_resamples_equal_the_scores_of_repeated_samples(kind, metric):
    rng = np.random.default_rng(1)
    y, prediction = example(kind, rng)
    counts = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), size=7)
    chosen = [np.repeat(np.arange(len(y)), row) for row in counts]
    expected = [SLOW[metric.name](y[i], prediction[i]) for i in chosen]
    np.testing.assert_allclose(metric.resampled(y, prediction, counts.astype(float)), expected)


def test_average_precision_equals_that_of_scikit_learn():
    y, scores = example("multilabel", np.random.default_rng(2), 500)
    metric = METRICS["multilabel"][0]
    assert metric.score(y, scores) == pytest.approx(average_precision_score(y, scores))


@pytest.mark.parametrize("kind, metric", EVERY, ids=NAMES)
def test_exact_predictions_score_one(kind, metric):
    y, _ = example(kind, np.random.default_rng(3))
    assert metric.score(y, y) == pytest.approx(1.0)
    assert metric.higher_is_better


@pytest.mark.parametrize(
    "name, y, prediction, score",
    [
        ("balanced_accuracy", [0, 0], [0, 2], 0.5),  # class 2 is predicted, not present
        ("macro_f1", [0, 0], [0, 1], 1 / 3),
        ("r2", [2.0, 2.0], [2.0, 3.0], 0.0),
        ("r2", [2.0, 2.0], [2.0, 2.0], 1.0),
        ("r2", [2.0], [3.0], 0.0),
        ("spearman", [1.0, 2.0], [3.0, 3.0], 0.0),
        ("spearman", [1.0], [3.0], 0.0),
        ("macro_average_precision", [[0, 1], [0, 0]], [[0.1, 0.9], [0.2, 0.1]], 1.0),
        ("macro_average_precision", [[0], [0]], [[0.1], [0.2]], 0.0),
        ("macro_auroc", [[0, 1], [0, 0]], [[0.1, 0.9], [0.2, 0.1]], 1.0),
        ("macro_auroc", [[0], [0]], [[0.1], [0.2]], 0.5),
    ],
)
def test_samples_that_lack_something_give_a_number(name, y, prediction, score):
    metric = dict(zip(NAMES, (m for _, m in EVERY), strict=True))[name]
    y, prediction = np.array(y), np.array(prediction)
    assert metric.score(y, prediction) == pytest.approx(score)
    assert metric.resampled(y, prediction, np.ones((1, len(y)))) == pytest.approx([score])


def test_chance_is_what_a_guess_without_features_scores():
    y_train, y_test = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 1, 1])
    chance = {m.name: m.chance(y_train, y_test) for m in METRICS["classification"]}
    # The commonest class in training is not the commonest in the test.
    assert chance["accuracy"] == 0.25
    assert chance["balanced_accuracy"] == 0.5
    assert chance["macro_f1"] == pytest.approx(SLOW["macro_f1"](y_test, np.zeros(4, int)))
    assert [m.chance(y_train, y_test) for m in METRICS["regression"]] == [0, 0]
    labels = np.array([[1, 0], [0, 0], [0, 0], [0, 0]])
    assert [m.chance(labels, labels) for m in METRICS["multilabel"]] == [0.25, 0.5]
    assert METRICS["multilabel"][0].chance(labels, labels[1:]) == 0


@pytest.mark.parametrize(
    "kind, name",
    [
        ("classification", "accuracy"),
        ("regression", "r2"),
        ("multilabel", "macro_average_precision"),
    ],
)
def test_the_primary_metric_comes_first(kind, name):
    task = Task(kind, (), "y")
    assert primary(task) is metrics_for(task)[0]
    assert primary(task).name == name
