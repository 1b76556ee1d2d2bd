"""Copies, identifiers and leaks are found; honest data raise no suspicion."""

import numpy as np
import pytest

from cases import objects
from metamae.data.records import Records
from metamae.pretraining.data_checks import duplicates, identifiers, leaks, near_duplicates

NUM = 60


def rng():
    return np.random.default_rng(0)


def table(**columns):
    base = {"a": rng().normal(size=NUM), "n": rng().integers(0, 9, NUM)}
    return Records({**base, **columns}, "t.csv", row_word="row", first_row=2)


LABEL = np.arange(NUM) % 3


def test_honest_data_raise_no_suspicion():
    data = table(y=LABEL)
    assert duplicates(data, ["a", "n"], ["y"]) == []
    assert identifiers(data, ["a", "n"]) == []
    assert leaks(data, ["a", "n"], ["y"]) == []
    x = rng().normal(size=(NUM, 5))
    assert near_duplicates(x[:40], x[40:], "a split") == []


def test_repeated_samples_are_counted_and_shown():
    x = rng().normal(size=(NUM, 2, 9))
    x[7], x[20], x[21] = x[3], x[5], x[5]
    data = Records({"X": x, "y": LABEL}, "x.npz")
    equal, torn = duplicates(data, ["X"], ["y"])
    assert equal.startswith("3 of 60 samples repeat another one exactly, e.g. x.npz, sample 7 rep")
    assert torn.startswith("2 groups of equal samples differ in 'y', e.g. x.npz, sample 3 and x.np")


@pytest.mark.parametrize("kind", ["texts", "ragged"])
def test_samples_of_every_kind_are_compared(kind):
    rows = [f"text {n}" for n in range(NUM)]
    if kind == "ragged":
        rows = [np.arange(float(2 + n)) for n in range(NUM)]
    data = Records({"X": objects(rows)}, "x")
    assert duplicates(data, ["X"]) == []
    rows[9] = rows[4]
    (found,) = duplicates(Records({"X": objects(rows)}, "x"), ["X"])
    assert "x, sample 9 repeats x, sample 4" in found


@pytest.mark.parametrize(
    ("values", "suspect"),
    [
        (np.arange(NUM)[::-1] + 1000, True),
        (objects([f"P{n:04}" for n in range(NUM)]), True),
        (np.arange(NUM) * 1000, False),
        (np.arange(NUM) // 2, False),
        (np.arange(float(NUM)), False),
        (objects([None, *(f"P{n}" for n in range(NUM - 1))]), False),
    ],
)
def test_identifiers(values, suspect):
    found = identifiers(table(id=values), ["a", "n", "id"])
    assert bool(found) == suspect
    assert not found or ("'id'" in found[0] and "--ignore id" in found[0])


@pytest.mark.parametrize(
    ("values", "label", "how"),
    [
        (LABEL, LABEL, "equals"),
        (objects([str(n) for n in LABEL]), LABEL, "equals"),
        (objects(["xyz"[n] for n in LABEL]), LABEL, "determines"),
        (np.arange(NUM) % 6, LABEL, "determines"),
        (np.linspace(0, 1, NUM) * 3 - 8, np.linspace(0, 1, NUM), "is proportional to"),
        (LABEL == 1, LABEL, ""),
        (np.arange(NUM), LABEL, ""),
        (np.linspace(0, 1, NUM) ** 2, np.linspace(0, 1, NUM), ""),
    ],
)
def test_columns_that_tell_the_label(values, label, how):
    found = leaks(table(code=values, y=label), ["a", "n", "code"], ["y"])
    assert found == ([f"column 'code' {how} field 'y': --ignore code if it leaks"] if how else [])


def test_arrays_are_passed_over():
    data = table(curve=objects([np.zeros(2 + n % 3) for n in range(NUM)]), y=LABEL)
    assert leaks(data, ["curve"], ["y"]) == []


def test_missing_values_hide_no_leak():
    code = LABEL.astype(float)
    code[::7] = np.nan
    assert "equals" in leaks(table(code=code, y=LABEL.astype(float)), ["code"], ["y"])[0]


def test_nearly_equal_samples_across_a_split():
    x = rng().normal(size=(NUM, 5)) * [1, 100, 1, 0.01, 1]
    test = np.concatenate([x[:7] * (1 + 1e-4), rng().normal(size=(10, 5)) * 50])
    (found,) = near_duplicates(x, test, "field 'split'")
    assert found.startswith("field 'split': 7 of 17 test samples are nearly equal")
