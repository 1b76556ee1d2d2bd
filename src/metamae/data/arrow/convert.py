"""Arrow arrays as numpy columns: numbers, dates, strings, and lists of numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from metamae.data.columns.base import Array
from metamae.data.columns.values import as_column
from metamae.data.files import legible
from metamae.errors import DataError


def arrow_column(owner: str, values: Any) -> Array:
    """Turn a chunked Arrow array of S values into a numpy column.

    Numbers stay as they are, or become floating with NaN where some are missing; strings and
    dictionaries become an object array with None; times of day and durations become seconds;
    lists of equal shapes become (S, ...), others an object array of arrays.

    Raises:
        DataError: If the type cannot be a column, or there is no value at all.
    """
    column = arrow_values(owner, values)
    return column if column.dtype == object else as_column(owner, column)


def arrow_values(owner: str, values: Any) -> Array:
    """Do as `arrow_column` does with a part of a column, which may be empty."""
    import pyarrow as pa

    convert: Callable[[str, Any], Array] | None = None
    if isinstance(values.type, pa.FixedShapeTensorType):
        convert = _tensors
    for call, names in _CONVERTERS:
        tests = (getattr(pa.types, f"is_{name}", None) for name in names)
        if any(test(values.type) for test in tests if test):
            convert = call
    if convert is None:
        raise DataError(
            f"{owner} must hold numbers, dates, strings or lists of numbers; got {values.type}. "
            "Drop the column, or read one other with field=..."
        )
    with legible(owner, f"must hold legal values of type {values.type}", "Rewrite the column."):
        return convert(owner, values)


def _numbers(owner: str, values: Any) -> Array:
    import pyarrow as pa

    types, kind = pa.types, values.type
    # numpy knows a missing value among floating numbers and dates only.
    holds_gaps = types.is_floating(kind) or types.is_date(kind) or types.is_timestamp(kind)
    whole = types.is_null(kind) or types.is_decimal(kind)
    if whole or (values.null_count and not holds_gaps):
        values = values.cast(pa.float64())
    return np.asarray(values.to_numpy())


def _strings(owner: str, values: Any) -> Array:
    import pyarrow as pa

    if not pa.types.is_dictionary(values.type):
        return np.asarray(values.cast(pa.large_string()).to_numpy(), dtype=object)
    parts = [np.empty(0, dtype=object)]
    for chunk in values.chunks:
        # By hand, because Arrow decodes only some types of dictionary. Position -1 is None.
        words = [*chunk.dictionary.cast(pa.large_string()).to_pylist(), None]
        codes = chunk.indices.cast(pa.int64()).fill_null(-1).to_numpy()
        parts.append(np.array(words, dtype=object)[codes])
    return np.concatenate(parts)


def _seconds(owner: str, values: Any) -> Array:
    import pyarrow as pa

    unit = pa.duration("ns") if pa.types.is_duration(values.type) else pa.time64("ns")
    return _numbers(owner, values.cast(unit).cast(pa.int64())) / 1e9


def _tensors(owner: str, values: Any) -> Array:
    if values.null_count:
        raise DataError(f"{owner} must hold a tensor in every row; got none in some. Drop those.")
    parts = [c.to_numpy_ndarray() for c in values.chunks if len(c)]
    if not parts:
        return np.empty((0, *values.type.shape), dtype=values.type.value_type.to_pandas_dtype())
    return np.concatenate(parts)


def _lists(owner: str, values: Any) -> Array:
    import pyarrow as pa

    whole = values.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # older versions keep an empty one
        whole = pa.array([], type=values.type) if not values.num_chunks else whole.chunk(0)
    if whole.null_count:
        row = int(np.flatnonzero(whole.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(
            f"{owner} must hold a list in every row; got a missing one at position {row}. "
            "Drop the row, or make it an empty list."
        )
    equal = _dense(owner, whole)
    if equal is not None:
        return equal
    ragged = np.empty(len(whole), dtype=object)
    inner = _dense(owner, whole.flatten())
    if inner is not None:
        ends = np.cumsum(whole.value_lengths().to_numpy())
        ragged[:] = np.split(inner, ends[:-1])
        return ragged
    for row in range(len(whole)):
        one = _dense(owner, whole.slice(row, 1))
        if one is None:
            raise DataError(
                f"{owner} must hold a rectangular array in every row; got lists of different "
                f"lengths within the one at position {row}. Pad them to one length."
            )
        ragged[row] = one[0]
    dtype = np.result_type(*{value.dtype for value in ragged})
    for row, value in enumerate(ragged):
        ragged[row] = value.astype(dtype, copy=False)
    return ragged


def _dense(owner: str, array: Any) -> Array | None:
    # Values of an Arrow array as (len, ...), or None if lists in it differ in length.
    import pyarrow as pa

    types = pa.types
    if types.is_list(array.type) or types.is_large_list(array.type):
        lengths = np.unique(array.value_lengths().fill_null(0).to_numpy())
        if len(lengths) > 1:
            return None
        length = int(lengths[0]) if len(lengths) else 0
    elif types.is_fixed_size_list(array.type):
        length = array.type.list_size
    elif types.is_primitive(array.type) and not types.is_temporal(array.type):
        return _numbers(owner, pa.chunked_array([array]))
    else:
        raise DataError(
            f"{owner} must hold numbers in its lists; got {array.type}. "
            "Join a list of strings into one string, or drop the column."
        )
    if array.null_count:
        raise DataError(f"{owner} must not miss an inner list; got a null. Fill or drop its row.")
    inner = _dense(owner, array.flatten())
    return None if inner is None else inner.reshape(len(array), length, *inner.shape[1:])


# Names of the Arrow types, as in pyarrow.types.is_<name>; older versions lack string_view.
_CONVERTERS: tuple[tuple[Callable[[str, Any], Array], tuple[str, ...]], ...] = (
    (_numbers, ("null", "boolean", "integer", "floating", "decimal", "date", "timestamp")),
    (_strings, ("string", "large_string", "string_view", "dictionary")),
    (_seconds, ("time", "duration")),
    (_lists, ("list", "large_list", "fixed_size_list")),
)
