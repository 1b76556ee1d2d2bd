"""Thresholds keep what they promise; AUROC and AUPR are what scikit-learn says they are."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from metamae.uses.detect.baselines import NAMES, RawDetectors
from metamae.uses.detect.threshold import AUPR, AUROC, judge_scores, threshold_at


@pytest.mark.parametrize(("num", "rate"), [(99, 0.01), (50, 0.1), (19, 0.05), (400, 0.2)])
def test_a_threshold_keeps_its_promise_on_average(num, rate):
    rng = np.random.default_rng(0)
    raised = [
        threshold_at(rng.standard_cauchy(num), rate).raised(rng.standard_cauchy(200)).mean()
        for _ in range(400)
    ]
    assert np.mean(raised) <= rate * 1.15
    # It is not far too careful either: at most one place in n + 1.
    assert np.mean(raised) >= rate - 1 / (num + 1) - 0.15 * rate


def test_too_few_normal_samples_promise_nothing():
    alarm = threshold_at(np.arange(98.0), 0.01)
    assert not alarm.kept
    assert not alarm.raised(np.array([1e9])).any()
    assert threshold_at(np.arange(99.0), 0.01).threshold == 98.0


def ties(num, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.random(num) < 0.3
    return y, np.round(rng.normal(size=num) + y, 1)


def test_metrics_agree_with_scikit_learn_ties_included():
    y, scores = ties(300)
    assert AUROC.score(y.astype(int), scores) == pytest.approx(roc_auc_score(y, scores))
    assert AUPR.score(y.astype(int), scores) == pytest.approx(average_precision_score(y, scores))


@pytest.mark.parametrize("metric", [AUROC, AUPR])
def test_resamples_are_scored_as_if_samples_were_repeated(metric):
    y, scores = ties(60)
    counts = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), size=5).astype(float)
    found = metric.resampled(y.astype(int), scores, counts)
    for row, count in zip(found, counts.astype(int), strict=True):
        rows = np.repeat(np.arange(60), count)
        assert row == pytest.approx(metric.score(y[rows].astype(int), scores[rows]))


def test_intervals_surround_the_scores_and_follow_from_the_generator():
    y, scores = ties(200)
    systems = {"good": scores, "blind": np.zeros(200)}
    first, again = (judge_scores(y, systems, np.random.default_rng(3)) for _ in range(2))
    assert first == again
    good, blind = first["good"], first["blind"]
    assert good.auroc_interval[0] < good.auroc < good.auroc_interval[1]
    assert good.aupr_interval[0] < good.aupr < good.aupr_interval[1]
    assert blind.auroc == 0.5 and blind.auroc_interval == (0.5, 0.5)
    assert blind.aupr == pytest.approx(y.mean())


@pytest.mark.parametrize("width", [3, 400])
def test_raw_baselines_see_a_plain_outlier(width):
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(150, width)).astype(np.float32)
    normal[:, 1] = 2.0  # never varies
    other = rng.normal(size=(20, width)).astype(np.float32)
    other[:, 1] = 2.0
    odd = other + 8
    found = RawDetectors(normal, 0)
    usual, strange = found.score(other), found.score(odd)
    assert list(usual) == list(NAMES)
    for name in NAMES:
        assert usual[name].max() < strange[name].min(), name
