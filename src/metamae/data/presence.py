"""Which samples have a value at all, and which are missing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Array
from metamae.data.records import Records

CHUNK = 1024  # samples that are read at once to see whether they have a value


def given(records: Records, *, every: bool) -> NDArray[np.bool_]:
    """Say which samples have a field that is made of these columns, (S,), reading a few at a time.

    A value is missing if it is None, empty, or only NaN.

    Args:
        records: With the columns of the field alone.
        every: Whether it needs all of its columns, as a recording needs its rate, or one, as a
            row of a table does.
    """
    there = np.full(len(records), every)
    for start in range(0, len(records), CHUNK):
        some = np.arange(start, min(start + CHUNK, len(records)))
        for column in records.columns.values():
            found = True if column.dtype.kind in "iub" else _given(np.asarray(column[some]))
            there[some] = there[some] & found if every else there[some] | found
    return there


def _given(values: Array) -> NDArray[np.bool_]:
    if values.dtype == object:
        return np.array([_is_given(value) for value in values], dtype=bool)
    if values.dtype.kind not in "fmM":
        return np.ones(len(values), dtype=bool)
    return np.asarray(~np.isnan(values).reshape(len(values), -1).all(axis=1))


def _is_given(value: Any) -> bool:
    if value is None or isinstance(value, str):
        return bool(value)
    array = np.asarray(value)
    return bool(_given(array.reshape(1, -1))[0]) if array.size and array.dtype != object else False
