"""Columns of Arrow tables that stay in their file until they are asked for."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from metamae.data.arrow.convert import arrow_values
from metamae.data.columns.base import Array, Chain, Column, Index
from metamae.data.columns.blocks import Blocked, Recent
from metamae.data.columns.indexing import grouped, positions, put
from metamae.data.columns.values import as_column
from metamae.data.files import legible
from metamae.errors import DataError


class Parts(Protocol):
    """The row groups or record batches of a table in a file.

    Attributes:
        source: The file.
        word: What a part is called: "row group" or "record batch".
        schema: Of the table, as Arrow has it.
        starts: Where the parts begin and the last one ends, (K + 1,).
    """

    source: str
    word: str
    schema: Any
    starts: Index

    def read(self, name: str, number: int) -> Any:
        """Return a column of one part as an Arrow array in chunks."""

    def gaps(self, name: str) -> bool | None:
        """Say whether values are missing in any part; None if only looking would tell."""

    def counts(self, name: str) -> list[int] | None:
        """Return the numbers in the lists of each part, (K,); None if only looking would tell."""


@dataclass(frozen=True)
class Form:
    """What all the values of a column have in common.

    Attributes:
        dtype: Of the values, or of the elements of arrays of different shapes.
        shape: Of one value; None if shapes differ.
        sizes: The shape of each, (S, A), where they differ.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None
    sizes: Index | None = None


class Taken:
    """A column in mapped memory, of which rows are converted when they are asked for.

    Args:
        parts: Hold the column uncompressed.
        name: Of the column.
        form: Of all its values.
    """

    def __init__(self, parts: Parts, name: str, form: Form):
        self.parts, self.name, self.form = parts, name, form

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object) if self.form.shape is None else self.form.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *(self.form.shape or ()))

    @property
    def sizes(self) -> Index | None:
        return self.form.sizes

    def __len__(self) -> int:
        return int(self.parts.starts[-1])

    def __getitem__(self, index: Any) -> Any:
        import pyarrow as pa

        chosen = positions(index, len(self))
        flat = np.atleast_1d(chosen)
        kind = self.parts.schema.field(self.name).type
        taken, order = [], [np.empty(0, dtype=np.int64)]
        for number, rows in grouped(self.parts.starts, flat):
            inside = pa.array(flat[rows] - self.parts.starts[number])
            taken += self.parts.read(self.name, number).take(inside).chunks
            order.append(rows)
        owner = _owner(self.parts, self.name)
        found = _fitted(owner, arrow_values(owner, pa.chunked_array(taken, type=kind)), self.form)
        values = np.empty((len(flat), *self.shape[1:]), dtype=self.dtype)
        put(values, np.concatenate(order), found)
        return values if chosen.ndim else values[0]


def packed_column(parts: Parts, name: str, recent: Recent) -> Blocked:
    """Return a column that is decoded a part at a time.

    Raises:
        DataError: If it cannot be a column.
    """
    form = form_of(parts, name)
    read = partial(_read_part, parts, name, form)
    return Blocked(parts.starts, read, form.dtype, form.shape, recent, sizes=form.sizes)


def mapped_column(parts: Parts, name: str) -> Column:
    """Return a column of mapped memory: numpy arrays upon it where there is nothing to convert.

    Raises:
        DataError: If it cannot be a column.
    """
    owner = _owner(parts, name)
    views: list[Array] = []
    for number in range(len(parts.starts) - 1):
        for chunk in parts.read(name, number).chunks:
            view = _view(chunk)
            if view is None or view.shape[1:] != (views or [view])[0].shape[1:]:
                return Taken(parts, name, form_of(parts, name))
            views.append(view)
    views = [as_column(owner, view) for view in views if len(view)]
    return views[0] if len(views) == 1 else Chain(views, owner)


def form_of(parts: Parts, name: str) -> Form:
    """Find what the values of a column have in common; look at them only if nothing else tells.

    Raises:
        DataError: If they cannot be a column.
    """
    import pyarrow as pa

    kind, gaps, types = parts.schema.field(name).type, parts.gaps(name), pa.types
    listed = types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType)
    if listed and gaps is False:
        return _regular(parts, name) or _looked(parts, name)
    if listed or (gaps is None and (types.is_integer(kind) or types.is_boolean(kind))):
        return _looked(parts, name)
    example = pa.nulls(1, kind) if gaps else pa.array([], kind)
    return Form(arrow_values(_owner(parts, name), pa.chunked_array([example])).dtype, ())


