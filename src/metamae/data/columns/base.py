"""One field of every sample, read when it is asked for; and views of such a field.

A column may offer more than the protocol asks for, where it can do so cheaply. The functions
`blocks_of`, `decodes`, `sizes_of` and `stretch_of` use what it offers and do without otherwise:

- `blocks`, (K + 1,) ascending positions from 0 to S: samples between two of them are stored
  together, so that reading one alone costs as much as reading all (a row group, a packed chunk);
- `decodes`: True where reading a sample is work for a processor, so that it pays to have others
  do it (image and audio files);
- `sizes`, (S, A): the shape of every value where shapes differ, found without reading values, or
  None;
- `stretch(position, start, stop)`: a part of one long value along its last axis (the first for
  strings), read without the rest.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.indexing import AllBut, Chosen, chosen_among, grouped, positions, put
from metamae.errors import DataError

Array = NDArray[Any]
Index = NDArray[np.int64]
CHUNK = 1024  # values that are read at once to find their shapes


class Column(Protocol):
    """One field of every sample, read when it is asked for.

    An array of shape (S, ...) is a column, a memory map included; so is an object array of
    strings (None where missing) or of arrays of different shapes (None where missing); so is a
    list of files that are decoded on access.
    """

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values; object for strings and for arrays of different shapes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(S, ...): the number of samples, then the shape of one value."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any:
        """Return the values at an array of positions, as an array with that many rows."""


class Subset:
    """Some samples of a column, in a given order, without copying them."""

    def __init__(self, column: "Column | Subset", index: Chosen):
        # A subset of a subset points at the column itself, so that depth never grows.
        self.column: Column
        self.index: Chosen
        if isinstance(column, Subset):
            self.column, self.index = column.column, chosen_among(column.index, index)
        else:
            self.column, self.index = column, index

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.column.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.index), *self.column.shape[1:])

    @property
    def blocks(self) -> Index | None:
        """Where the samples of each block begin, if they stand in the order of the column."""
        blocks = blocks_of(self.column)
        if blocks is None:
            return None
        if isinstance(self.index, AllBut):
            return np.unique(self.index.rank(blocks))
        if (np.diff(self.index) < 0).any():
            return None
        return np.unique(np.searchsorted(self.index, blocks))

    @property
    def decodes(self) -> bool:
        return decodes(self.column)

    @property
    def sizes(self) -> Index | None:
        return known_sizes(self.column, self.index[:])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Any) -> Any:
        return self.column[self.index[index]]

    def stretch(self, position: int, start: int, stop: int, axis: int = -1) -> Any:
        """Read a part of one value."""
        return stretch_of(self.column, int(self.index[position]), start, stop, axis)


class Chain:
    """Columns of several sources, one behind the other: the shards of one data set.

    Args:
        columns: At least one.
        owner: What messages call the column.

    Raises:
        DataError: If their types or shapes cannot be one column.
    """

    def __init__(self, columns: Sequence[Column], owner: str):
        self.columns = list(columns)
        self.starts = np.cumsum([0, *(len(column) for column in self.columns)])
        dtype = common_dtype(self.columns)
        if dtype is None:
            found = sorted({f"{c.dtype} {c.shape[1:]}" for c in self.columns})
            raise DataError(
                f"{owner} must hold values of one kind in all its parts; got "
                f"{', '.join(found)}. Convert them to one type and shape."
            )
        self._dtype = dtype
        self.ragged = dtype.kind == "O"

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        rest = () if self.ragged else self.columns[0].shape[1:]
        return (int(self.starts[-1]), *rest)

    @property
    def blocks(self) -> Index | None:
        """Blocks of all the columns; one without any is a block as a whole if others have some."""
        every = [blocks_of(column) for column in self.columns]
        if all(blocks is None for blocks in every):
            return None
        parts = [
            start + (np.array([0, len(column)]) if blocks is None else blocks)
            for start, column, blocks in zip(self.starts, self.columns, every, strict=False)
        ]
        return np.unique(np.concatenate(parts))

    @property
    def decodes(self) -> bool:
        return any(decodes(column) for column in self.columns)

    @property
    def sizes(self) -> Index | None:
        every = [known_sizes(column) for column in self.columns]
        known = [sizes for sizes in every if sizes is not None]
        return np.concatenate(known) if len(known) == len(every) else None

    def sizes_at(self, some: Index) -> Index | None:
        """Those of some values, (B, A), without those of all columns put together for it."""
        found: Index | None = None
        for number, rows in grouped(self.starts, some):
            own = known_sizes(self.columns[number], some[rows] - self.starts[number])
            if own is None:
                return None
            found = np.empty((len(some), own.shape[1]), dtype=np.int64) if found is None else found
            found[rows] = own
        return found

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: Any) -> Any:
        chosen = positions(index, len(self))
        flat = np.atleast_1d(chosen)
        values = np.empty((len(flat), *self.shape[1:]), dtype=self._dtype)
        for number, rows in grouped(self.starts, flat):
            put(values, rows, self.columns[number][flat[rows] - self.starts[number]])
        return values if chosen.ndim else values[0]

    def stretch(self, position: int, start: int, stop: int, axis: int = -1) -> Any:
        """Read a part of one value."""
        part = int(self.starts.searchsorted(position, side="right")) - 1
        return stretch_of(self.columns[part], position - int(self.starts[part]), start, stop, axis)


class OneByOne(ABC):
    """A column whose values, of any shapes, are made one at a time when they are asked for."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def value(self, position: int) -> Any:
        """Return one value; None if it is missing."""

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self),)

    def __getitem__(self, index: Any) -> Any:
        chosen = positions(index, len(self))
        flat = np.atleast_1d(chosen)
        values = np.empty(len(flat), dtype=object)
        for row, position in enumerate(flat.tolist()):
            values[row] = self.value(position)
        return values if chosen.ndim else values[0]


