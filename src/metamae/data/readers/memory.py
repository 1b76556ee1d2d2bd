"""Objects in memory: arrays, lists, dicts of these, data frames, AnnData, data sets of PyTorch.

Objects are recognised by what they offer (`__array__`, `__arrow_c_stream__`) and not by their
class, so that none of the libraries has to be installed or imported here.
"""

import sys
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any, ClassVar

import numpy as np

from metamae.data.arrow import annotated_records, frame_table, table_records
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array, Column
from metamae.data.columns.items import item_columns
from metamae.data.columns.values import as_column, as_samples
from metamae.data.files import check_field, is_path, legible
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.stores.sparse import SparseRows
from metamae.errors import DataError

_ACCEPTED = (
    "a path; an array or tensor of shape (S, ...); a list of strings or of arrays; a dict of "
    "these; a pandas or polars DataFrame; an Arrow table; an AnnData object; a data set of PyTorch "
    "with a length; or Records"
)


class MemoryReader(Reader):
    """Reads an array or a list as field "X", a dict or a table as one field per key or column."""

    description: ClassVar[str] = "arrays, lists, data frames, AnnData, PyTorch data sets in memory"

    def accepts(self, data: Any) -> bool:
        return not is_path(data)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        records = self._records(data, field)
        check_field(records.source, field, records)
        return records if field is None else records.only([field])

    def _records(self, data: Any, field: str | None) -> Records:
        if isinstance(data, Records):
            return data
        if is_path(data):
            raise DataError(
                f"data must be an object in memory for this reader; got the path {str(data)!r}. "
                "reader='auto' picks the reader of a path."
            )
        if _is_table(data):
            return _table(data, field)
        if _is_of("anndata", data):
            return _annotated(data, field)
        if _is_of("torch.utils.data", data):
            return _items(data, field)
        source = "array" if isinstance(data, np.ndarray) else type(data).__name__
        if isinstance(data, Mapping):
            return Records(_columns(data, field), source)
        return Records({"X": as_samples(source, _column(data, source))}, source)


def _is_table(data: Any) -> bool:
    # A Series offers the same stream but has no columns. The class is asked and not the object,
    # because a lazy frame would have to compute them.
    kind = type(data)
    tabular = hasattr(kind, "columns") or hasattr(kind, "column_names")
    return (tabular and hasattr(kind, "__arrow_c_stream__")) or _is_pandas(data)


