import json
from dataclasses import replace

import pytest

from metamae.errors import DataError
from metamae.evaluation.scoring.result import Comparison, Judgement, Result
from metamae.evaluation.scoring.task import Task
from metamae.evaluation.scoring.verdict import Verdict, verdict


def judgement(*budgets, higher_is_better=True):
    """Each budget: labels, name -> score, interval of (metamae - best)."""
    results, comparisons = [], []
    for labels, scores, interval in budgets:
        for name, score in scores.items():
            ends = (score - 0.02, score + 0.02)
            common = dict(num_train=9, num_test=9, draws=1, seed=0)
            result = Result(
                "knn", name, "accuracy", score, ends, higher_is_better, 0.1, labels, **common
            )
            results.append(result)
            if name != "metamae":
                gap = score - scores["metamae"]
                swapped = (-interval[1], -interval[0])
                pair = (name, "metamae")
                comparisons.append(Comparison("knn", "accuracy", labels, *pair, gap, swapped))
    return Judgement(Task("classification", ("a", "b"), "y"), tuple(results), tuple(comparisons))


HELPED = ("5 per class", {"metamae": 0.83, "raw": 0.77, "pca": 0.5}, (0.03, 0.09))
UNCLEAR = ("all", {"metamae": 0.962, "raw": 0.9, "pca": 0.958}, (-0.006, 0.013))
HURT = ("all", {"metamae": 0.80, "raw": 0.90, "pca": 0.7}, (-0.12, -0.08))


def test_it_helped():
    told = verdict(judgement(UNCLEAR, HELPED), "metamae")
    assert told.outcome == "helped"
    assert [f.outcome for f in told.findings] == ["unclear", "helped"]
    assert told.sentence() == (
        "Pretraining helped: with 5 labels per class the embedding scores 0.83, which is 0.06 "
        "(0.03 to 0.09) above the best baseline (raw features); with all labels it makes no "
        "clear difference (0.962 against 0.958 with PCA, difference 0.004, -0.006 to 0.013)."
    )


def test_it_hurt():
    told = verdict(judgement(HURT), "metamae")
    assert told.outcome == "hurt"
    assert told.sentence() == (
        "Pretraining did not help: with all labels the embedding scores 0.80, which is 0.10 "
        "(0.08 to 0.12) below the best baseline (raw features); use raw features."
    )


def test_it_made_no_clear_difference_or_a_mixed_one():
    assert (
        verdict(judgement(UNCLEAR), "metamae")
        .sentence()
        .startswith("Pretraining made no clear difference: with all labels it makes")
    )
    mixed = verdict(judgement(HELPED, HURT), "metamae")
    assert mixed.outcome == "mixed"
    assert "helped with some numbers of labels and hurt with others" in mixed.sentence()


def test_beating_a_baseline_is_not_enough_if_both_are_at_chance():
    poor = ("all", {"metamae": 0.11, "raw": 0.02}, (0.05, 0.1))
    told = verdict(judgement(poor), "metamae")
    assert told.outcome == "unclear"
    assert "not clearly above chance (0.10)" in told.sentence()


def test_only_the_baselines_asked_for_count():
    told = verdict(judgement(HURT), "metamae", baselines=("pca",))
    assert told.findings[0].baseline == "pca"
    other = ("all", {"metamae": 0.8, "my own": 0.9}, (-0.12, -0.08))
    assert verdict(judgement(other), "metamae").sentence().endswith("use 'my own'.")


def test_where_lower_is_better_the_signs_turn():
    lower = ("all", {"metamae": 0.05, "raw": 0.3, "pca": 0.4}, (-0.3, -0.2))
    told = verdict(judgement(lower, higher_is_better=False), "metamae")
    (found,) = told.findings
    assert (found.outcome, found.baseline) == ("helped", "raw")
    assert found.difference == pytest.approx(0.25)
    assert found.interval == (0.2, 0.3)


def test_small_numbers_keep_a_digit_that_shows_them():
    close = ("all", {"metamae": 0.9004, "raw": 0.9}, (0.0002, 0.0006))
    assert "is 0.0004 (0.0002 to 0.0006) above" in verdict(judgement(close), "metamae").sentence()


def test_a_verdict_goes_through_json_with_its_sentence():
    told = verdict(judgement(UNCLEAR, HELPED), "metamae")
    stored = json.loads(json.dumps(told.to_dict()))
    assert Verdict.from_dict(stored) == told
    assert (stored["sentence"], stored["outcome"]) == (told.sentence(), "helped")


def test_a_verdict_needs_both_sides():
    made = judgement(HURT)
    with pytest.raises(DataError, match="holds metamae, raw, pca"):
        verdict(made, "metame")
    with pytest.raises(DataError, match="a baseline to compare"):
        verdict(made, "metamae", baselines=())
    with pytest.raises(DataError, match="holds nothing"):
        verdict(replace(made, results=()), "metamae")