class Stretches(OneByOne):
    """Parts of the values of a column along one axis: the windows of long recordings.

    Args:
        column: Values (..., L), or strings.
        owner: Position of the value that each stretch is cut from, (W,).
        start: Where each begins, (W,).
        stop: Behind its end, (W,).
        whole: Shape of each value of the column, (S, A).
        axis: Axis of one value that is cut, counted from the last, -1.
    """

    def __init__(
        self, column: Column, owner: Index, start: Index, stop: Index, whole: Index, axis: int = -1
    ):
        self.column, self.owner, self.start, self.stop = column, owner, start, stop
        self.axis, self.sizes = axis, whole[owner]
        self.sizes[:, axis] = stop - start

    @property
    def decodes(self) -> bool:
        return decodes(self.column)

    def __len__(self) -> int:
        return len(self.owner)

    def value(self, position: int) -> Any:
        start, stop = int(self.start[position]), int(self.stop[position])
        return stretch_of(self.column, int(self.owner[position]), start, stop, self.axis)


def common_dtype(columns: Sequence[Column]) -> np.dtype[Any] | None:
    """Return the type of columns joined: object if shapes differ; None if they cannot be joined."""
    shapes = {c.shape[1:] for c in columns if c.dtype != object}
    texts = any(c.dtype.kind in "OU" for c in columns)
    # One number per sample goes with neither strings nor arrays.
    if len({len(shape) for shape in shapes}) > 1 or (texts and () in shapes):
        return None
    if texts or len(shapes) > 1:
        return np.dtype(object)
    try:
        return np.result_type(*(c.dtype for c in columns))
    except TypeError:
        return None  # a date and a number


def blocks_of(column: Column) -> Index | None:
    """Positions between which samples are stored together, (K + 1,); None if each stands alone."""
    blocks: Index | None = getattr(column, "blocks", None)
    return blocks


def decodes(column: Column) -> bool:
    """Whether reading a sample is work for a processor."""
    return bool(getattr(column, "decodes", False))


def known_sizes(column: Column, some: Index | None = None) -> Index | None:
    """Shape of every value, (S, A), or of some, (B, A), if known without reading values."""
    if column.dtype != object and column.dtype.kind != "U":
        num = len(column) if some is None else len(some)
        return np.tile(np.array(column.shape[1:], dtype=np.int64), (num, 1))
    if some is not None and len(some) and isinstance(column, Chain):
        return column.sizes_at(some)
    sizes: Index | None = getattr(column, "sizes", None)
    return sizes if sizes is None or some is None else sizes[some]


def sizes_of(column: Column) -> Index:
    """Shape of every value, (S, A); a string has its length, a missing value zeros.

    Raises:
        DataError: If values have different numbers of axes.
    """
    sizes = known_sizes(column)
    if sizes is not None:
        return sizes
    shapes = list(_shapes(column))
    axes = max((len(shape) for shape in shapes), default=1) or 1
    for position, shape in enumerate(shapes):
        if shape and len(shape) != axes:
            raise DataError(
                f"Sample {position} must have {axes} axes like the others; got shape {shape}. "
                f"Reshape it."
            )
    return np.array([shape or (0,) * axes for shape in shapes], dtype=np.int64).reshape(-1, axes)


def stretch_of(column: Column, position: int, start: int, stop: int, axis: int = -1) -> Any:
    """Return a part of one value along an axis, counted from the last; of a string, characters."""
    if isinstance(column, Subset | Chain):
        return column.stretch(position, start, stop, axis)
    read = getattr(column, "stretch", None)
    if read is not None and axis == -1:
        return read(position, start, stop)
    # One value of an array is a view: of a memory map, only the part that is used is read.
    plain = isinstance(column, np.ndarray)
    value = column[position] if plain else column[np.array([position])][0]
    if value is None or isinstance(value, str):
        return value and value[start:stop]
    return value[(..., slice(start, stop), *(slice(None),) * (-1 - axis))]


def _shapes(column: Column) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(column), CHUNK):
        for value in column[np.arange(start, min(start + CHUNK, len(column)))]:
            if value is None:
                yield ()
            else:
                yield (len(value),) if isinstance(value, str) else np.shape(value)