def _regular(parts: Parts, name: str) -> Form | None:
    """Return the form of lists of one length, told by a look at the first part and by counts.

    A part that is unlike the first after all is refused when it is read.
    """
    counts, sizes = parts.counts(name), np.diff(parts.starts)
    if counts is None:
        return None
    values = _convert(parts, name, int(np.argmax(sizes > 0)))
    num = int(np.prod(values.shape[1:]))
    if values.dtype == object or not num or counts != (sizes * num).tolist():
        return None
    return Form(values.dtype, values.shape[1:])


def _looked(parts: Parts, name: str) -> Form:
    """Decode the parts one after the other, keeping nothing but shapes."""
    dtypes, shapes, sizes, ragged = set(), set(), [], False
    for number in np.flatnonzero(np.diff(parts.starts)).tolist():
        values = _convert(parts, name, number)
        if values.dtype == object:
            ragged = True
            dtypes |= {value.dtype for value in values}
            sizes.append(np.array([value.shape for value in values], dtype=np.int64))
        else:
            dtypes.add(values.dtype)
            shapes.add(values.shape[1:])
            sizes.append(np.tile(np.array(values.shape[1:], dtype=np.int64), (len(values), 1)))
    dtype = np.result_type(*dtypes)
    if ragged or len(shapes) > 1:
        return Form(dtype, None, np.concatenate(sizes))
    (shape,) = shapes
    if 0 in shape:
        as_column(_owner(parts, name), np.empty((1, *shape)))  # refuses it
    return Form(dtype, shape)


def _owner(parts: Parts, name: str) -> str:
    return f"{parts.source}, column {name!r}"


def _convert(parts: Parts, name: str, number: int) -> Array:
    owner = f"{_owner(parts, name)}, {parts.word} {number}"
    with legible(owner, f"must be a complete {parts.word}", "Write the file again."):
        values = parts.read(name, number)
        # Before any value is touched: damaged offsets, once followed, can end the process.
        values.validate(full=True)
    return arrow_values(owner, values)


def _read_part(parts: Parts, name: str, form: Form, number: int) -> Array:
    owner = f"{_owner(parts, name)}, {parts.word} {number}"
    return _fitted(owner, _convert(parts, name, number), form)


def _fitted(owner: str, values: Array, form: Form) -> Array:
    """Bring values to the form that was found, or was promised by the file's own statistics."""
    if form.dtype == object:
        return values
    arrays = list(values) if form.shape is None else [values]
    wrong = [v for v in arrays if not np.can_cast(v.dtype, form.dtype, "same_kind")]
    if wrong or (form.shape is not None and values.shape[1:] != form.shape):
        got = wrong[0].dtype if wrong else f"shape {values.shape[1:]}"
        raise DataError(
            f"{owner} must hold values of {form.dtype}, of shape {form.shape}, as the file says; "
            f"got {got}. Write the file again, or load it as a whole with a larger in_memory."
        )
    if form.shape is not None:
        return values
    fitted = np.empty(len(values), dtype=object)
    for row, value in enumerate(arrays):
        fitted[row] = value.astype(form.dtype, copy=False)
    return fitted


def _view(array: Any) -> Array | None:
    """Return Arrow's memory as a numpy array (n, ...); None if values have to be converted."""
    import pyarrow as pa

    types, length, inner = pa.types, len(array), list[int]()
    if isinstance(array, pa.FixedShapeTensorArray):
        return None if array.null_count else np.asarray(array.to_numpy_ndarray())
    while _is_list(array.type):
        if array.null_count:
            return None
        lengths = np.unique(array.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) != 1:
            return None
        inner.append(int(lengths[0]))
        array = array.flatten()
    plain = types.is_integer(array.type) or types.is_floating(array.type)
    if array.null_count or not (plain or (types.is_timestamp(array.type) and not inner)):
        return None
    return np.asarray(array.to_numpy(zero_copy_only=True)).reshape(length, *inner)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))
