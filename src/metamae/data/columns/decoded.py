"""A field of files, each decoded when it is asked for."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metamae.data.columns.base import Array, Index
from metamae.data.columns.indexing import positions
from metamae.errors import DataError


class Decoded:
    """A column of files, each decoded when it is asked for. Threads may share it.

    Args:
        paths: One file per sample; None where a sample has none.
        decode: Path -> array of `dtype`; it raises DataError where it cannot.
        dtype: Of the decoded arrays.
        shape: Of every one of them; None if shapes differ.
        sizes: Shape of each, (S, A), where shapes differ and headers tell them.
        decode_part: (path, start, stop) -> part along the last axis, where a format can do that.
    """

    decodes = True

    def __init__(
        self,
        paths: Sequence[Path | None],
        decode: Callable[[Path], Array],
        dtype: np.dtype[Any],
        shape: tuple[int, ...] | None,
        *,
        sizes: Index | None = None,
        decode_part: Callable[[Path, int, int], Array] | None = None,
    ):
        self.paths, self.decode, self.decode_part = list(paths), decode, decode_part
        self._dtype, self._shape, self._sizes = dtype, shape, sizes

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object) if self._shape is None else self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.paths), *(self._shape or ()))

    @property
    def sizes(self) -> Index | None:
        return self._sizes if self._shape is None else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        chosen = positions(index, len(self.paths))
        flat = np.atleast_1d(chosen).tolist()
        values = np.empty((len(flat), *(self._shape or ())), dtype=self.dtype)
        for row, position in enumerate(flat):
            value = self._one(position, self.decode)
            if row == 0 and self._shape is not None:
                values = _room(len(flat), value, self._dtype)
            values[row] = value
        return values if chosen.ndim else values[0]

    def stretch(self, position: int, start: int, stop: int) -> Any:
        """Read a part of one value."""
        part = self.decode_part
        if part is None:
            value = self._one(position, self.decode)
            return None if value is None else value[..., start:stop]
        return self._one(position, lambda path: part(path, start, stop))

    def _one(self, position: int, decode: Callable[[Path], Array]) -> Any:
        path = self.paths[position]
        if path is None:
            return None
        try:
            return decode(path)
        except DataError as error:
            # The position is known here only; whoever sets bad samples aside needs it.
            raise DataError(str(error), sample=position) from error


def _room(num: int, value: Array, dtype: np.dtype[Any]) -> Array:
    """Room for `num` values that lie in memory as one of them does: copying goes in long runs."""
    order = np.argsort([-step for step in value.strides], kind="stable")
    room: Array = np.empty((num, *(value.shape[axis] for axis in order)), dtype)
    return room.transpose(0, *(1 + np.argsort(order)))