def _is_pandas(data: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _is_of(package: str, data: Any) -> bool:
    """Say whether a package made an object or what it inherits from, without importing it."""
    return any(f"{base.__module__}.".startswith(f"{package}.") for base in type(data).__mro__[:-1])


def _table(data: Any, field: str | None) -> Records:
    import pyarrow as pa

    source = type(data).__name__
    if _is_pandas(data):
        return table_records(frame_table(data, source), source, field=field)
    remedy = "Convert the column that it names to numbers or strings, or drop it."
    with legible(source, "must hold columns of one type each", remedy):
        table = pa.table(data)
    return table_records(table, source, field=field)


def _annotated(data: Any, field: str | None) -> Records:
    """Return an AnnData object: its matrix, and the columns of `obs`."""
    source = type(data).__name__
    if getattr(data, "isbacked", False):
        raise DataError(
            f"{source} must be in memory here; got one that is backed by a file. Give the path of "
            "the file, which is then read in parts."
        )
    matrix = getattr(data, "X", None)
    if matrix is None or not hasattr(data, "obs"):
        raise DataError(f"{source} must be an AnnData object with a matrix X; got none.")
    column: Column
    if hasattr(matrix, "tocsr"):
        # Only a matrix that is compressed by rows gives them out.
        column = SparseRows(matrix.tocsr())
    else:
        column = as_samples(source, _column(matrix, f"{source}, 'X'"))
    return annotated_records(column, data.obs, source, field)


def _items(data: Any, field: str | None) -> Records:
    """Return a data set of PyTorch, whose items are asked for one by one."""
    source = type(data).__name__
    tensors = getattr(data, "tensors", None)
    if isinstance(tensors, tuple) and tensors:
        names = ("X", "y") if len(tensors) == 2 else [str(n) for n in range(len(tensors))]
        columns: dict[str, Column] = {"X": _column(tensors[0], source)}
        if len(tensors) > 1:
            pairs = zip(names, tensors, strict=True)
            columns = {name: _column(values, f"{source}, {name!r}") for name, values in pairs}
        return Records(columns, source, row_word="item")
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
        raise DataError(
            f"{source} must have a length and give any of its items; got one that only runs "
            "through them. list(dataset) would do."
        )
    return Records(item_columns(data, source, _value), source, row_word="item")


def _value(value: Any, owner: str) -> Any:
    if _missing(value):
        return None
    if isinstance(value, str):
        return value
    with legible(owner, "must be a number, a string or an array", "Convert it."):
        array = _to_numpy(value, owner)
    if array.dtype.kind not in "biuf" or not array.size:
        raise DataError(
            f"{owner} must be a number, a string or an array of numbers; got {_name(value)}. "
            "Give the data set a transform that returns one."
        )
    return as_column(owner, np.atleast_1d(array)).reshape(array.shape)


def _columns(data: Mapping[Any, Any], field: str | None) -> dict[str, Array]:
    if not data:
        raise DataError("dict must hold at least one field; got none. {'X': array} would do.")
    for name in data:
        if not isinstance(name, str) or not name:
            raise DataError(f"dict must have names as keys; got {name!r}. {str(name)!r} would do.")
    check_field("dict", field, data)
    kept = {name: values for name, values in data.items() if field in (None, name)}
    return {name: _column(values, f"dict, {name!r}") for name, values in kept.items()}


def _column(data: Any, owner: str) -> Array:
    if isinstance(data, list):
        return _from_list(data, owner)
    if not _is_array(data):
        raise DataError(
            f"{owner} must be data that can be read; got {_name(data)}. {_advice(data)}"
        )
    array = _to_numpy(data, owner)
    if array.dtype == object and array.ndim == 1:
        return _from_list(list(array), owner)
    return as_column(owner, array)


def _name(data: Any) -> str:
    return "None" if data is None else f"{type(data).__name__!r}"


def _advice(data: Any) -> str:
    if hasattr(data, "toarray"):
        return "It is sparse: data.toarray() would do."
    if hasattr(data, "collect"):
        return "It is lazy: data.collect() would do."
    if isinstance(data, tuple):
        return "Use a list for samples, or a dict for fields: {'X': X, 'y': y}."
    return f"Accepted are: {_ACCEPTED}."


def _is_array(data: Any) -> bool:
    return isinstance(data, np.ndarray) or (
        hasattr(data, "__array__") and not isinstance(data, type)
    )


def _to_numpy(data: Any, owner: str) -> Array:
    if isinstance(data, np.ma.MaskedArray):
        return _filled(data)
    remedy = "A dense array of numbers in main memory would do: to_dense(), float(), cpu()."
    with legible(owner, "must convert to a numpy array", remedy):
        # A tensor with a gradient or on a device does not convert by itself.
        for step in ("detach", "cpu", "numpy") if hasattr(data, "detach") else ():
            data = getattr(data, step)()
        return np.asarray(data)


def _filled(data: Any) -> Array:
    # np.asarray would show the values that the mask hides.
    if not np.ma.is_masked(data):
        return np.asarray(data.data)
    kept = data if data.dtype.kind == "f" else data.astype(np.float64)
    return np.asarray(kept.filled(np.nan))


def _from_list(values: Sequence[Any], owner: str) -> Array:
    present = [value for value in values if not _missing(value)]
    if not present:
        raise DataError(
            f"{owner} must hold at least one sample; got {len(values)} values, all missing. "
            "A list with a string or an array per sample would do."
        )
    texts = sum(isinstance(value, str) for value in present)
    if texts == len(present):
        column = np.empty(len(values), dtype=object)
        column[:] = [None if _missing(value) else str(value) for value in values]
        return column
    if texts:
        odd = next(i for i, v in enumerate(values) if not (_missing(v) or isinstance(v, str)))
        raise DataError(
            f"{owner} must hold strings only or arrays only; got {texts} strings, and "
            f"{_name(values[odd])} at position {odd}. str(...) would make it a string."
        )
    if all(isinstance(value, Number | np.generic) for value in present):
        with legible(owner, "must hold numbers of one type", "astype(float) would do."):
            return as_column(owner, _stack_numbers(values, len(present)))
    return _from_arrays(values, owner)


def _missing(value: Any) -> bool:
    # pandas.NA is recognised by name, because comparing it does not give a truth value.
    if value is None or type(value).__name__ == "NAType":
        return True
    return isinstance(value, float) and value != value


def _stack_numbers(values: Sequence[Any], num_present: int) -> Array:
    if num_present == len(values):
        return np.array(values)
    return np.array([np.nan if _missing(value) else value for value in values], dtype=np.float64)


def _from_arrays(values: Sequence[Any], owner: str) -> Array:
    arrays = [_one(value, f"{owner}, position {i}") for i, value in enumerate(values)]
    for position, array in enumerate(arrays):
        if array.ndim != arrays[0].ndim:
            raise DataError(
                f"{owner} must hold arrays with one number of axes; got shape {arrays[0].shape} "
                f"at position 0 and {array.shape} at position {position}. If these are fields and "
                "not samples, a dict would do: {'X': X, 'y': y}."
            )
    dtype = np.result_type(*{array.dtype for array in arrays})
    if len({array.shape for array in arrays}) == 1:
        return as_column(owner, np.stack(arrays))
    ragged = np.empty(len(arrays), dtype=object)
    for position, array in enumerate(arrays):
        ragged[position] = array.astype(dtype, copy=False)
    return ragged


def _one(value: Any, owner: str) -> Array:
    if not isinstance(value, list) and not _is_array(value):
        raise DataError(
            f"{owner}, must be an array or a list of numbers; got {_name(value)}. "
            "A data frame holds samples of several fields: pandas.DataFrame(data) may do."
        )
    array = _to_numpy(value, owner)
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise DataError(
            f"{owner}, must be an array of numbers; got shape {array.shape} of {array.dtype}. "
            "An array of floats with at least one axis would do."
        )
    return as_column(owner, array)
