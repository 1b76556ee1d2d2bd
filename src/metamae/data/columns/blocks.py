"""Columns stored in blocks, each of which is read as a whole: row groups, packed chunks."""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from metamae.data.columns.base import Array, Index
from metamae.data.columns.indexing import grouped, positions, put
from metamae.errors import DataError

KEPT = 10  # blocks of a column kept in memory: the 8 that training mixes, and some room
BLOCK_BYTES = 2**20  # below which neighbouring chunks are joined to one block
BLOCK_ROWS = 1024  # samples of a block where the store has no chunks


class _Slot:
    def __init__(self) -> None:
        self.lock, self.made, self.value = Lock(), False, None


class Recent:
    """The last few values that were made, by key.

    Threads share it: two that ask for one value make it once. A forked process starts with an
    empty one, because a lock may have been held when it was forked.

    Args:
        most: How many values are kept.
    """

    def __init__(self, most: int = KEPT):
        self.most = most
        self._clear()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._slots

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the value of `key`; `make` is called if it is not there."""
        if self._process != os.getpid():
            self._clear()
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self.most:
                self._slots.popitem(last=False)
        with slot.lock:
            if not slot.made:
                slot.value, slot.made = make(), True
            return slot.value

    def _clear(self) -> None:
        self._lock = Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()
        self._process = os.getpid()


class Blocked:
    """A column of which a whole block is read to get at one sample.

    Args:
        starts: Where the blocks begin and the last one ends, (K + 1,) ascending from 0 to S.
        read: Number of a block -> its values, (n, ...); it raises DataError where it cannot.
        dtype: Of the values; those of a block are converted to it.
        shape: Of one value; None if shapes differ.
        recent: Keeps the blocks last read; the parts of a data set share one for each field.
        sizes: Shape of every value, (S, A), where shapes differ and are known.
    """

    def __init__(
        self,
        starts: Index,
        read: Callable[[int], Any],
        dtype: np.dtype[Any],
        shape: tuple[int, ...] | None,
        recent: Recent,
        *,
        sizes: Index | None = None,
    ):
        self.starts, self._read, self._recent, self.sizes = starts, read, recent, sizes
        self._dtype, self._shape = dtype, shape
        self._key = object()  # not id(self), which another column may have later

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object) if self._shape is None else self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *(self._shape or ()))

    @property
    def blocks(self) -> Index:
        return np.unique(self.starts)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: Any) -> Any:
        chosen = positions(index, len(self))
        flat = np.atleast_1d(chosen)
        values = np.empty((len(flat), *self.shape[1:]), dtype=self.dtype)
        # Blocks at hand come first: reading the others may push them out.
        for number, rows in sorted(grouped(self.starts, flat), key=self._is_far):
            block = self._recent.get((self._key, number), partial(self._load, number))
            put(values, rows, self.rows(block, flat[rows] - self.starts[number]))
        return values if chosen.ndim else values[0]

    def rows(self, block: Any, index: Index) -> Array:
        """Return some rows of what `read` returned."""
        return np.asarray(block[index])

    def _is_far(self, item: tuple[int, Index]) -> bool:
        return (self._key, item[0]) not in self._recent

    def _load(self, number: int) -> Any:
        block = self._read(number)
        expected = int(self.starts[number + 1] - self.starts[number])
        got = block.shape[0]
        if got != expected:
            raise DataError(
                f"A block of a column must have as many rows as were found when the data were "
                f"opened; got {got} instead of {expected}. Leave files as they are during a run."
            )
        return block


class Rows:
    """A column of which each sample is read by itself.

    Args:
        length: S.
        read: Ascending positions, each once -> their values, (n, ...).
        dtype: Of the values; what is read is converted to it.
        shape: Of one value.
    """

    def __init__(
        self,
        length: int,
        read: Callable[[Index], Array],
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
    ):
        self.dtype, self.shape, self._read = dtype, (length, *shape), read

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        chosen = positions(index, len(self))
        once, back = np.unique(np.atleast_1d(chosen), return_inverse=True)
        values = self._read(once).astype(self.dtype, copy=False)[back]
        return values if chosen.ndim else values[0]


def joined(length: int, chunk: int, row_bytes: int) -> Index:
    """Return where blocks of whole chunks begin, so that none is tiny, (K + 1,).

    Mixing a few blocks shuffles the better the more samples they hold.

    Args:
        length: S.
        chunk: Samples of a chunk.
        row_bytes: Size of a sample.
    """
    chunks = max(1, -(-BLOCK_BYTES // max(1, chunk * row_bytes)))
    step = chunk * min(chunks, max(1, -(-length // chunk)))
    return np.append(np.arange(0, length, step, dtype=np.int64), np.int64(length))
