"""Arrays of any origin as columns: numbers, dates or strings, one value per sample."""

import numpy as np

from metamae.data.columns.base import Array
from metamae.errors import DataError

# numpy kind -> what would work, for types that no modality can take.
_REFUSED = {
    "c": "Split it into two real channels: np.stack([x.real, x.imag], axis=1).",
    "m": "Divide it by a unit to get numbers: x / np.timedelta64(1, 's').",
    "O": "Convert it with x.astype(float) or x.astype(str).",
    "S": "Decode it with x.astype(str).",
    "V": "Store each of its fields as an array of its own.",
}


def as_column(owner: str, array: Array) -> Array:
    """Return an array as a column: numbers, dates or strings, one value per sample.

    Args:
        owner: What messages call the array.
        array: Any array, (S, ...). It is copied only if torch could not hold its type.

    Raises:
        DataError: If it is empty or of a type that cannot be a column.
    """
    kind = array.dtype.kind
    if array.ndim == 0:
        raise DataError(
            f"{owner} must hold one value per sample; got a single value. "
            "An array with an axis for the samples would do."
        )
    if array.size == 0:
        raise DataError(
            f"{owner} must hold at least one value; got shape {array.shape}. "
            "Any array without an axis of length 0 would do."
        )
    if kind in _REFUSED:
        raise DataError(
            f"{owner} must hold numbers or strings; got {array.dtype}. {_REFUSED[kind]}"
        )
    if kind in "UTM" and array.ndim > 1:
        raise DataError(
            f"{owner} must hold one {'date' if kind == 'M' else 'string'} per sample; got shape "
            f"{array.shape}. Store each column as an array of its own."
        )
    if kind in "UT":
        return np.asarray(array).astype(object)
    if kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def as_samples(owner: str, column: Array) -> Array:
    """Return a column that has no name, and so must be the samples themselves.

    Raises:
        DataError: If it has one number per sample, which is a field of a table or a mistake.
    """
    if column.ndim == 1 and column.dtype != object:
        raise DataError(
            f"{owner} must have an axis for the samples and one for their values; got shape "
            f"{column.shape}, one number per sample. Reshape it to (S, 1) if S samples of one "
            "number are meant, or to (1, S) for one series."
        )
    return column
