"""Processes that read samples for the one that asks for them."""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import torch

from metamae.data.records import Records
from metamae.errors import TrainingError

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
