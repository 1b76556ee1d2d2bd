import numpy as np
import pytest

from metamae.errors import DataError
from metamae.evaluation.scoring import interval
from metamae.evaluation.scoring.interval import (
    bootstrap_interval,
    mean_score,
    paired_difference,
    percentile_interval,
    resampled_scores,
)
from metamae.evaluation.scoring.metrics import METRICS

ACCURACY = METRICS["classification"][0]
R2 = METRICS["regression"][0]


def right_with_chance(share, num, rng):
    """Predictions for labels that are all 0, right with a known chance."""
    return (rng.random(num) >= share).astype(int)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    y = np.zeros(150, dtype=int)
    held = 0
    for _ in range(300):
        prediction = right_with_chance(0.7, 150, rng)
        low, high = bootstrap_interval(ACCURACY, y, [prediction], rng, resamples=400)
        held += low <= 0.7 <= high
    assert 0.90 <= held / 300 <= 0.98


def test_an_interval_of_the_mean_equals_the_textbook_one():
    rng = np.random.default_rng(1)
    prediction = np.repeat([0, 1], [600, 400])
    low, high = bootstrap_interval(ACCURACY, np.zeros(1000, dtype=int), [prediction], rng)
    half = 1.96 * np.sqrt(0.6 * 0.4 / 1000)
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), abs=0.005)


def test_draws_that_disagree_widen_the_interval():
    y = np.zeros(1000, dtype=int)
    same = [np.repeat([0, 1], [600, 400])] * 6
    apart = [np.repeat([0, 1], [n, 1000 - n]) for n in (300, 420, 540, 660, 780, 900)]
    assert mean_score(ACCURACY, y, same) == pytest.approx(mean_score(ACCURACY, y, apart))
    widths = []
    for predictions in (same, apart):
        low, high = bootstrap_interval(ACCURACY, y, predictions, np.random.default_rng(2))
        widths.append(high - low)
    # The draws' own standard error is 0.205 / sqrt(6) = 0.084, an interval of about 0.33.
    assert widths[0] == pytest.approx(0.06, abs=0.01)
    assert widths[1] == pytest.approx(0.33, abs=0.06)


def test_pairing_takes_out_what_both_share():
    rng = np.random.default_rng(3)
    hard = rng.random(500) < 0.5
    first = hard.astype(int)
    second = np.where(rng.random(500) < 0.04, 1, first)
    y = np.zeros(500, dtype=int)
    difference, low, high = paired_difference(ACCURACY, y, [first], [second], rng)
    assert difference == pytest.approx(ACCURACY.score(y, first) - ACCURACY.score(y, second))
    assert 0 < low < difference < high
    assert high - low < 0.04  # unpaired it would be 0.12
    assert paired_difference(ACCURACY, y, [first], [first], rng) == (0, 0, 0)


def test_resamples_are_shared_in_blocks_and_repeatable(monkeypatch):
    rng = np.random.default_rng(4)
    y = rng.normal(size=40)
    predictions = [y + rng.normal(size=40) for _ in range(3)]
    systems = {"a": predictions, "b": predictions, "c": predictions[::-1]}
    monkeypatch.setattr(interval, "BLOCK", 40 * 7)  # 100 resamples in 15 blocks
    scores = resampled_scores(R2, y, systems, np.random.default_rng(5), resamples=100)
    assert all(s.shape == (100,) for s in scores.values())
    np.testing.assert_array_equal(scores["a"], scores["b"])
    again = resampled_scores(R2, y, systems, np.random.default_rng(5), resamples=100)
    np.testing.assert_array_equal(scores["c"], again["c"])
    assert percentile_interval(scores["a"]) == tuple(np.percentile(scores["a"], (2.5, 97.5)))


def test_groups_are_resampled_whole():
    # Ten patients with 50 equal samples each: ten pieces of evidence, not 500.
    groups = np.repeat(list("abcdefghij"), 50)
    prediction = np.repeat([0, 1], 250)
    y = np.zeros(500, dtype=int)
    rng = np.random.default_rng(6)
    scores = resampled_scores(ACCURACY, y, {"": [prediction]}, rng, groups=groups)[""]
    assert scores.std() == pytest.approx(np.sqrt(0.25 / 10), rel=0.1)
    np.testing.assert_allclose(scores * 10, np.round(scores * 10))


def test_systems_must_fit():
    y = np.zeros(3, dtype=int)
    with pytest.raises(DataError, match="equally many draws"):
        paired_difference(ACCURACY, y, [y], [y, y], np.random.default_rng(0))
    with pytest.raises(DataError, match="each of the 3 test samples"):
        bootstrap_interval(ACCURACY, y, [y[:2]], np.random.default_rng(0))
