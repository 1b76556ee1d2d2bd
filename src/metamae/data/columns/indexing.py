"""How columns are indexed: positions of samples, and the parts that hold them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


def positions(index: Any, length: int) -> Index:
    """Return what indexes a column as positions from 0 on, in the shape that it has.

    Args:
        index: A whole number, a slice, or an array or list of numbers or of flags.
        length: S of the column.

    Raises:
        IndexError: If a position is beyond either end.
    """
    if isinstance(index, slice):
        # Not by way of all S positions, which are more than a batch can be worth.
        return np.arange(*index.indices(length), dtype=np.int64)
    chosen = np.asarray(index)
    if chosen.dtype == bool:
        if chosen.shape != (length,):
            raise IndexError(f"{chosen.shape} flags for {length} samples")
        return np.flatnonzero(chosen)
    if chosen.size and chosen.dtype.kind not in "iu":
        raise IndexError(f"positions of {chosen.dtype}")
    chosen = chosen.astype(np.int64)
    if chosen.size and not -length <= chosen.min() <= chosen.max() < length:
        raise IndexError(f"positions {chosen.min()} to {chosen.max()} of {length} samples")
    return np.where(chosen < 0, chosen + length, chosen)


class AllBut:
    """All positions of S but a few, ascending: an index that takes no room however large S is.

    Args:
        length: S.
        left_out: Positions that are not among these, in any order.
    """

    def __init__(self, length: int, left_out: Any):
        self.length, self.left_out = length, np.unique(np.asarray(left_out, dtype=np.int64))
        # Of each that is left out, how many stand before it.
        self._before = self.left_out - np.arange(len(self.left_out))

    def __len__(self) -> int:
        return self.length - len(self.left_out)

    def __getitem__(self, index: Any) -> Any:
        chosen = positions(index, len(self))
        return chosen + self._before.searchsorted(chosen, side="right")

    def rank(self, origins: Index) -> Index:
        """Return how many of these stand before some positions of all S."""
        return np.asarray(origins - self.left_out.searchsorted(origins))


Chosen = Index | AllBut
"""Positions of samples within a larger set."""


def chosen_among(outer: Chosen, inner: Chosen) -> Chosen:
    """Return the positions in the whole of some that are chosen among those of `outer`."""
    if not isinstance(inner, AllBut):
        return np.asarray(outer[inner])
    if isinstance(outer, AllBut):
        return AllBut(outer.length, np.concatenate([outer.left_out, outer[inner.left_out]]))
    return np.delete(outer, inner.left_out)


def grouped(starts: Index, flat: Index) -> Iterator[tuple[int, Index]]:
    """Yield each part that positions fall into, and which of the positions do.

    Args:
        starts: Where the parts begin and the last one ends, (K + 1,) ascending.
        flat: Positions, (B,).
    """
    part = starts.searchsorted(flat, side="right") - 1
    order = np.argsort(part, kind="stable")
    numbers, first = np.unique(part[order], return_index=True)
    yield from zip(numbers.tolist(), np.split(order, first[1:]), strict=False)


def put(values: NDArray[Any], rows: Index, found: NDArray[Any]) -> None:
    """Set some rows; arrays become elements of an object array and do not fill its axes."""
    if values.dtype == object and (found.dtype != object or found.ndim > 1):
        for row, value in zip(rows.tolist(), found, strict=True):
            values[row] = value
    else:
        values[rows] = found
