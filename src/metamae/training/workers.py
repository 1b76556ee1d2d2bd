"""Processes that read samples for the one that asks for them, and memory that they share.

Finished batches wait in that memory: no copy through a pipe. It is anonymous and made before the
workers fork, so that nothing is named, nothing is left behind, and a small /dev/shm is no limit.
"""

import ctypes
import mmap
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.data.records import Records
from metamae.errors import TrainingError
from metamae.model.tokens import Batch

MOST_WORKERS = 8
PR_SET_PDEATHSIG = 1  # of prctl(2)
Submit = Callable[..., "Future[Any]"]
_shared: tuple[Any, ...] = ()  # in a process that was started: what all of them were given


def auto_workers(records: Records) -> int:
    """Choose how many processes read: none unless samples are decoded, and this one may start some.

    A process of a pool may not.
    """
    pooled = multiprocessing.current_process().daemon
    if sys.platform != "linux" or not records.decoded or pooled:
        return 0
    return min(MOST_WORKERS, max(1, (len(os.sched_getaffinity(0)) - 1)))


@contextmanager
def processes(num: int, *shared: Any) -> Iterator[Submit]:
    """Start processes that end with the block, or with the process that started them.

    Args:
        num: How many.
        shared: What each call begins with. It is not copied: a fork shares the data, memory maps
            included, where any other start would copy them.

    Yields:
        A function: `submit(function, *args)` calls `function(*shared, *args)` in one of them.

    Raises:
        TrainingError: If one of them ends unexpectedly.
    """
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(num, context, initializer=_begin, initargs=(shared, os.getpid()))
    with pool:
        try:
            yield lambda function, *args: pool.submit(_call, function, *args)
        except BrokenProcessPool as error:
            raise TrainingError(
                f"Train.workers = {num} processes must be able to read samples; one of them was "
                f"ended, perhaps for want of memory. workers=0 would do without."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(shared: tuple[Any, ...], parent: int) -> None:
    global _shared
    _shared = shared
    # A signal to the whole group is the parent's to answer; it ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _end_with(parent)
    torch.set_num_threads(1)


def _end_with(parent: int) -> None:
    """Have the kernel end this process when its parent has been killed and can no longer do so."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has gone before the kernel was asked
            os._exit(1)


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*_shared, *args)


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
