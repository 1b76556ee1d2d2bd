import json

import numpy as np
import pytest

from metamae.errors import ConfigError, DataError
from metamae.evaluation.scoring.task import Task, infer_task, labelled, labelled_rows


def objects(*values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


@pytest.mark.parametrize(
    "values, classes, codes",
    [
        (np.array(["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
        (objects("b", None, "a", "b", ""), ("a", "b"), [1, -1, 0, 1, -1]),
        (np.array(["10", "9", "9"]), ("9", "10"), [1, 0, 0]),
        (np.array([True, False, True]), ("False", "True"), [1, 0, 1]),
        (objects(True, None, False, False), ("False", "True"), [1, -1, 0, 0]),
        (np.array([10, 9, 9, 10]), ("9", "10"), [1, 0, 0, 1]),
        (np.array([2.0, 1.0, np.nan, 2.0, 1.0]), ("1", "2"), [1, 0, -1, 1, 0]),
        (np.array([b"x", b"y", b"x"]), ("x", "y"), [0, 1, 0]),
        (np.array([["u"], ["v"], ["u"]]), ("u", "v"), [0, 1, 0]),
    ],
)
def test_classes_are_found_and_numbered_in_their_own_order(values, classes, codes):
    task, y = infer_task(values, "kind of thing")
    assert task == Task("classification", classes, "kind of thing")
    assert y.dtype == np.int64
    assert y.tolist() == codes
    assert labelled_rows(values).tolist() == labelled(y).tolist() == np.flatnonzero(y >= 0).tolist()


@pytest.mark.parametrize(
    "values, kind",
    [
        (np.array([0.5, 1.5] * 10), "regression"),
        (np.arange(30), "regression"),  # each value once
        (np.repeat(np.arange(20), 5), "classification"),
        (np.tile(np.arange(100), 10), "classification"),  # codes, ten samples each
        (np.tile(np.arange(100), 9), "regression"),  # too few for each
        (np.tile(np.arange(18, 90), 50), "regression"),  # ages: no codes
        (np.tile(np.arange(1, 51) * 2, 50), "regression"),  # gaps
        (np.tile(np.arange(25.0), 40), "classification"),
        (np.array([0, 1]), "classification"),
    ],
)
def test_numbers_are_classes_only_if_they_look_like_it(values, kind):
    task, y = infer_task(values, "y")
    assert task.kind == kind
    if kind == "regression":
        assert task.classes == ()
        assert y.dtype == np.float64
        np.testing.assert_array_equal(y, values)


def test_the_kind_can_be_forced():
    values = np.tile(np.arange(3), 4)
    assert infer_task(values, "y", "regression")[0].kind == "regression"
    task, y = infer_task(np.array([0.5, 1.5, 0.5]), "y", "classification")
    assert (task.classes, y.tolist()) == (("0.5", "1.5"), [0, 1, 0])
    assert infer_task(np.array(["1.5", "2"]), "y", "regression")[1].tolist() == [1.5, 2.0]
    _, y = infer_task(objects("1.5", None, "2"), "y", "regression")
    np.testing.assert_array_equal(y, [1.5, np.nan, 2.0])


def test_rows_of_zeros_and_ones_are_several_labels():
    values = np.array([[0, 1], [1, 1], [np.nan, 0]])
    task, y = infer_task(values, "tags", label_names=("cat", "dog"))
    assert task == Task("multilabel", ("cat", "dog"), "tags")
    assert y.tolist() == [[0, 1], [1, 1], [-1, -1]]
    assert labelled_rows(values).tolist() == labelled(y).tolist() == [0, 1]
    assert infer_task(values, "tags")[0].classes == ("tags 0", "tags 1")
    one = np.array([[True], [False]])
    assert infer_task(one, "tags")[0].kind == "classification"
    assert infer_task(one, "tags", "multilabel")[0].kind == "multilabel"


@pytest.mark.parametrize(
    "values, kind, message",
    [
        (np.array(["a", "a"]), "auto", "at least two classes; all 2"),
        (objects(None, None), "auto", "missing in all 2"),
        (np.array([np.nan]), "auto", "missing in all 1"),
        (np.array([]), "auto", "missing in all 0"),
        (np.array([0.5, np.inf]), "auto", "must be finite; 1 of"),
        (np.array([0.5, 0.5]), "auto", "must vary"),
        (np.array(["a", "b"]), "regression", "must hold numbers"),
        (np.array(["1", "inf"]), "regression", "must be finite"),
        (np.array([0, 1]), "multilabel", "got shape"),
        (np.array([[0, 2], [1, 1]]), "auto", "each must be 0 or 1"),
        (np.array([["a", "b"], ["c", "d"]]), "auto", "each must be 0 or 1"),
        (np.array([[0, 1], [0, 1]]), "auto", "same row"),
        (np.array([[0, 1], [1, 1]]), "regression", "for multilabel"),
        (np.zeros((2, 2, 2)), "auto", "shape"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "auto", "string or number"),
        (objects([1], [1, 2]), "auto", "string or number"),
    ],
)
def test_bad_labels_are_refused_with_the_name(values, kind, message):
    with pytest.raises(DataError, match=rf"'grade'.*{message}"):
        infer_task(values, "grade", kind)


def test_other_bad_input():
    with pytest.raises(ConfigError, match="Did you mean 'regression'"):
        infer_task(np.array([0, 1]), "y", "regresion")
    with pytest.raises(DataError, match="got 1 for 2"):
        infer_task(np.array([[0, 1], [1, 1]]), "y", label_names=("a",))


def test_a_task_goes_through_json():
    task = Task("classification", ("a", "b"), "y")
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task
