"""Sparse matrices of which rows become dense when they are asked for."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from metamae.data.columns.base import Array, Column, Index
from metamae.data.columns.blocks import Blocked, Recent
from metamae.data.columns.indexing import positions
from metamae.data.files import legible
from metamae.data.stores.fields import Stored, number_type
from metamae.errors import DataError

_BLOCK_VALUES = 2**19  # stored values that a block of rows has, about
_ROWS = (64, 8192)  # fewest and most rows of a block


@dataclass(frozen=True)
class Rows:
    """Some neighbouring rows of a sparse matrix.

    Attributes:
        starts: Where each row begins in `columns` and `values`, and the last one ends, (n + 1,).
        columns: Column of each stored value, (K,).
        values: The stored values, (K,).
    """

    starts: Index
    columns: Array
    values: Array

    @property
    def shape(self) -> tuple[int]:
        """Number of rows."""
        return (len(self.starts) - 1,)

    def dense(self, index: Index, width: int, dtype: np.dtype[Any]) -> Array:
        """Return some of the rows, (B, width)."""
        dense = np.zeros((len(index), width), dtype=dtype)
        for row, n in enumerate(index.tolist()):
            part = slice(int(self.starts[n]), int(self.starts[n + 1]))
            dense[row, self.columns[part]] = self.values[part]
        return dense


class SparseBlocks(Blocked):
    """Rows of a sparse matrix in a file, read a block at a time: (S, width)."""

    def rows(self, block: Any, index: Index) -> Array:
        dense: Array = block.dense(index, self.shape[1], self.dtype)
        return dense


class SparseRows:
    """Rows of a sparse matrix in memory: (S, width).

    Args:
        matrix: Of SciPy, compressed by rows.
    """

    def __init__(self, matrix: Any):
        self.matrix = matrix

    @property
    def dtype(self) -> np.dtype[Any]:
        found: np.dtype[Any] = self.matrix.dtype
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.matrix.shape)

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def __getitem__(self, index: Any) -> Any:
        chosen = positions(index, len(self))
        dense = np.asarray(self.matrix[np.atleast_1d(chosen)].toarray())
        return dense if chosen.ndim else dense[0]


def sparse_column(
    owner: str, width: int, starts: Index, columns: Stored, values: Stored, recent: Recent
) -> Column:
    """Return the rows of a compressed sparse matrix in a file as a column (S, width).

    Args:
        owner: What messages call it.
        width: Its number of columns.
        starts: Where each row begins among the stored values, (S + 1,).
        columns: Column of each stored value, (K,).
        values: The stored values, (K,).
        recent: Keeps the blocks last read.

    Raises:
        DataError: If the three do not belong together.
    """
    num_rows, num_values = len(starts) - 1, values.shape[0]
    ends = (int(starts[0]), int(starts[-1]))
    if ends != (0, num_values) or columns.shape != values.shape or (np.diff(starts) < 0).any():
        raise DataError(
            f"{owner} must be a complete sparse matrix; got rows from {ends[0]} to {ends[1]} of "
            f"{num_values} values in {columns.shape[0]} columns. Write the file again."
        )
    step = int(np.clip(_BLOCK_VALUES * num_rows // max(1, num_values), *_ROWS))
    blocks = np.append(np.arange(0, num_rows, step, dtype=np.int64), np.int64(num_rows))

    def read(number: int) -> Rows:
        start, stop = int(blocks[number]), int(blocks[number + 1])
        first, last = int(starts[start]), int(starts[stop])
        with legible(owner, f"must hold rows {start} to {stop - 1} undamaged", "Write it again."):
            where, what = columns.read(first, last), values.read(first, last)
        if len(where) and not 0 <= where.min() <= where.max() < width:
            raise DataError(
                f"{owner} must have {width} columns; got a value in column {where.max()} among "
                f"rows {start} to {stop - 1}. Write the file again."
            )
        return Rows(starts[start : stop + 1] - first, where, what)

    return SparseBlocks(blocks, read, number_type(values.dtype), (width,), recent)
