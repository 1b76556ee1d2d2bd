import json

import pytest

from metamae.evaluation.scoring.result import Comparison, Judgement, Result
from metamae.evaluation.scoring.task import Task

RESULT = Result(
    evaluation="knn",
    representation="raw",
    metric="accuracy",
    score=0.5,
    interval=(0.4, 0.6),
    higher_is_better=True,
    chance=0.1,
    labels="all",
    num_train=80,
    num_test=20,
    draws=1,
    seed=0,
    secondary={"macro_f1": 0.4},
)
COMPARISON = Comparison("knn", "accuracy", "all", "raw", "pca", 0.1, (-0.1, 0.3))


@pytest.mark.parametrize(
    "record",
    [
        RESULT,
        COMPARISON,
        Judgement(Task("regression", (), "y"), (RESULT,), (COMPARISON,), 3, ("A note.",)),
    ],
    ids=lambda r: type(r).__name__,
)
def test_a_record_goes_through_json(record):
    assert type(record).from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_comparison_is_found_from_either_side():
    judgement = Judgement(Task("regression", (), "y"), (RESULT,), (COMPARISON,))
    assert judgement.comparison("all", "raw", "pca") == COMPARISON
    swapped = judgement.comparison("all", "pca", "raw")
    assert (swapped.first, swapped.second) == ("pca", "raw")
    assert (swapped.difference, swapped.interval) == (-0.1, (-0.3, 0.1))
    with pytest.raises(KeyError):
        judgement.comparison("5 per class", "raw", "pca")
