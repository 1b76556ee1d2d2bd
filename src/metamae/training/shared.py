"""Memory that processes share, in which finished batches wait: no copy through a pipe.

The memory is anonymous and made before the workers fork, so that nothing is named, nothing is left
behind, and a small /dev/shm is no limit.
"""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.model.tokens import Batch

ALIGNED = 64  # bytes; where arrays begin
ROOM = 1.25  # of the first batch: batches of ragged samples differ


@dataclass(frozen=True)
class Placed:
    """One array of a batch in a slot.

    Attributes:
        name: Its key in the batch.
        dtype: As text.
        shape: Of the array.
        start: Byte at which it begins.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int


class Slots:
    """Places for batches on their way from a worker.

    Args:
        num: Batches that may be on their way at a time.
        first: A batch, to tell how large they are.
    """

    def __init__(self, num: int, first: Batch):
        size = sum(v.nbytes + ALIGNED for v in first.values())
        self.maps = [mmap.mmap(-1, max(mmap.PAGESIZE, round(ROOM * size))) for _ in range(num)]

    def put(self, slot: int, arrays: Mapping[str, NDArray[Any]]) -> list[Placed] | None:
        """Copy a batch into a slot; None, and nothing done, if it does not fit."""
        placed, start = [], 0
        for name, array in arrays.items():
            placed.append(Placed(name, array.dtype.str, array.shape, start))
            start += -(-array.nbytes // ALIGNED) * ALIGNED
        if start > len(self.maps[slot]):
            return None
        for one, array in zip(placed, arrays.values(), strict=True):
            np.copyto(self._view(slot, one), array)
        return placed

    def take(self, slot: int, placed: list[Placed]) -> Batch:
        """Copy a batch out of a slot, which is free again."""
        return {one.name: torch.from_numpy(self._view(slot, one).copy()) for one in placed}

    def _view(self, slot: int, one: Placed) -> NDArray[Any]:
        count = int(np.prod(one.shape, dtype=np.int64))
        flat = np.frombuffer(self.maps[slot], np.dtype(one.dtype), count, one.start)
        return flat.reshape(one.shape)
