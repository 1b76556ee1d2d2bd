import json

import numpy as np
import pytest

from metamae.errors import ConfigError, DataError
from metamae.evaluation.probes import EVALUATIONS
from metamae.evaluation.probes.base import Evaluation, Labelled, judge
from metamae.evaluation.scoring.interval import paired_difference
from metamae.evaluation.scoring.metrics import primary
from metamae.evaluation.scoring.result import Judgement
from metamae.evaluation.scoring.task import infer_task
from metamae.evaluation.scoring.verdict import verdict

# The probe of DABS is not asked to be right, see test_evaluations.py.
SOUND = sorted(EVALUATIONS.entries.keys() - {"dabs_probe"})


def samples(num=200, width=8, seed=0, distance=2.0):
    """Class labels, clear features and mere noise, cut into training and test halves."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, num)
    task, y = infer_task(np.array(["x", "y", "z"])[codes], "letter")
    clear = rng.normal(size=(num, width))
    clear[np.arange(num), codes] += distance
    noise = rng.normal(size=(num, width))
    half = num // 2
    parts = {
        "metamae": (clear[:half], clear[half:]),
        "raw": (noise[:half], noise[half:]),
        "pca": (noise[:half, :3], noise[half:, :3]),
    }
    return task, y[:half], y[half:], parts


class Nearest(Evaluation):
    """Nearest class mean; notes what it is given."""

    description = "Nearest class mean."

    def __init__(self):
        self.seen = []

    def fit_predict(self, train, test_features, task, rng):
        self.seen.append((train, test_features, rng.random()))
        means = [train.features[train.labels == c].mean(axis=0) for c in range(len(task.classes))]
        gaps = [((test_features - m) ** 2).sum(axis=1) for m in means]
        return np.argmin(gaps, axis=0)


@pytest.fixture(scope="module")
def judged():
    task, y_train, y_test, parts = samples()
    return judge(Nearest(), parts, y_train, y_test, task, draws=4, seed=3)


def test_there_is_a_result_for_every_budget_and_representation(judged):
    found = [(r.labels, r.representation) for r in judged.results]
    names = ["metamae", "raw", "pca"]
    assert found == [(b, n) for b in ("all", "5 per class") for n in names]
    for r in judged.results:
        low, high = r.interval
        assert low <= r.score <= high
        assert (r.evaluation, r.metric, r.higher_is_better) == ("test_judge", "accuracy", True)
        assert (r.num_test, r.seed) == (100, 3)
        assert (r.num_train, r.draws) == ((100, 1) if r.labels == "all" else (15, 4))
        assert set(r.secondary) == {"balanced_accuracy", "macro_f1"}
    _, y_train, y_test, _ = samples()[0:4]
    majority = np.bincount(y_train).argmax()
    assert {r.chance for r in judged.results} == {np.mean(y_test == majority)}


def test_every_pair_is_compared_on_the_same_resamples(judged):
    pairs = [(c.first, c.second) for c in judged.comparisons if c.labels == "all"]
    assert pairs == [("metamae", "raw"), ("metamae", "pca"), ("raw", "pca")]
    by_name = {r.representation: r for r in judged.results if r.labels == "all"}
    task, y_train, y_test, parts = samples()
    guess = {
        name: Nearest().fit_predict(Labelled(train, y_train), test, task, np.random.default_rng(0))
        for name, (train, test) in parts.items()
    }
    compared = judged.comparison("all", "raw", "metamae")
    difference, low, high = paired_difference(
        primary(task), y_test, [guess["raw"]], [guess["metamae"]], np.random.default_rng(0)
    )
    assert compared.difference == pytest.approx(difference)
    assert compared.difference == by_name["raw"].score - by_name["metamae"].score
    assert compared.interval == pytest.approx((low, high), abs=0.03)


def test_all_representations_see_the_same_draws_and_random_numbers():
    task, y_train, y_test, parts = samples()
    same = {"raw": parts["raw"], "copy of raw": parts["raw"]}
    evaluation = Nearest()
    made = judge(evaluation, same, y_train, y_test, task, draws=3)
    calls = evaluation.seen
    assert len(calls) == 8
    pairs = [(calls[0], calls[1]), *zip(calls[2:5], calls[5:8], strict=True)]
    for (first, _, number), (second, _, other) in pairs:
        np.testing.assert_array_equal(first.features, second.features)
        assert number == other
    assert all(c.difference == 0 and c.interval == (0, 0) for c in made.comparisons)
    assert len({train.features.tobytes() for train, _, _ in calls[2:5]}) == 3


def test_the_seed_decides_everything_and_budgets_are_independent(judged):
    task, y_train, y_test, parts = samples()
    again = judge(Nearest(), parts, y_train, y_test, task, draws=4, seed=3)
    assert again == judged
    alone = judge(Nearest(), parts, y_train, y_test, task, draws=4, seed=3, budgets=(5, 5))
    assert alone.results == judged.results[3:]
    other = judge(Nearest(), parts, y_train, y_test, task, draws=4, seed=4, budgets=(5,))
    assert other.results[0].score != alone.results[0].score


@pytest.mark.parametrize("name", sorted(EVALUATIONS.entries))
def test_no_test_label_influences_a_prediction(name):
    """Whatever is chosen is chosen without the test labels: shuffled, they change no prediction."""
    task, y_train, y_test, parts = samples(distance=1.0)
    kept = []

    class Watched(EVALUATIONS.get(name)):
        def fit_predict(self, *arguments):
            kept[-1].append(super().fit_predict(*arguments))
            return kept[-1][-1]

    for labels in (y_test, np.random.default_rng(1).permutation(y_test)):
        kept.append([])
        judge(Watched(), parts, y_train, labels, task, draws=2)
    assert len(kept[0]) == 9
    for first, second in zip(*kept, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", SOUND)
def test_the_verdict_is_right_in_plain_cases(name):
    task, y_train, y_test, parts = samples(400, distance=4.0)
    evaluation = EVALUATIONS.build(name)

    def told(**representations):
        made = judge(evaluation, representations, y_train, y_test, task, draws=3)
        return verdict(Judgement.from_dict(json.loads(json.dumps(made.to_dict()))), "metamae")

    clear, noise = parts["metamae"], parts["raw"]
    helped = told(metamae=clear, raw=noise, pca=parts["pca"])
    assert [f.outcome for f in helped.findings] == ["helped", "helped"]
    assert helped.sentence().startswith("Pretraining helped: with all labels the embedding")
    hurt = told(metamae=noise, raw=clear)
    assert hurt.outcome == "hurt"
    assert hurt.sentence().endswith("use raw features.")
    alike = told(metamae=clear, raw=tuple(p * 2 + 1 for p in clear))
    assert alike.outcome == "unclear"
    pointless = told(metamae=noise, raw=tuple(p[::-1] for p in noise))
    assert pointless.outcome == "unclear"
    assert "not clearly above chance" in pointless.sentence()


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("kind", ["regression", "multilabel"])
def test_other_tasks_are_judged_too(name, kind):
    rng = np.random.default_rng(2)
    features = rng.normal(size=(240, 4))
    values = features[:, 0] if kind == "regression" else (features[:, :3] > 0).astype(int)
    task, y = infer_task(values, "y")
    noise = rng.normal(size=(240, 4))
    parts = {"metamae": (features[:120], features[120:]), "raw": (noise[:120], noise[120:])}
    made = judge(EVALUATIONS.build(name), parts, y[:120], y[120:], task, draws=2)
    told = verdict(made, "metamae")
    assert [f.outcome for f in told.findings] == ["helped", "helped"]
    budget = "50 samples" if kind == "regression" else "5 per label"
    assert [f.labels for f in told.findings] == ["all", budget]
    assert ("with 50 labels" if kind == "regression" else "5 examples per label") in told.sentence()


def test_samples_without_a_label_are_left_out_and_counted():
    task, y_train, y_test, parts = samples()
    y_train, y_test = y_train.copy(), y_test.copy()
    y_train[:10], y_test[:5] = -1, -1
    evaluation = Nearest()
    made = judge(evaluation, parts, y_train, y_test, task, budgets=("all",))
    assert made.num_unlabelled == 15
    assert (made.results[0].num_train, made.results[0].num_test) == (90, 95)
    np.testing.assert_array_equal(evaluation.seen[0][0].features, parts["metamae"][0][10:])


def test_groups_reach_the_evaluation_and_widen_the_interval():
    task, y_train, y_test, parts = samples()
    groups = np.arange(100) // 10
    plain, evaluation = Nearest(), Nearest()
    narrow = judge(plain, parts, y_train, y_test, task, budgets=("all",))
    order = np.argsort(
        Nearest().fit_predict(
            Labelled(parts["raw"][0], y_train), parts["raw"][1], task, np.random.default_rng(0)
        )
        == y_test
    )  # the right ones together, as in a real group
    groups_test = np.empty(100, dtype=int)
    groups_test[order] = groups
    wide = judge(
        evaluation,
        parts,
        y_train,
        y_test,
        task,
        budgets=("all",),
        groups_train=groups,
        groups_test=groups_test,
    )
    assert evaluation.seen[0][0].groups.tolist() == groups.tolist()
    assert plain.seen[0][0].groups is None
    raw = [next(r for r in m.results if r.representation == "raw") for m in (narrow, wide)]
    widths = [r.interval[1] - r.interval[0] for r in raw]
    assert widths[1] > 1.5 * widths[0]


def test_budgets_that_cannot_be_met_are_noted():
    task, y_train, y_test, parts = samples()
    y_train = y_train.copy()
    y_train[np.flatnonzero(y_train == 1)[3:]] = -1
    made = judge(Nearest(), parts, y_train, y_test, task, budgets=(5, 1000), draws=2)
    assert {r.labels for r in made.results} == {"5 per class"}
    assert "took all of the small classes: 'y' has 3." in made.notes[0]
    assert "1000 per class was left out" in made.notes[1]


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda f: np.where(np.arange(len(f))[:, None] == 7, np.nan, f),
            "'raw' must be finite; 1 of its 100 training .* the first at position 7",
        ),
        (lambda f: f[:50], "'raw' must have shape"),
        (lambda f: f[:, 0], "'raw' must have shape"),
        (lambda f: f[:, :0], "'raw' must have shape"),
        (lambda f: f[:, :3], "as many features"),
    ],
)
def test_bad_features_are_refused_with_the_name(change, message):
    task, y_train, y_test, parts = samples()
    parts["raw"] = (change(parts["raw"][0]), parts["raw"][1])
    with pytest.raises(DataError, match=message):
        judge(Nearest(), parts, y_train, y_test, task)


def test_other_bad_input_is_refused():
    task, y_train, y_test, parts = samples()
    with pytest.raises(DataError, match="at least one"):
        judge(Nearest(), {}, y_train, y_test, task)
    with pytest.raises(DataError, match="at least two labelled training samples"):
        judge(Nearest(), parts, np.full(100, -1), y_test, task)
    for budget in ("some", 0, 1.5):
        with pytest.raises(ConfigError, match=r"judge.budgets must"):
            judge(Nearest(), parts, y_train, y_test, task, budgets=(budget,))
    with pytest.raises(ConfigError, match=r"judge.draws"):
        judge(Nearest(), parts, y_train, y_test, task, draws=0)
    with pytest.raises(ConfigError, match=r"judge.seed"):
        judge(Nearest(), parts, y_train, y_test, task, seed=-1)
    with pytest.raises(DataError, match="same number of samples"):
        Labelled(np.zeros((3, 2)), np.zeros(2))


def test_features_of_other_types_become_floats():
    task, y_train, y_test, parts = samples()
    evaluation = Nearest()
    whole = tuple(p.astype(np.int8) for p in parts["raw"])
    half = tuple(p.astype(np.float16) for p in parts["raw"])
    judge(evaluation, {"a": whole, "b": half}, y_train, y_test, task, budgets=("all",))
    assert [call[0].features.dtype for call in evaluation.seen] == [np.float64, np.float32]
