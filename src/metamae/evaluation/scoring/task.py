"""What a column of labels asks for: classes, a number, or several yes/no labels at once.

S is the number of samples, L the number of labels of a multilabel task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.core.checks import check_one_of
from metamae.data.columns.base import Index
from metamae.errors import DataError

Array = NDArray[Any]

Prediction = NDArray[Any]
"""What a probe says about S samples, all that the metrics need: class codes (S,) for
classification, numbers (S,) for regression, label scores (S, L) for multilabel."""

KINDS = ("classification", "regression", "multilabel")
UNLABELLED = -1
"""Code of a sample without a label; in a regression target it is NaN."""

# Up to this many different whole numbers are taken for classes; more must look like codes.
FEW = 20


@dataclass(frozen=True)
class Task:
    """What is to be predicted.

    Attributes:
        kind: "classification", "regression" or "multilabel".
        classes: Class names in the order of their codes, or the names of the labels; empty for
            regression.
        name: What the label is called, e.g. the name of its column.
    """

    kind: str
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        check_one_of("Task.kind", self.kind, KINDS)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {"kind": self.kind, "classes": list(self.classes), "name": self.name}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Task":
        """Undo `to_dict`."""
        return cls(values["kind"], tuple(values["classes"]), values["name"])


def infer_task(
    values: Array, name: str, kind: str = "auto", label_names: Sequence[str] = ()
) -> tuple[Task, Array]:
    """Tell what kind of label a column holds, and encode it.

    Strings and booleans are classes; numbers with a fraction are a regression target; a
    two-dimensional array of 0 and 1 is multilabel. Whole numbers are classes if there are at
    most 20 different ones (and at most half as many as samples); more are classes only if they
    look like codes: from 0 or 1 without a gap, ten samples for each on average. So ages and
    counts become regression targets. Whoever knows better says so with `kind`.

    Args:
        values: Labels as a reader gives them, (S,) or (S, L); None, NaN and "" are missing.
        name: What the label is called, for messages.
        kind: "auto", or one of `KINDS` to force it.
        label_names: Names of the L labels of a multilabel task; numbered if not given.

    Returns:
        The task, and the labels of all S samples: class codes (S,) int64, numbers (S,) float64,
        or 0 and 1 (S, L) int64. A sample without a label has -1, or NaN in a regression.

    Raises:
        ConfigError: If `kind` is unknown.
        DataError: If no sample has a label, all have the same one, one is infinite, or the
            values do not fit the kind.
    """
    check_one_of("infer_task.kind", kind, ("auto", *KINDS))
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1 and kind != "multilabel":
        values = values[:, 0]
    if values.ndim not in (1, 2):
        raise DataError(
            f"Label {name!r} must hold one value, or one row of 0 and 1, per sample; got an array "
            f"of shape {values.shape}."
        )
    rows = labelled_rows(values)
    if len(rows) == 0:
        raise DataError(
            f"Label {name!r} must be there for some samples; it is missing in all {len(values)}."
        )
    if values.ndim == 2 or kind == "multilabel":
        return _multilabel(values, rows, name, kind, label_names)
    present = _typed(values[rows], name)
    guessed = _guess(present) if kind == "auto" else kind
    encode = _classes if guessed == "classification" else _numbers
    return encode(present, rows, len(values), name)


def labelled_rows(values: Array) -> Index:
    """Return the positions of the samples that have a label, whole rows of it if it has several.

    Args:
        values: Labels as a reader gives them, or as `infer_task` returns them, (S,) or (S, L).
    """
    values = np.asarray(values)
    return np.flatnonzero(~_missing(values).any(axis=tuple(range(1, values.ndim))))


def labelled(y: Array) -> Index:
    """Return the positions of the samples with a label in what `infer_task` returned."""
    if y.dtype.kind == "f":
        return np.flatnonzero(~np.isnan(y))
    there = y != UNLABELLED
    return np.flatnonzero(there if there.ndim == 1 else there.all(axis=1))


def _missing(values: Array) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "US":
        return np.asarray(np.char.str_len(values) == 0)
    if values.dtype.kind == "O":
        found: Array = np.frompyfunc(_is_missing, 1, 1)(values)
        return found.astype(bool)
    return np.zeros(values.shape, dtype=bool)


def _is_missing(value: Any) -> bool:
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or (isinstance(value, str) and not value)


def _typed(present: Array, name: str) -> Array:
    """Return the labels that are there as an array of numbers, booleans or strings, (S,)."""
    if present.dtype.kind == "S":
        present = np.char.decode(present, "utf-8")
    if present.dtype.kind == "O":
        try:
            present = np.array(present.tolist())
        except ValueError:  # arrays of different lengths
            present = np.empty((0, 0))
    if present.ndim != 1 or present.dtype.kind not in "buifU":
        raise DataError(
            f"Label {name!r} must hold one string or number per sample; got values that are "
            f"neither (type {present.dtype})."
        )
    if present.dtype.kind == "f" and not np.isfinite(present).all():
        raise DataError(
            f"Label {name!r} must be finite; {int(np.isinf(present).sum())} of its values are "
            f"infinite. Leave them empty to treat these samples as unlabelled."
        )
    return present


def _guess(present: Array) -> str:
    if present.dtype.kind in "bU":
        return "classification"
    distinct = np.unique(present)
    if not np.array_equal(distinct, np.round(distinct)):
        return "regression"
    if len(distinct) <= max(2, min(FEW, len(present) // 2)):
        return "classification"
    gapless = distinct[0] in (0, 1) and distinct[-1] - distinct[0] == len(distinct) - 1
    return "classification" if gapless and len(distinct) <= len(present) / 10 else "regression"


def _classes(present: Array, rows: Index, total: int, name: str) -> tuple[Task, Array]:
    distinct, codes = np.unique(present, return_inverse=True)
    if len(distinct) < 2:
        raise DataError(
            f"Label {name!r} must have at least two classes; all {len(present)} labelled samples "
            f"are {_class_name(distinct[0])!r}."
        )
    names = [_class_name(value) for value in distinct]
    order = sorted(range(len(names)), key=_sort_key(names))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    y = np.full(total, UNLABELLED, dtype=np.int64)
    y[rows] = place[codes]
    return Task("classification", tuple(names[i] for i in order), name), y


def _class_name(value: Any) -> str:
    if isinstance(value, np.floating) and value == int(value):
        return str(int(value))
    return str(value)


def _sort_key(names: list[str]) -> Any:
    """Numbers sort as numbers even when they came as text: "9" before "10"."""
    try:
        numbers = [float(n) for n in names]
    except ValueError:
        return names.__getitem__
    return numbers.__getitem__ if np.isfinite(numbers).all() else names.__getitem__


def _numbers(present: Array, rows: Index, total: int, name: str) -> tuple[Task, Array]:
    try:
        numbers = present.astype(np.float64)
    except ValueError:
        raise DataError(
            f"Label {name!r} must hold numbers for a regression; got strings such as "
            f"{str(present[0])!r}. kind='classification' would do."
        ) from None
    if not np.isfinite(numbers).all():
        raise DataError(f"Label {name!r} must be finite; got text that means infinity or NaN.")
    if np.ptp(numbers) == 0:
        raise DataError(
            f"Label {name!r} must vary; all {len(numbers)} labelled samples are {numbers[0]:g}."
        )
    y = np.full(total, np.nan)
    y[rows] = numbers
    return Task("regression", (), name), y


def _multilabel(
    values: Array, rows: Index, name: str, kind: str, label_names: Sequence[str]
) -> tuple[Task, Array]:
    if kind not in ("auto", "multilabel") or values.ndim != 2:
        raise DataError(
            f"Label {name!r} must be an array (samples, labels) for multilabel and (samples,) "
            f"otherwise; got shape {values.shape} for kind={kind!r}."
        )
    try:
        numbers = values[rows].astype(np.float64)
    except (TypeError, ValueError):
        numbers = np.full((1, 1), 2.0)
    if not np.isin(numbers, (0, 1)).all():
        raise DataError(
            f"Label {name!r} has {values.shape[1]} values per sample, so each must be 0 or 1; "
            f"got others. One column at a time would do for a regression or for classes."
        )
    if (numbers == numbers[0]).all():
        raise DataError(f"Label {name!r} must vary; all {len(rows)} samples have the same row.")
    names = tuple(label_names) or tuple(f"{name} {i}" for i in range(values.shape[1]))
    if len(names) != values.shape[1]:
        raise DataError(
            f"infer_task.label_names must name every label; got {len(names)} for {values.shape[1]}."
        )
    y = np.full(values.shape, UNLABELLED, dtype=np.int64)
    y[rows] = numbers.astype(np.int64)
    return Task("multilabel", names, name), y
