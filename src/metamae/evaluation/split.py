"""Labelled samples divided into those to learn from and those to be tested on."""

from dataclasses import dataclass

import numpy as np

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.errors import DataError
from metamae.evaluation.scoring.split import train_test
from metamae.evaluation.scoring.task import Array, Task, infer_task

TEST_SHARE = 0.3


@dataclass(frozen=True)
class Division:
    """Both sides of a split, with labels.

    Attributes:
        train: Samples to learn from.
        test: Samples to be tested on.
        y_train: Labels of the first, as `infer_task` codes them.
        y_test: Labels of the others.
        task: What the labels mean.
        groups_train: Group of each training sample; None if there are no groups.
        groups_test: Group of each test sample.
    """

    train: Records
    test: Records
    y_train: Array
    y_test: Array
    task: Task
    groups_train: Array | None
    groups_test: Array | None


def divide(
    records: Records,
    label: str,
    *,
    test: Records | None = None,
    group: str | None = None,
    task: str = "auto",
    test_share: float = TEST_SHARE,
    seed: int = 0,
) -> Division:
    """Set test samples aside, or take those that are given.

    Args:
        records: Labelled samples.
        label: Name of the label's field; several with commas for a multilabel task.
        test: Test samples of their own.
        group: Field that says which samples belong together: none is on both sides.
        task: "classification", "regression", "multilabel", or "auto".
        test_share: Share that is set aside where there are none.
        seed: Of the split.

    Raises:
        DataError: If a field is missing, or the labels cannot be learnt or divided.
    """
    names = [name.strip() for name in label.split(",")]
    if not all(names):
        raise DataError(f"{records.source}: a label must be the name of a field; got {label!r}.")
    labels, groups = _labels(records, names), _column(records, group)
    among = tuple(names) if len(names) > 1 else ()
    if test is None:
        found, y = infer_task(labels, ",".join(names), task, among)
        rng = np.random.default_rng([seed, 0])
        a, b = train_test(y, found, test_share=test_share, groups=groups, rng=rng)
        sides = (None, None) if groups is None else (groups[a], groups[b])
        return Division(records.subset(a), records.subset(b), y[a], y[b], found, *sides)
    # One task for both, so that a class has one code.
    both = np.concatenate([labels, _labels(test, names)])
    found, y = infer_task(both, ",".join(names), task, among)
    num = len(records)
    return Division(records, test, y[:num], y[num:], found, groups, _column(test, group))


def _labels(records: Records, names: list[str]) -> Array:
    every: Index = np.arange(len(records))
    columns = [np.asarray(records[name][every]) for name in names]
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


def _column(records: Records, name: str | None) -> Array | None:
    return None if name is None else np.asarray(records[name][np.arange(len(records))])
