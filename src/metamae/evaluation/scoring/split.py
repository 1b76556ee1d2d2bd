"""Who trains and who tests, and which few labels a budget allows.

Only samples that have a label are ever given out. S is the number of samples.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from metamae.core.checks import check_at_least, check_between
from metamae.data.columns.base import Index
from metamae.errors import DataError
from metamae.evaluation.scoring.task import Array, Task, labelled

TRIES = 30  # random divisions of groups, of which the best is taken
SAMPLES_PER_UNIT = 10
"""A regression target has no classes: a budget of 5 "per class" is 50 samples, as for ten."""


def train_test(
    y: Array,
    task: Task,
    *,
    test_share: float = 0.2,
    groups: Array | None = None,
    rng: np.random.Generator,
) -> tuple[Index, Index]:
    """Split the labelled samples into a training and a test part, both in their old order.

    Classes keep their shares, and each has at least one sample in either part. With groups,
    whole groups go to one part and the shares of classes hold as well as they can.

    Args:
        y: Labels from `infer_task`.
        task: The task from `infer_task`.
        test_share: Part that tests, strictly between 0 and 1.
        groups: Group of every sample, (S,), such as the patient it came from.
        rng: Source of the draw.

    Returns:
        Positions of the training samples and of the test samples.

    Raises:
        ConfigError: If `test_share` is out of range.
        DataError: If a class has one sample only, or there are fewer than two samples or groups.
    """
    check_between("train_test.test_share", test_share, 0, 1)
    rows = labelled(y)
    if len(rows) < 2:
        raise DataError(
            f"Label {task.name!r} must be there for at least two samples; got {len(rows)}."
        )
    if groups is not None:
        num_groups = len(np.unique(np.asarray(groups)[rows]))
        if num_groups < 2:
            raise DataError(
                f"Groups must number at least two so that one can test; got {num_groups}. "
                f"A split without groups would do."
            )
    elif task.kind == "classification":
        _refuse_single_samples(y[rows], task)
    train, test = _hold_out(y, rows, task, test_share, groups, rng)
    if task.kind == "classification" and len(np.unique(y[train])) < 2:
        raise DataError(
            f"Label {task.name!r} must have two classes left to train on after the groups were "
            f"split; each class fills its groups alone. A split without groups would do."
        )
    return train, test


def validation_folds(
    y: Array,
    task: Task,
    *,
    groups: Array | None = None,
    rng: np.random.Generator,
    folds: int = 5,
    hold_out_from: int = 500,
) -> list[tuple[Index, Index]]:
    """Part a training set into what to fit on and what to choose a setting by.

    Large sets give one hold-out of 20 %; small ones `folds` parts in turn, or as many as their
    largest class or their groups allow.

    Args:
        y: Labels of the training samples; all must have one.
        task: What they mean.
        groups: Group of every sample, (S,); none is ever in both parts.
        rng: Source of the draw.
        folds: Largest number of parts.
        hold_out_from: Samples from which one hold-out will do.

    Returns:
        Pairs (positions to fit on, positions to choose by). Empty if there is too little to
        choose by, such as one label per class.
    """
    num_groups = None if groups is None else len(np.unique(groups))
    if len(y) >= hold_out_from and (num_groups is None or num_groups > 1):
        pairs: Any = [_hold_out(y, np.arange(len(y)), task, 0.2, groups, rng)]
    else:
        num = min(folds, len(y) // 2 if num_groups is None else num_groups)
        if task.kind == "classification":
            # By the largest class: one rare class must not leave the others without a choice.
            num = min(num, int(np.bincount(y).max()))
        pairs = _folds(y, task, num, groups, rng) if num >= 2 else []
    return [(inside, outside) for inside, outside in pairs if len(inside) and len(outside)]


def label_budget(
    y: Array, task: Task, per_class: int, draws: int, rng: np.random.Generator
) -> list[Index]:
    """Draw small sets of labelled samples, without replacement within a set.

    Classification: exactly `per_class` of each class, or all of a class that has fewer (see
    `short_classes`). Regression: `10 * per_class` samples. Multilabel: at random until every
    label is there `per_class` times and missing `per_class` times, rare ones first.

    Args:
        y: Labels of the training samples.
        task: What they mean.
        per_class: Size of the budget, at least 1.
        draws: How many sets.
        rng: Source of the draws.

    Returns:
        `draws` arrays of positions in increasing order.
    """
    check_at_least("label_budget.per_class", per_class, 1)
    check_at_least("label_budget.draws", draws, 1)
    rows = labelled(y)
    draw = {"classification": _draw_classes, "regression": _draw_any, "multilabel": _draw_labels}
    return [np.sort(rows[draw[task.kind](y[rows], per_class, rng)]) for _ in range(draws)]


def budget_name(task: Task, per_class: int) -> str:
    """Return what a budget is called in results, e.g. "5 per class" or "50 samples"."""
    unit = {"classification": "per class", "multilabel": "per label"}
    if task.kind == "regression":
        return f"{SAMPLES_PER_UNIT * per_class} samples"
    return f"{per_class} {unit[task.kind]}"


def short_classes(y: Array, task: Task, per_class: int) -> dict[str, int]:
    """Return the classes, or labels, with fewer training samples than a budget asks for.

    Returns:
        Name -> how many there are.
    """
    y = y[labelled(y)]
    if task.kind == "regression":
        return {}
    if task.kind == "multilabel":
        held = y.sum(axis=0)
    else:
        held = np.bincount(y, minlength=len(task.classes))
    return {c: int(n) for c, n in zip(task.classes, held, strict=True) if n < per_class}


def _refuse_single_samples(y: Array, task: Task) -> None:
    held = np.bincount(y, minlength=len(task.classes))
    single = [task.classes[i] for i in np.flatnonzero(held == 1)]
    if not single:
        return
    shown = ", ".join(repr(c) for c in single[:3]) + (", ..." if len(single) > 3 else "")
    numeric = all(c.lstrip("-").replace(".", "", 1).isdigit() for c in task.classes)
    hint = "kind='regression' would do if it is a quantity" if numeric else "merge it with another"
    raise DataError(
        f"Label {task.name!r} must have at least two samples of every class, one to train and "
        f"one to test; {len(single)} of {len(task.classes)} classes have one: {shown}. "
        f"Leave such samples unlabelled, or {hint}."
    )


def _hold_out(
    y: Array,
    rows: Index,
    task: Task,
    share: float,
    groups: Array | None,
    rng: np.random.Generator,
) -> tuple[Index, Index]:
    if groups is not None:
        train, test = _hold_out_groups(y[rows], task, share, np.asarray(groups)[rows], rng)
        return rows[train], rows[test]
    strata = y[rows] if task.kind == "classification" else np.zeros(len(rows), dtype=np.int64)
    tests = np.zeros(len(rows), dtype=bool)
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        # Own rule, for scikit-learn's may leave a rare class out of one of the parts.
        num = min(max(round(share * len(members)), 1), len(members) - 1)
        tests[members[:num]] = True
    return rows[~tests], rows[tests]


def _hold_out_groups(
    y: Array, task: Task, share: float, groups: Array, rng: np.random.Generator
) -> tuple[Index, Index]:
    from sklearn.model_selection import GroupShuffleSplit

    if task.kind != "classification":
        num_groups = len(np.unique(groups))
        num = min(max(round(share * num_groups), 1), num_groups - 1)
        splitter = GroupShuffleSplit(1, test_size=num, random_state=_seed(rng))
        train, test = next(splitter.split(y, groups=groups))
        return train, test
    of, codes = (np.unique(values, return_inverse=True)[1] for values in (groups, y))
    table = np.zeros((of.max() + 1, codes.max() + 1))  # samples by group and class
    np.add.at(table, (of, codes), 1)
    # The best of some random divisions, so that another seed gives another one.
    divisions = [_divide_groups(table, share, rng) for _ in range(TRIES)]
    _, chosen = min(divisions, key=lambda division: division[0])
    tests = np.isin(of, chosen)
    return np.flatnonzero(~tests), np.flatnonzero(tests)


def _divide_groups(
    table: Array, share: float, rng: np.random.Generator
) -> tuple[tuple[int, int, float], Index]:
    """Draw test groups whose samples come near to a share.

    Args:
        table: Samples by group and class, (G, C).
        share: Of the samples.
        rng: Source of the draw.

    Returns:
        How bad it is (classes that training lacks, classes that the test lacks, distance from
        the share in each class), and the groups.
    """
    order, whole = rng.permutation(len(table)), table.sum(axis=0)
    sizes = table[order].sum(axis=1).cumsum()[:-1]
    chosen = order[: 1 + int(np.abs(sizes / whole.sum() - share).argmin())]
    test = table[chosen].sum(axis=0)
    lacking = int((test == whole).sum()), int((test == 0).sum())
    return (*lacking, float(np.abs(test - share * whole).sum() / whole.sum())), chosen


def _folds(
    y: Array, task: Task, num: int, groups: Array | None, rng: np.random.Generator
) -> Iterator[tuple[Index, Index]]:
    from sklearn import model_selection

    stratified = task.kind == "classification"
    name = ("Stratified" if stratified else "") + ("" if groups is None else "Group") + "KFold"
    splitter = getattr(model_selection, name)(num, shuffle=True, random_state=_seed(rng))
    with warnings.catch_warnings():
        # scikit-learn warns that a rare class is not in every fold, which is fine here.
        warnings.simplefilter("ignore", UserWarning)
        pairs = list(splitter.split(np.zeros(len(y)), y if stratified else None, groups))
    yield from pairs


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _draw_classes(y: Array, per_class: int, rng: np.random.Generator) -> Index:
    members = (np.flatnonzero(y == c) for c in np.unique(y))
    return np.concatenate([rng.permutation(m)[:per_class] for m in members])


def _draw_any(y: Array, per_class: int, rng: np.random.Generator) -> Index:
    return rng.permutation(len(y))[: SAMPLES_PER_UNIT * per_class]


def _draw_labels(y: Array, per_class: int, rng: np.random.Generator) -> Index:
    chosen = np.zeros(len(y), dtype=bool)
    states = np.concatenate([y == 1, y == 0], axis=1)  # (S, 2 L)
    for i in np.argsort(states.sum(axis=0), kind="stable"):
        lacking = per_class - int(states[chosen, i].sum())
        more = rng.permutation(np.flatnonzero(states[:, i] & ~chosen))
        chosen[more[: max(lacking, 0)]] = True
    return np.flatnonzero(chosen)
