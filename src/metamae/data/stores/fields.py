"""Stores of many arrays, such as HDF5 and Zarr: which of them are fields, and how they are read."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from metamae.data.columns.base import Array, Column, Index
from metamae.data.columns.blocks import BLOCK_ROWS, Blocked, Recent, Rows, joined
from metamae.data.files import check_unpacked, legible
from metamae.errors import DataError

CHUNK_BYTES = 2**30  # above which a chunk that packs suspiciously well is refused
_TEXT_BYTES = 64  # rough size of a string or a short array in memory

_log = logging.getLogger("metamae")


@dataclass(frozen=True)
class Stored:
    """An array of a store, known by its description alone.

    Attributes:
        shape: (S, ...).
        dtype: Of its elements; object for strings and for arrays of different shapes.
        chunk: Shape of its chunks; None if it has none.
        packed: Bytes that it takes in the store.
        read: (start, stop) -> those samples.
        mapped: The array itself where the store's memory can be mapped.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...] | None
    packed: int
    read: Callable[[int, int], Array]
    mapped: Array | None = None

    @property
    def row_bytes(self) -> int:
        """Size of a sample in memory."""
        return prod(self.shape[1:]) * (_TEXT_BYTES if self.dtype == object else self.dtype.itemsize)


def columns_of(
    source: str,
    arrays: Mapping[str, Stored],
    left_out: Iterable[str],
    field: str | None,
    most: int,
    recent: dict[str, Recent],
) -> dict[str, Column]:
    """Return the arrays of a store as columns, each read when it is asked for.

    Args:
        source: What messages call the store.
        arrays: The arrays that could be a field.
        left_out: What the others are and why they are none, e.g. "note (scalar)".
        field: The one to keep, which is among them; None keeps those as long as the largest.
        most: Bytes above which an array that packs suspiciously well is refused.
        recent: Keeps the blocks last read of each field; shards share it.

    Raises:
        DataError: If there is none, or one promises far more than is stored.
    """
    columns = {}
    for name, array in fields_of(source, arrays, left_out, field).items():
        owner = f"{source}, {name!r}"
        check_stored(owner, array, most)
        columns[name] = column_of(owner, array, recent.setdefault(name, Recent()))
    return columns


def fields_of(
    source: str, arrays: Mapping[str, Stored], left_out: Iterable[str], field: str | None
) -> dict[str, Stored]:
    """Return the arrays that hold a value per sample: those as long as the largest one.

    Args:
        source: What messages call the store.
        arrays: The arrays that could be a field.
        left_out: What the others are and why they are none, e.g. "note (scalar)".
        field: The one to keep, which is among them; None keeps all.

    Raises:
        DataError: If there is none.
    """
    aside = list(left_out)
    if not arrays:
        raise DataError(
            f"{source} must hold at least one array with a row per sample; got "
            f"{', '.join(aside[:8]) or 'nothing'}. Write the samples as an array (S, ...)."
        )
    if field is not None:
        return {field: arrays[field]}
    largest = max(arrays, key=lambda name: arrays[name].shape[0] * arrays[name].row_bytes)
    length = arrays[largest].shape[0]
    aside += [f"{name} {a.shape}" for name, a in arrays.items() if a.shape[0] != length]
    if aside:
        _log.info(
            "%s: samples are the %d rows of %r (override: --field); left out: %s",
            source,
            length,
            largest,
            ", ".join(aside),
        )
    return {name: array for name, array in arrays.items() if array.shape[0] == length}


def check_stored(owner: str, array: Stored, most: int) -> None:
    """Refuse an array whose description promises far more than is stored.

    Raises:
        DataError: If it does.
    """
    size = array.shape[0] * array.row_bytes
    check_unpacked(owner, array.packed, size, most)
    if array.chunk is not None and array.dtype != object:
        chunk = prod(array.chunk) * array.dtype.itemsize
        check_unpacked(owner, array.packed, chunk, min(most, CHUNK_BYTES))


def column_of(owner: str, array: Stored, recent: Recent) -> Column:
    """Return an array as a column that is read when it is asked for.

    Args:
        owner: What messages call it.
        array: One that passed `check_stored`.
        recent: Keeps the blocks last read.
    """
    length, inner = array.shape[0], array.shape[1:]
    dtype = number_type(array.dtype)
    if array.mapped is not None:
        if array.mapped.dtype == dtype:
            return array.mapped
        mapped = array.mapped
        return Rows(length, lambda index: mapped[index], dtype, inner)

    def read(start: int, stop: int) -> Array:
        rule = f"must hold rows {start} to {stop - 1} undamaged"
        with legible(owner, rule, "Write the file again."):
            return array.read(start, stop)

    if array.chunk is not None and array.chunk[0] == 1 and dtype.kind != "O":
        return Rows(length, lambda index: _alone(read, index), dtype, inner)
    rows = BLOCK_ROWS if array.chunk is None else array.chunk[0]
    starts = joined(length, min(rows, length), array.row_bytes)
    return Blocked(
        starts,
        lambda number: read(int(starts[number]), int(starts[number + 1])),
        dtype,
        inner,
        recent,
    )


def _alone(read: Callable[[int, int], Array], index: Index) -> Array:
    """Read rows, neighbours at once."""
    if not len(index):
        return read(0, 1)[:0]
    runs = np.split(index, np.flatnonzero(np.diff(index) > 1) + 1)
    return np.concatenate([read(int(run[0]), int(run[-1]) + 1) for run in runs])


def number_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which numbers are given out, which torch can hold."""
    if dtype.kind == "f" and dtype.itemsize > 8:
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")
