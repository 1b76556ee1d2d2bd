"""Ranks, wins and tests against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from metamae.benchmark.summary import Score, Summary, summarise, to_markdown


def row(problem, method, seed, score, labels="all", metric="accuracy", width=0.1):
    return {
        "problem": problem,
        "challenge": problem,
        "method": method,
        "seed": seed,
        "evaluation": "linear_probe",
        "labels": labels,
        "metric": metric,
        "score": score,
        "low": score - width / 2,
        "high": score + width / 2,
        "higher_is_better": True,
    }


def rows(table, seeds=3, noise=0.0):
    """Rows of (problem, method) -> score, with a little noise that seeds share."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, noise, seeds)
    return [
        row(problem, method, seed, score + shared[seed])
        for (problem, method), score in table.items()
        for seed in range(seeds)
    ]


def test_intervals_are_those_of_student():
    values = [0.5, 0.7, 0.9]
    (found,) = summarise([row("p", "raw", seed, v) for seed, v in enumerate(values)])
    score = found.scores["raw"]["p"]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert score.mean == pytest.approx(0.7)
    assert score.half_width == pytest.approx((high - low) / 2)


def test_one_seed_has_the_interval_of_its_test_samples():
    (found,) = summarise([row("p", "raw", 0, 0.6, width=0.2)])
    assert found.scores["raw"]["p"].half_width == pytest.approx(0.1)


def test_mean_ranks_share_ties_and_leave_out_gaps():
    table = {("a", "raw"): 0.9, ("a", "mae"): 0.8, ("a", "metamae"): 0.8}
    table |= {("b", "raw"): 0.1, ("b", "mae"): 0.5, ("b", "metamae"): 0.7}
    (found,) = summarise(rows(table))
    assert found.mean_ranks() == {"raw": 2.0, "mae": 2.25, "metamae": 1.75}
    (found,) = summarise(rows(table | {("c", "raw"): 0.3}))
    assert found.problems == ["a", "b"]
    assert found.mean_ranks()["raw"] == 2.0


def test_wins_need_a_paired_difference_that_is_clear():
    # Seeds move both methods together: the difference is clear although the scores are not.
    table = {(p, "raw"): 0.5 for p in "abc"} | {("a", "mae"): 0.52, ("b", "mae"): 0.48}
    (found,) = summarise(rows(table | {("c", "mae"): 0.5}, noise=0.1))
    against = found.against("mae", "raw")
    assert (against.wins, against.ties, against.losses) == (1, 1, 1)
    back = found.against("raw", "mae")
    assert (back.wins, back.ties, back.losses) == (1, 1, 1)


def test_one_seed_wins_only_beyond_both_intervals():
    scores = {("a", "raw"): 0.5, ("a", "mae"): 0.6, ("b", "raw"): 0.5, ("b", "mae"): 0.7}
    (found,) = summarise([row(p, m, 0, s) for (p, m), s in scores.items()])
    assert found.against("mae", "raw").wins == 2  # 0.1 is more than the root of 0.05² + 0.05²
    (found,) = summarise([row(p, m, 0, s, width=0.2) for (p, m), s in scores.items()])
    assert found.against("mae", "raw").wins == 1


def test_the_paired_test_is_wilcoxons():
    rng = np.random.default_rng(1)
    a, b = rng.uniform(size=(2, 9))
    scores = {
        "raw": {str(n): Score({0: v}, 0.01) for n, v in enumerate(a)},
        "mae": {str(n): Score({0: v}, 0.01) for n, v in enumerate(b)},
    }
    found = Summary("knn", "all", scores, dict.fromkeys(map(str, range(9)), "accuracy"))
    assert found.against("mae", "raw").p == pytest.approx(stats.wilcoxon(b - a).pvalue)
    few = {m: dict(list(s.items())[:5]) for m, s in scores.items()}
    found = Summary("knn", "all", few, dict.fromkeys(map(str, range(5)), "accuracy"))
    assert found.against("mae", "raw").p is None


def test_budgets_of_different_names_are_one_column():
    made = [row("a", "raw", 0, 0.5, "5 per class"), row("b", "raw", 0, 0.2, "50 samples", "r2")]
    (found,) = summarise(made)
    assert found.labels == "few" and found.metrics == {"a": "accuracy", "b": "r2"}


def test_the_table_shows_all_and_marks_the_best():
    table = {("a", "raw"): 0.9, ("a", "mae"): 0.8, ("b", "raw"): -0.25}
    (found,) = summarise(rows(table))
    lines = to_markdown(found).splitlines()
    assert lines[0] == "|  | raw | mae |"
    assert lines[2] == "| a (accuracy) | **0.900** ±0.000 | 0.800 ±0.000 |"
    assert lines[3] == "| b (accuracy) | **-0.250** ±0.000 |  |"
    assert lines[4] == "| mean rank | 1.0 | 2.0 |"
    assert lines[5] == "| win/tie/loss against raw |  | 0/0/1 |"
