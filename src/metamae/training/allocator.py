"""Keep freed memory for the next step.

glibc gives large blocks back to the system when they are freed and gets them again page by page
when the next tensor of that size is made. On a CPU that is up to a quarter of a training step.
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

# Numbers of two settings in glibc's malloc.h, and "never".
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
NEVER = 2**31 - 1
# Afterwards blocks from so many bytes on are given back, and twice as many that lie free: up to
# this glibc raises its threshold by itself until somebody sets it.
LARGE = 32 * 2**20


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library of this process keep what is freed, and give it back in the end.

    Only glibc knows how; elsewhere nothing happens.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    # Older ones take nothing above LARGE.
    if not libc.mallopt(M_MMAP_THRESHOLD, NEVER):
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * LARGE)
        libc.malloc_trim(0)


def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
